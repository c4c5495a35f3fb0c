# A planted bug: the handler of the timer sends no EOI, so there is one tick and never another.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"
.include "../../../firmware/kernels/print.inc"
.include "../../../firmware/kernels/idt.inc"
.include "../../../firmware/kernels/pic.inc"

main:
    call idt_init
    call pic_init
    call pit_init
    mov  dword ptr [handlers + IRQ0 * 4], on_tick
    mov  al, 0xFE           # OCW1: all masked but IR0
    out  PIC1_IMR, al
wait:
    sti
    hlt
    cmp  dword ptr [ticks], 10
    jb   wait
    mov  al, OK
    jmp  exit
on_tick:
    inc  dword ptr [ticks]
    ret
ticks: .long 0
