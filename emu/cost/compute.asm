# The workloads that need no system, for program.asm.
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
