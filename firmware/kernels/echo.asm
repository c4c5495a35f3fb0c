# echo: a device with interrupts in both directions.  The 16550A interrupts when a byte has come and again when it can send; the bytes
# wait in a ring between the two.  The main program only sleeps.  q or Ctrl-D ends it.

.include "boot.inc"
.include "serial.inc"
.include "print.inc"
.include "idt.inc"
.include "pic.inc"

.set CTRL_D, 4

main:
    call idt_init
    call pic_init
    mov  dword ptr [handlers + IRQ0 * 4 + 16], on_serial     # IRQ 4
    mov  al, 0xEF           # OCW1: all masked but IR4
    out  PIC1_IMR, al
    say  "echo: type; q or Ctrl-D ends\n"
    mov  dx, COM1_IER
    mov  al, COM1_IER_ERBFI
    out  dx, al
.sleep:
    sti
    hlt
    cli
    cmp  byte ptr [stop], 0
    je   .sleep
    mov  al, [head]         # let the ring run empty
    cmp  al, [tail]
    jne  .sleep
    say  "\necho: "
    mov  eax, [received]
    call print_dec
    say  " bytes, done\n"
    mov  al, OK
    jmp  exit

on_serial:
.next:
    mov  dx, COM1_IIR
    in   al, dx
    test al, 1              # bit 0 = 0: something is pending   [NS] table IV
    jnz  .done
    and  al, 0x0E
    cmp  al, 0x02           # the transmitter is empty; the rest is about the receiver
    je   .transmit
    mov  dx, COM1_LSR
    in   al, dx
    test al, COM1_LSR_DR
    jz   .next
    mov  dx, COM1_RBR
    in   al, dx
    call receive
    jmp  .next
.transmit:
    call transmit
    jmp  .next
.done:
    mov  al, EOI
    out  PIC1_OCW2, al
    ret

# A byte has come, in AL: keep it, and ask for the transmitter's interrupt.  Whoever turns that on while the transmitter is already
# empty gets it at once ([NS] 8.7), so there is no special case for the first byte.
receive:
    cmp  al, 'q'
    je   .stop
    cmp  al, CTRL_D
    je   .stop
    inc  dword ptr [received]
    movzx ebx, byte ptr [head]
    mov  [ring + ebx], al
    inc  byte ptr [head]    # 256 bytes: the index wraps by itself
    mov  al, COM1_IER_ERBFI | COM1_IER_ETBEI
    mov  dx, COM1_IER
    out  dx, al
    ret
.stop:
    mov  byte ptr [stop], 1
    ret

# The transmitter is empty: fill its FIFO, or stop asking.
transmit:
    mov  ecx, 16            # the FIFO's depth
.next:
    movzx ebx, byte ptr [tail]
    cmp  bl, [head]
    je   .empty
    mov  al, [ring + ebx]
    mov  dx, COM1_THR
    out  dx, al
    inc  byte ptr [tail]
    dec  ecx
    jnz  .next
    ret
.empty:
    mov  al, COM1_IER_ERBFI
    mov  dx, COM1_IER
    out  dx, al
    ret

received: .long 0
head:     .byte 0           # written by receive
tail:     .byte 0           # written by transmit
stop:     .byte 0
ring:     .fill 256, 1, 0
