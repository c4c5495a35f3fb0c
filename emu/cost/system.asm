# The workloads that call the kernel, for program.asm: system calls, files, timers.
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
