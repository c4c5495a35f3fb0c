# A planted bug: the handler of #PF faults by itself, until the stack has run through all of its memory.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"
.include "../../../firmware/kernels/print.inc"
.include "../../../firmware/kernels/idt.inc"
.include "../../../firmware/kernels/paging.inc"

main:
    call idt_init
    call paging_init
    mov  dword ptr [LOW_TABLE + 0x1FE * 4], 0       # a guard page below two pages of stack
    mov  eax, cr3
    mov  cr3, eax
    mov  eax, on_fault
    mov  ecx, 14
    mov  edx, 0x8E00
    call set_gate
    mov  ebx, 0x40
    mov  eax, [ebx + 0x7FFFFFC0]
    jmp  exit
on_fault:
    mov  eax, [0x7FFFFFF0]
    iretd
