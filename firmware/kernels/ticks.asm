# ticks: hardware interrupts.  The 8254 divides its clock down to 100 Hz and raises IRQ 0; the 8259A turns that into a vector; the
# processor, halted in between, wakes up for each.

.include "boot.inc"
.include "serial.inc"
.include "print.inc"
.include "idt.inc"
.include "pic.inc"

.set LAST, 50

main:
    call idt_init
    call pic_init
    call pit_init
    mov  dword ptr [handlers + IRQ0 * 4], on_tick
    mov  al, 0xFE           # OCW1: all masked but IR0
    out  PIC1_IMR, al
    say  "ticks: the timer runs at 100 Hz\n"
    xor  ebx, ebx           # the last number printed
.wait:
    sti
    hlt                     # until the next interrupt; STI holds it off until HLT has begun (SDM vol. 2, STI)
    cli
    mov  eax, [ticks]
    sub  eax, ebx
    cmp  eax, 10
    jb   .wait
    add  ebx, 10
    mov  eax, ebx
    say  "ticks: "
    call print_dec
    say  "\n"
    cmp  ebx, LAST
    jb   .wait
    say  "ticks: done\n"
    mov  al, OK
    jmp  exit

on_tick:
    inc  dword ptr [ticks]
    mov  al, EOI
    out  PIC1_OCW2, al
    ret

ticks: .long 0
