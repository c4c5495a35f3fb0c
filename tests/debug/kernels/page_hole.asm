# A planted bug: a page table with a hole, and no handler for #PF.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"
.include "../../../firmware/kernels/print.inc"
.include "../../../firmware/kernels/idt.inc"
.include "../../../firmware/kernels/paging.inc"

main:
    call paging_init
    mov  dword ptr [LOW_TABLE + 0x345 * 4], 0
    mov  eax, cr3
    mov  cr3, eax
    mov  ebx, 0x345000
    mov  ecx, 2
    add  dword ptr [ebx + ecx * 8 + 4], 0x55
    jmp  exit
