# A planted bug: a write to the kernel's own text, which is read-only.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"
.include "../../../firmware/kernels/print.inc"
.include "../../../firmware/kernels/idt.inc"
.include "../../../firmware/kernels/paging.inc"

main:
    call paging_init
    and  dword ptr [LOW_TABLE + 0x100 * 4], 0xFFFFFFFD
    mov  eax, cr0
    or   eax, 0x10000       # CR0.WP
    mov  cr0, eax
    mov  edi, text
    mov  al, 0x90
    stosb
text:
    jmp  exit
