# long: 64-bit mode.  From protected mode through PAE, EFER.LME and paging into long mode; then its own interrupt gates, an exception, a
# page fault, and a program in ring 3 that comes and goes by SYSCALL and SYSRET.

.include "boot.inc"
.include "serial.inc"
.include "print.inc"

.set PML4,      0x200000    # three levels, with pages of 2 MiB
.set PDPT,      0x201000
.set PD_LOW,    0x202000    # 0 to 1 GiB
.set PD_HIGH,   0x203000    # 1 to 2 GiB: empty, filled by the page fault
.set KERNEL,    0x100000    # the image, which is not for ring 3
.set USER,      0x400000    # the one page that ring 3 may use: code at its start, stack at its end
.set USER_END,  0x600000
.set LAZY,      0x40000000  # the first address that is not mapped

.set P,  0x01               # SDM vol. 3, 4.5: present, writable, for ring 3, a page of 2 MiB
.set RW, 0x02
.set US, 0x04
.set PS, 0x80
.set TABLE, P | RW | US
.set PAGE,  P | RW | PS

.set IA32_EFER,  0xC0000080
.set IA32_STAR,  0xC0000081
.set IA32_LSTAR, 0xC0000082
.set IA32_FMASK, 0xC0000084
.set EFER_SCE,   0x001      # SYSCALL
.set EFER_LME,   0x100      # long mode

main:
    # CPUID is there if EFLAGS.ID can be changed, long mode if leaf 80000001h has bit 29 in EDX (SDM vol. 2, CPUID).
    pushfd
    pop  eax
    mov  ecx, eax
    xor  eax, 0x200000
    push eax
    popfd
    pushfd
    pop  eax
    cmp  eax, ecx
    je   no_long_mode
    mov  eax, 0x80000000
    cpuid
    cmp  eax, 0x80000001
    jb   no_long_mode
    mov  eax, 0x80000001
    cpuid
    test edx, 0x20000000
    jz   no_long_mode

    mov  edi, PML4
    mov  ecx, 4096
    xor  eax, eax
    rep stosd
    mov  dword ptr [PML4], PDPT + TABLE
    mov  dword ptr [PDPT], PD_LOW + TABLE
    mov  dword ptr [PDPT + 8], PD_HIGH + TABLE
    mov  edi, PD_LOW
    mov  eax, PAGE
    mov  ecx, 512
.next:
    mov  [edi], eax
    add  edi, 8
    add  eax, 0x200000
    dec  ecx
    jnz  .next
    or   dword ptr [PD_LOW + 16], US        # USER, the third page

    # SDM vol. 3, 9.8.5: PAE, CR3, LME, and then PG makes it so.
    mov  eax, cr4
    or   eax, 0x20          # CR4.PAE
    mov  cr4, eax
    mov  eax, PML4
    mov  cr3, eax
    mov  ecx, IA32_EFER
    rdmsr
    or   eax, EFER_LME | EFER_SCE
    wrmsr
    mov  eax, cr0
    or   eax, 0x80000000    # CR0.PG
    mov  cr0, eax
    .byte 0x0F, 0x01, 0x15  # LGDT [gdtr_64]
    .long gdtr_64
    mov  eax, KERNEL_CS     # so far in compatibility mode: the L bit of the code segment decides
    push eax
    mov  eax, main_64
    push eax
    retf

no_long_mode:
    say  "long: this processor has no long mode\n"
    mov  al, FAILED
    jmp  exit

# SYSRET takes its selectors by counting from one base: SS = base + 8, CS = base + 16 (SDM vol. 2, SYSRET).  So the user's data stands
# before the user's code.
.set USER_BASE, 0x18
.align 8
gdt_64:
    .quad 0
    .quad 0x00AF9A000000FFFF    # 08: code, ring 0, L
    .quad 0x00CF92000000FFFF    # 10: data, ring 0
    .quad 0                     # 18: code for 32-bit programs, which we have not
    .quad 0x00CFF2000000FFFF    # 20: data, ring 3
    .quad 0x00AFFA000000FFFF    # 28: code, ring 3, L
    .quad 0x0000890000000067    # 30: a TSS of 16 bytes; its base is written by main_64
    .quad 0
gdtr_64:
    .word . - gdt_64 - 1
    .long gdt_64, 0

.code64
.macro say64 text
    call say_here_64
    .asciz "\text"
.endm

main_64:
    mov  eax, KERNEL_DS
    mov  ss, eax
    mov  ds, eax
    mov  es, eax
    mov  rsp, STACK         # the upper half is undefined after the switch

    mov  rax, tss           # RSP0, for interrupts from ring 3, and the descriptor that points here
    mov  qword ptr [rip + tss + 4], STACK - 0x1000
    mov  [rip + gdt_64 + 0x32], ax
    shr  eax, 16
    mov  [rip + gdt_64 + 0x34], al
    mov  [rip + gdt_64 + 0x37], ah
    mov  eax, 0x30
    ltr  ax

    mov  ecx, 6
    mov  rax, on_invalid_opcode
    call set_gate
    mov  ecx, 14
    mov  rax, on_page_fault
    call set_gate
    lidt [rip + idtr]

    say64 "long: 64-bit mode, RSP "
    mov  rax, rsp
    call hex_64
    say64 "\n"

    # An exception: its handler steps over the instruction.
    ud2
    cmp  byte ptr [rip + invalid_opcodes], 1
    jne  failed
    say64 "long: #UD handled\n"

    # A page fault: its handler maps a page, and the instruction runs again.
    mov  rbx, LAZY + 0x1234
    mov  rax, 0x123456789abcdef0
    mov  [rbx], rax
    cmp  byte ptr [rip + page_faults], 1
    jne  failed
    say64 "long: #PF served, "
    mov  rax, rbx
    call hex_64
    say64 " reads "
    mov  rax, [rbx]
    call hex_64
    say64 "\n"

    # SYSCALL: where to, with which selectors, and which flags are cleared (SDM vol. 3, 5.8.8).
    mov  ecx, IA32_STAR
    mov  eax, 0
    mov  edx, (USER_BASE | 3) << 16 | KERNEL_CS
    wrmsr
    mov  ecx, IA32_LSTAR
    mov  eax, on_syscall
    mov  edx, 0
    wrmsr
    mov  ecx, IA32_FMASK
    mov  eax, 0x300         # TF and IF
    mov  edx, 0
    wrmsr

    # Into ring 3, the same way as back: RCX is where to, R11 the flags.
    mov  esi, user
    mov  edi, USER
    mov  ecx, user_end - user
    rep movsb
    mov  ecx, USER
    mov  r11d, 2
    mov  esp, USER_END
    sysret                  # keystone's SYSRET is the one with REX.W, to 64-bit code

failed:
    say64 "long: FAILED\n"
    mov  al, FAILED
leave:
    mov  ah, al             # and out through the exit port, with all bytes sent
    mov  dx, COM1_LSR
.wait:
    in   al, dx
    test al, COM1_LSR_TEMT
    jz   .wait
    mov  al, ah
    out  DEBUGEXIT_CODE, al
.forever:
    cli
    hlt
    jmp  .forever

# The program for ring 3.  It is copied elsewhere, so it names nothing by its address: jumps and calls are relative.
user:
    mov  rdi, cs
    syscall                 # first call: says in which ring we are
    mov  eax, KERNEL
    mov  rdi, [rax]         # kernel memory: a page fault, and we do not come back
user_end:

# SYSCALL comes here on the user's stack, with RCX = its RIP and R11 = its RFLAGS.
on_syscall:
    mov  [rip + user_rsp], rsp
    mov  rsp, STACK
    push rcx
    push r11
    say64 "long: SYSCALL from ring "
    mov  eax, edi
    and  eax, 3
    add  al, '0'
    call putc_64
    say64 "\n"
    pop  r11
    pop  rcx
    mov  rsp, [rip + user_rsp]
    sysret

on_invalid_opcode:
    inc  byte ptr [rip + invalid_opcodes]
    add  qword ptr [rsp], 2 # RIP: UD2 has two bytes
    iretq

# SDM vol. 3, 4.7: error code 5 is a read, from ring 3, of a page that is there.  0 or 2: by us, of one that is not.
on_page_fault:
    cmp  qword ptr [rsp], 5
    je   .refused
    test qword ptr [rsp], 1
    jnz  failed
    inc  byte ptr [rip + page_faults]
    push rax
    mov  eax, PD_HIGH
    mov  qword ptr [rax], USER_END + PAGE       # the page behind the user's
    pop  rax
    add  rsp, 8             # the error code
    iretq
.refused:
    say64 "long: ring 3 may not read "
    mov  rax, cr2
    call hex_64
    say64 "\nlong: done\n"
    mov  al, OK
    jmp  leave

# Gate ECX to RAX: 16 bytes, present, ring 0, interrupt gate (SDM vol. 3, 6.14.1).
set_gate:
    shl  ecx, 4
    mov  [idt + rcx], ax
    mov  word ptr [idt + rcx + 2], KERNEL_CS
    mov  word ptr [idt + rcx + 4], 0x8E00
    shr  rax, 16
    mov  [idt + rcx + 6], ax
    ret                     # the upper half of the address is 0

putc_64:
    cmp  al, 10
    jne  .raw
    mov  al, 13
    call .raw
    mov  al, 10
.raw:
    push rdx
    push rax
    mov  dx, COM1_LSR
.wait:
    in   al, dx
    test al, COM1_LSR_THRE
    jz   .wait
    pop  rax
    mov  dx, COM1_THR
    out  dx, al
    pop  rdx
    ret

say_here_64:
    xchg rsi, [rsp]
    push rax
.next:
    mov  al, [rsi]
    inc  rsi
    test al, al
    jz   .done
    call putc_64
    jmp  .next
.done:
    pop  rax
    xchg rsi, [rsp]
    ret

# RAX in hexadecimal, sixteen digits.
hex_64:
    push rax
    push rbx
    push rcx
    mov  rbx, rax
    mov  ecx, 16
.digit:
    rol  rbx, 4
    mov  al, bl
    and  al, 15
    cmp  al, 10
    jb   .decimal
    add  al, 39             # 'a' - '9' - 1
.decimal:
    add  al, '0'
    call putc_64
    dec  ecx
    jnz  .digit
    pop  rcx
    pop  rbx
    pop  rax
    ret

user_rsp:        .quad 0
invalid_opcodes: .byte 0
page_faults:     .byte 0
.align 16
idt: .fill 32 * 2, 8, 0
idtr:
    .word . - idt - 1
    .quad idt
.align 16
tss: .fill 104, 1, 0
