# The workloads, as a static program for Linux: argv[1] a digit that names one, argv[2] how many rounds.
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
.set UMASK, 95
.set CLOCK_GETTIME, 228
.set EXIT_GROUP, 231

start:
    mov rbx, [rsp + 16]
    movzx ebx, byte ptr [rbx]
    sub ebx, '0'
    mov rsi, [rsp + 24]
    xor ebp, ebp
.digit:
    movzx eax, byte ptr [rsi]
    test eax, eax
    jz .parsed
    imul rbp, rbp, 10
    lea rbp, [rbp + rax - 48]
    inc rsi
    jmp .digit
.parsed:
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

cpu:                            # CRC-32 of BYTES that goes on from the last round's result, plus the primes below SIZE
    xor eax, eax
    mov r8d, BYTES
    mov r9d, CRCS
    mov r10d, SIEVE
cpu_round:
    not eax
    xor ecx, ecx
cpu_inner:
    movzx edx, byte ptr [r8 + rcx]
    xor edx, eax
    movzx edx, dl
    shr eax, 8
    xor eax, [r9 + rdx * 4]
    inc ecx
    cmp ecx, SIZE
    jb cpu_inner
cpu_inner_end:
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
functions:
    .quad function0
    .quad function1
    .quad function2
    .quad function3
