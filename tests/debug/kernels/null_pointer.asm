# A planted bug: a member of a structure whose pointer is null.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"
.include "../../../firmware/kernels/print.inc"
.include "../../../firmware/kernels/idt.inc"
.include "../../../firmware/kernels/paging.inc"

main:
    call paging_init
    mov  dword ptr [LOW_TABLE], 0
    mov  eax, cr3
    mov  cr3, eax
    mov  esi, 0
    mov  eax, [esi + 0x18]
    jmp  exit
