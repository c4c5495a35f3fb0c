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

crc:                            # the CRC alone, as often
    xor eax, eax
    mov r8d, BYTES
    mov r9d, CRCS
crc_round:
    not eax
    call crc_bytes
    not eax
    dec rdi
    jnz crc_round
    ret

crc_bytes:                      # eax goes on over BYTES
    xor ecx, ecx
crc_inner:
    movzx edx, byte ptr [r8 + rcx]
    xor edx, eax
    movzx edx, dl
    shr eax, 8
    xor eax, [r9 + rdx * 4]
    inc ecx
    cmp ecx, SIZE
    jb crc_inner
    ret

cpu:                            # CRC-32 of BYTES that goes on from the last round's result, plus the primes below SIZE
    xor eax, eax
    mov r8d, BYTES
    mov r9d, CRCS
    mov r10d, SIEVE
cpu_round:
    not eax
    call crc_bytes
    not eax
    xor ecx, ecx
cpu_clear:
    mov qword ptr [r10 + rcx], 0
    add ecx, 8
    cmp ecx, SIZE
    jb cpu_clear
    mov ecx, 2
cpu_candidate:
    cmp byte ptr [r10 + rcx], 0
    jne cpu_composite
    inc eax
    lea edx, [rcx + rcx]
    cmp edx, SIZE
    jae cpu_composite
cpu_multiple:
    mov byte ptr [r10 + rdx], 1
    add edx, ecx
    cmp edx, SIZE
    jb cpu_multiple
cpu_composite:
    inc ecx
    cmp ecx, SIZE
    jb cpu_candidate
    dec rdi
    jnz cpu_round
    ret

calls:                          # a round: Fibonacci's 16th number by recursion, and as many indirect calls
    mov r14, rdi
    xor r15d, r15d
calls_round:
    mov edi, 16
    call fibonacci
    add r15d, eax
    mov r12d, 987
calls_indirect:
    mov eax, r12d
    and eax, 3
    mov ecx, functions
    mov edi, r15d
    call [rcx + rax * 8]
    mov r15d, eax
    dec r12d
    jnz calls_indirect
    dec r14
    jnz calls_round
    mov eax, r15d
    ret
fibonacci:
    cmp edi, 2
    jb fibonacci_small
    push rbx
    mov ebx, edi
    lea edi, [rbx - 1]
    call fibonacci
    lea edi, [rbx - 2]
    mov ebx, eax
    call fibonacci
    add eax, ebx
    pop rbx
    ret
fibonacci_small:
    mov eax, edi
    ret
function0:
    lea eax, [rdi + 1]
    ret
function1:
    lea eax, [rdi + 2]
    xor eax, 3
    ret
function2:
    mov eax, edi
    xor eax, 0x5a5a
    ret
function3:
    lea eax, [rdi + 7]
    ret

memory:                         # a round: write and copy the next 1/64 of 64 MiB to the next but one, then 4096 random words
    xor r8d, r8d                # the round's place, in words
    xor eax, eax
    mov r9d, WORDS
    mov r10d, 1
memory_round:
    xor ecx, ecx
    lea rsi, [r9 + r8 * 8]
memory_write:
    lea rdx, [rcx + r8]
    mov [rsi + rcx * 8], rdx
    inc ecx
    cmp ecx, 65536
    jb memory_write
    xor ecx, ecx
memory_copy:
    mov rdx, [rsi + rcx * 8]
    mov [rsi + rcx * 8 + 524288], rdx
    inc ecx
    cmp ecx, 65536
    jb memory_copy
    mov ecx, 4096
memory_random:
    imul r10d, r10d, 1103515245
    add r10d, 12345
    and r10d, 0x7fffffff
    mov edx, r10d
    shr edx, 8
    add eax, [r9 + rdx * 8]
    mov esi, r10d
    mov [r9 + rdx * 8], rsi
    dec ecx
    jnz memory_random
    add r8d, 131072
    and r8d, 0x7fffff
    dec rdi
    jz memory_done
    lea rsi, [r9 + r8 * 8]
    jmp memory_round
memory_done:
    ret

float:                          # a round: 1024 steps x = sqrt(x * x + y); y = y / x + 0.75
    mov rax, 0x3ff0000000000000
    movq xmm0, rax
    movq xmm1, rax
    mov rax, 0x3fe8000000000000
    movq xmm2, rax
float_round:
    mov ecx, 1024
float_step:
    mulsd xmm0, xmm0
    addsd xmm0, xmm1
    sqrtsd xmm0, xmm0
    divsd xmm1, xmm0
    addsd xmm1, xmm2
    dec ecx
    jnz float_step
    dec rdi
    jnz float_round
    movq rax, xmm0
    ret

system:                         # a round: 1000 times umask, whose answer is what was set before
    mov r14, rdi
    xor r15d, r15d
    xor r12d, r12d
    xor edi, edi
    mov eax, UMASK              # what it was before is the host's
    syscall
system_round:
    mov r13d, 1000
system_call:
    inc r12d
    mov edi, r12d
    and edi, 511
    mov eax, UMASK
    syscall
    add r15d, eax
    dec r13d
    jnz system_call
    dec r14
    jnz system_round
    mov eax, r15d
    ret

io:                             # a round: 4 KiB written, and after all of them and a flush, read back; sums their first words
    mov r14, rdi
    mov edi, file
    mov esi, 0x242              # O_RDWR, O_CREAT, O_TRUNC
    mov edx, 0x180
    mov eax, OPEN
    call must
    mov r12d, eax
    mov edi, file               # nothing is left, whoever ends us
    mov eax, UNLINK
    call must
    xor r15d, r15d
io_write:
    imul eax, r15d, 2654435
    mov ecx, BYTES
    mov [rcx], eax
    mov edi, r12d
    mov esi, BYTES
    mov edx, 4096
    mov eax, WRITE
    call whole
    inc r15d
    cmp r15, r14
    jb io_write
    mov edi, r12d
    mov eax, FSYNC
    call must
    mov edi, r12d
    xor esi, esi
    xor edx, edx
    mov eax, LSEEK
    call must
    xor r15d, r15d
    xor r13d, r13d
io_read:
    mov edi, r12d
    mov esi, BYTES
    mov edx, 4096
    xor eax, eax
    call whole
    mov ecx, BYTES
    add r13d, [rcx]
    inc r15d
    cmp r15, r14
    jb io_read
    mov eax, r13d
    ret
whole:                          # a system call that must answer 4096
    syscall
    cmp eax, 4096
    je must_end
    test eax, eax
    js must_fail
    mov eax, -28                # a part was written: the next call would say ENOSPC
    jmp must_fail
must:                           # a system call that must not fail: else its error is the exit status
    syscall
    test eax, eax
    js must_fail
must_end:
    ret
must_fail:
    neg eax
    mov edi, eax
    mov eax, EXIT_GROUP
    syscall
file:
    .asciz "emu-cost-io"

irq:                            # as crc, while a timer interrupts a thousand times a second; without one interrupt, 0
    mov r14, rdi
    mov edi, 14                 # SIGALRM
    mov esi, action
    xor edx, edx
    mov r10d, 8
    mov eax, RT_SIGACTION
    syscall
    mov r12d, period
    call timer
    mov rdi, r14
    call crc
    mov r13d, eax
    mov r12d, period + 32
    call timer
    mov ecx, TICKS
    xor eax, eax
    cmp qword ptr [rcx], 0
    cmovne eax, r13d
    ret
timer:                          # ITIMER_REAL as at r12
    xor edi, edi
    mov rsi, r12
    xor edx, edx
    mov eax, SETITIMER
    syscall
    ret
ticked:
    mov eax, TICKS
    inc qword ptr [rax]
    ret
restorer:
    mov eax, RT_SIGRETURN
    syscall
.balign 8
action:                         # struct kernel_sigaction: handler, SA_RESTORER | SA_RESTART, restorer, mask
    .quad ticked, 0x14000000, restorer, 0
period:
    .quad 0, 1000, 0, 1000
    .quad 0, 0, 0, 0

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
