# A planted bug: somebody writes over a pointer, another one takes a copy, a third follows it.

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
    call clobber
    call copy
    mov  esi, [pointer + 4]
    mov  eax, [esi + 0x18]
    jmp  exit

clobber:
    mov  dword ptr [pointer], 0x345678
    ret

copy:
    mov  ecx, [pointer]
    mov  [pointer + 4], ecx
    ret

.balign 4
pointer:
    .int 0, 0
