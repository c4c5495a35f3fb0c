# A planted bug: the handler of #PF lies where nothing is mapped, and so each #PF makes the next one.  Its stack is the TSS's IST1,
# always the same: this goes on for ever, and not one instruction runs.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"
.include "long.inc"

main_64:
    mov  eax, 0x10
    mov  ss, eax
    mov  rsp, STACK
    mov  rax, STACK - 0x1000
    mov  [rip + tss + 0x24], rax
    mov  rax, tss
    mov  [rip + gdt_tss_64 + 2], ax
    shr  eax, 16
    mov  [rip + gdt_tss_64 + 4], al
    mov  eax, 0x18
    ltr  ax
    lidt [rip + idtr]
    mov  rax, 0x600000000000
    mov  rbx, [rax]
    hlt
.align 16
tss: .fill 104, 1, 0
idt:
    .fill 28, 8, 0
    .quad 0x00008E0100080000    # 14: 8:7F0000000000h, IST 1
    .quad 0x0000000000007F00
idtr:
    .word . - idt - 1
    .quad idt
