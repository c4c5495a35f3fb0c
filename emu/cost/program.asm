# The workloads, as a static program for Linux: argv[1] a digit that names one, argv[2] how many rounds; or a letter for
# what is beside them: see show, spawner, leave.
# The same bytes run as a process, in a container, in a Linux guest, and above kernel.asm in a guest without a system.
#
# It writes 1 when its work begins, then 2, the result, CPU time and wall time in ns (16 letters a to p each), and 3.
# Each workload: rdi = rounds, result in rax.
.org 0x400000
.set BYTES, 0x600000            # 16 KiB that the CRC is of
.set SIEVE, 0x610000            # the sieve
.set CRCS, 0x620000             # the CRC's table
.set TIMES, 0x630000            # CPU and wall time at the start, then at the end: two words of 8 bytes each
.set TEXT, 0x631000
.set WORDS, 0x800000            # 64 MiB
.set SIZE, 16384
.set WRITE, 1
.set OPEN, 2
.set TICKS, 0x630800           # timer interrupts, or their signals
.set LSEEK, 8
.set RT_SIGACTION, 13
.set RT_SIGRETURN, 15
.set SETITIMER, 38
.set FSYNC, 74
.set UNLINK, 87
.set CLONE, 56
.set EXECVE, 59
.set WAIT4, 61
.set UMASK, 95
.set CLOCK_GETTIME, 228
.set EXIT_GROUP, 231

start:
    mov rbx, [rsp + 16]
    movzx ebx, byte ptr [rbx]
    mov rsi, [rsp + 24]
    cmp ebx, 'c'
    je show
    cmp ebx, 's'
    je spawner
    cmp ebx, 'x'
    je leave
    sub ebx, '0'
    call decimal
    mov rbp, rax
    call prepare
    cmp ebx, 2                  # memory: its pages are there, as an array's of a language are; a part of the work needs all
    jne prepared
    mov edi, WORDS
    mov ecx, 16384
touched:
    mov byte ptr [rdi], 0
    add edi, 4096
    dec ecx
    jnz touched
prepared:
    mov edi, TEXT
    mov byte ptr [rdi], 1
    mov edx, 1
    call put
    mov r12d, TIMES
    call clocks
    mov rdi, rbp
    mov eax, workloads
    call [rax + rbx * 8]
    mov r13, rax
finish:
    mov r12d, TIMES + 16
    call clocks
    mov edi, TEXT
    mov byte ptr [rdi], 2
    inc edi
    mov rax, r13
    call letters
    mov ecx, TIMES
    mov rax, [rcx + 16]
    sub rax, [rcx]
    call letters
    mov ecx, TIMES
    mov rax, [rcx + 24]
    sub rax, [rcx + 8]
    call letters
    mov byte ptr [rdi], 3
    mov edx, 50
    call put
leave:
    xor edi, edi
    mov eax, EXIT_GROUP
    syscall

spawner:                        # argv[2] times this program again, which ends at once; argv[3]: name spaces for clone(2)
    mov r15, [rsp + 8]
    call decimal
    mov rbp, rax
    mov rsi, [rsp + 32]
    call decimal
    mov r14, rax
    or r14d, 0x4111             # CLONE_VM, CLONE_VFORK, SIGCHLD
    mov edi, TEXT
    mov byte ptr [rdi], 1
    mov edx, 1
    call put
    mov r12d, TIMES
    call clocks
    mov ecx, TEXT
    mov [rcx + 128], r15
    lea rax, [rcx + 120]
    mov byte ptr [rax], 'x'
    mov [rcx + 136], rax
    xor r13d, r13d
spawn_next:
    mov rdi, r14
    xor esi, esi
    xor edx, edx
    xor r10d, r10d
    xor r8d, r8d
    mov eax, CLONE
    syscall
    test eax, eax
    js finish
    jz spawn_child
    mov rdi, -1
    mov esi, TEXT + 64
    xor edx, edx
    xor r10d, r10d
    mov eax, WAIT4
    syscall
    mov ecx, TEXT
    cmp dword ptr [rcx + 64], 0
    jne finish
    inc r13
    dec rbp
    jnz spawn_next
    jmp finish
spawn_child:
    mov rdi, r15
    mov esi, TEXT + 128
    xor edx, edx
    mov eax, EXECVE
    syscall
    mov edi, 1
    mov eax, EXIT_GROUP
    syscall

decimal:                        # of the text at rsi, in rax
    xor eax, eax
decimal_next:
    movzx ecx, byte ptr [rsi]
    test ecx, ecx
    jz decimal_end
    imul rax, rax, 10
    lea rax, [rax + rcx - 48]
    inc rsi
    jmp decimal_next
decimal_end:
    ret

show:                           # argv[1] is c: the first 32 KiB of the file argv[2], to standard output
    mov rdi, rsi
    xor esi, esi
    mov eax, OPEN
    syscall
    mov edi, eax
    mov esi, WORDS
    mov edx, 32768
    xor eax, eax                # read
    syscall
    mov edx, eax
    mov edi, 1
    mov esi, WORDS
    mov eax, WRITE
    syscall
    xor edi, edi
    mov eax, EXIT_GROUP
    syscall

put:                            # edx bytes at TEXT
    mov edi, 1
    mov esi, TEXT
    mov eax, WRITE
    syscall
    ret

clocks:                         # to the two words at r12, in ns: CLOCK_PROCESS_CPUTIME_ID, CLOCK_MONOTONIC
    mov edi, 2
    call clock
    mov [r12], rax
    mov edi, 1
    call clock
    mov [r12 + 8], rax
    ret
clock:
    mov esi, TEXT + 64
    mov eax, CLOCK_GETTIME
    syscall
    mov esi, TEXT + 64
    imul rax, [rsi], 1000000000
    add rax, [rsi + 8]
    ret

letters:                        # rax as 16 letters at rdi
    mov ecx, 16
.next:
    rol rax, 4
    mov edx, eax
    and edx, 15
    add edx, 'a'
    mov [rdi], dl
    inc rdi
    dec ecx
    jnz .next
    ret

prepare:
    mov edi, BYTES
    mov ecx, SIZE
    mov eax, 1
.byte:
    imul eax, eax, 1103515245
    add eax, 12345
    and eax, 0x7fffffff
    mov edx, eax
    shr edx, 16
    mov [rdi], dl
    inc rdi
    dec ecx
    jnz .byte
    mov edi, CRCS
    xor ecx, ecx
.entry:
    mov eax, ecx
    mov edx, 8
.bit:
    mov esi, eax
    and esi, 1
    neg esi
    and esi, 0xedb88320
    shr eax, 1
    xor eax, esi
    dec edx
    jnz .bit
    mov [rdi + rcx * 4], eax
    inc ecx
    cmp ecx, 256
    jb .entry
    ret

.include "compute.asm"
.include "system.asm"
nothing:
    xor eax, eax
    ret

.balign 8
workloads:
    .quad cpu
    .quad calls
    .quad memory
    .quad float
    .quad system
    .quad nothing
    .quad crc
    .quad io
    .quad irq
functions:
    .quad function0
    .quad function1
    .quad function2
    .quad function3
