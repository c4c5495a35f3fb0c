# The least kernel that program.asm runs above: one address space, ring 3, a dozen system calls, marks at port E9h.
# 0x3fe000 Multiboot header and 32-bit start; 0x3fe200 what a machine enters that is in long mode already (KVM).
# Page tables at 0x3f0000: the first GiB by pages of 2 MiB, open to ring 3.
.org 0x3fe000
.code32
.macro leave_kernel
.if BY_IRET                     # the frame lies below the user's stack, and an interrupt's in ring 0 below that
    mov r9, rsp
    lea rsp, [r9 - 128]
    push 0x1b
    push r9
    push r11
    push 0x23
    push rcx
    iretq
.else
    .byte 0x48, 0x0f, 0x07      # sysretq
.endif
.endm
.set TABLES, 0x3f0000
.set STACK, 0x3fd000            # the kernel's, downwards
.set USER, 0x3fc000             # argc, argv
.set TSS, 0x3fd800
.set IDT, 0x3fd900
.set PORTS, 0x3fdc00            # the I/O permission bitmap: zeros
.set FLAGS, 0x10003
.if BY_IRET                     # a KVM whose SYSCALL stays in ring 3: IRETQ cannot set IF there, OUT asks the bitmap
.set START_FLAGS, 0x202         # so interrupts are on from the start; the PIC masks them
.set MASKED, 0
.else
.set START_FLAGS, 2
.set MASKED, 0x200
.endif
.set MAGIC, 0x1badb002

    .long MAGIC, FLAGS, 0 - MAGIC - FLAGS
    .long header, header, end, end, start32
.set header, 0x3fe000

start32:
    mov esp, STACK
    mov edi, TABLES
    xor eax, eax
    mov ecx, 0xc00
    rep stosd
    mov edi, TABLES
    mov dword ptr [edi], TABLES + 0x1007
    mov dword ptr [edi + 0x1000], TABLES + 0x2007
    mov eax, 0x87
    xor ecx, ecx
entry2m:
    mov [edi + ecx * 8 + 0x2000], eax
    add eax, 0x200000
    inc ecx
    cmp ecx, 512
    jb entry2m
    mov cr3, edi
    mov eax, cr4
    or eax, 0x620               # PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x101               # LME, SCE
    wrmsr
    mov eax, cr0
    and eax, 0xfffffffb
    or eax, 0x80000022          # PG, NE, MP
    mov cr0, eax
    mov eax, gdtr
    .byte 0x0f, 0x01, 0x10      # lgdt [eax]
    mov eax, 8
    push eax
    mov eax, start64
    push eax
    retf

.org 0x3fe200
.code64
start64:
    mov eax, 16
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, STACK
    fninit
    mov ecx, 0xc0000081         # STAR: the kernel's CS 8, the user's SS 18h and CS 20h
    xor eax, eax
    mov edx, 0x00100008
    wrmsr
    inc ecx                     # LSTAR
    mov eax, served
    xor edx, edx
    wrmsr
    mov ecx, 0xc0000084         # SFMASK: IF, or nothing
    mov eax, MASKED
    wrmsr
    mov edi, TSS
    mov eax, STACK
    mov [rdi + 4], rax
    mov word ptr [rdi + 102], PORTS - TSS
    mov eax, 0x28
    ltr ax
    mov edi, IDT + 0x200        # vector 20h: an interrupt gate to ring 0
    mov eax, tick
    mov [rdi], ax
    mov word ptr [rdi + 2], 8
    mov word ptr [rdi + 4], 0x8e00
    shr eax, 16
    mov [rdi + 6], ax
    mov qword ptr [rdi + 8], 0
    mov eax, idtr
    .byte 0x0f, 0x01, 0x18      # lidt [rax]
    mov edi, USER
    mov qword ptr [rdi], 3
    mov eax, name
    mov [rdi + 8], rax
    mov eax, which
    mov [rdi + 16], rax
    mov eax, count
    mov [rdi + 24], rax
    mov esp, edi
    mov ecx, 0x400000
    mov r11d, START_FLAGS
    leave_kernel

served:                         # RAX as Linux numbers it; arguments in RDI RSI RDX
    cmp eax, 95
    je umask
    cmp eax, 1
    je write
    cmp eax, 228
    je clock_gettime
    cmp eax, 38
    je setitimer
    cmp eax, 13                 # rt_sigaction: a tick is counted here, where a signal's handler would
    je done
    cmp eax, 74
    jbe disk_call
    cmp eax, 87                 # unlink: the disk has one file, whatever its name
    je done
    hlt                         # exit_group, and all else
    jmp served
umask:
    mov eax, edi
    mov r8d, mask
    and eax, 511
    xchg eax, [r8]
    leave_kernel
write:
    cmp edi, 1
    jne disk_write
    mov r8d, edx
    mov dx, 0xe9
write_next:
    mov al, [rsi]
    out dx, al
    inc rsi
    dec r8d
    jnz write_next
    leave_kernel
setitimer:                      # ITIMER_REAL of 1 ms by counter 0 of the 8254 and IRQ 0, or none
    cmp qword ptr [rsi + 24], 0
    jne setitimer_on
    mov al, 0xff
    out 0x21, al
    and r11, 0xfffffffffffffdff
    leave_kernel
setitimer_on:
    mov al, 0x11
    out 0x20, al
    mov al, 0x20
    out 0x21, al
    mov al, 4
    out 0x21, al
    mov al, 1
    out 0x21, al
    mov al, 0xfe
    out 0x21, al
    mov al, 0x34
    out 0x43, al
    mov al, 1193 & 255
    out 0x40, al
    mov al, 1193 >> 8
    out 0x40, al
    or r11, 0x200
done:
    xor eax, eax
    leave_kernel
tick:
    push rax
    mov eax, 0x630800
    inc qword ptr [rax]
    mov al, 0x20
    out 0x20, al
    pop rax
    iretq
clock_gettime:                  # time is the host's business here
    mov qword ptr [rsi], 0
    mov qword ptr [rsi + 8], 0
    xor eax, eax
    leave_kernel

.org 0x3fe440
gdt:
    .quad 0
    .quad 0x00209b0000000000    # 08h code, ring 0
    .quad 0x00cf93000000ffff    # 10h data, ring 0
    .quad 0x00cff3000000ffff    # 18h data, ring 3
    .quad 0x0020fb0000000000    # 20h code, ring 3
    .quad 0x0000893fd80007ff    # 28h TSS, to the end of its I/O permission bitmap
    .quad 0
gdtr:
    .word 55
    .long gdt
    .long 0
idtr:
    .word 0x20f
    .long IDT
    .long 0
name:
    .asciz "emu"
.org 0x3fe600
which:
    .space 16
count:
    .space 32
.include "disk.asm"
.org 0x3ff000                   # a page without code: a translator would watch its stores
mask:
    .space 4096
end:
