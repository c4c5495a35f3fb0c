# The disk of kernel.asm as its one file: the first drive of a PIIX3's IDE function by bus master DMA, or where KVM's runner
# stands instead of hardware (BY_IRET), by port 510h, to which the command is written.
# Source: ATA/ATAPI-5; 82371SB (PIIX3) data sheet, 2.3 and 2.5; PCI IDE Bus Master 1.0: PRD table, command, status.
# In: RAX the system call's number, RSI the buffer: 4 KiB, in one page.
.set PRD, 0x3fd400              # one entry: address, bytes with the mark of the last
.set POSITION, 0x3ff040         # of the file, in sectors
.set MASTER, 0xc000             # where BAR 4 is put
.set RUNNER, 0x510
.set READ_DMA, 0xc8
.set WRITE_DMA, 0xca
.set FLUSH_CACHE, 0xe7

disk_call:
    test eax, eax
    jz disk_read
    cmp eax, 2
    je disk_open
    cmp eax, 8
    je disk_rewind
    cmp eax, 74
    je disk_flush
    hlt
disk_rewind:                    # lseek, to the start
    mov edi, POSITION
    mov dword ptr [rdi], 0
    jmp done
disk_open:
    mov edi, POSITION
    mov dword ptr [rdi], 0
.if BY_IRET
.else
    mov r8d, 0x80000920         # function 1 of device 1: BAR 4
    mov r9d, MASTER
    call configure
    mov r8d, 0x80000940         # IDETIM: both channels decoded
    mov r9d, 0x80008000
    call configure
    mov r8d, 0x80000904         # PCICMD: I/O space, bus master
    mov r9d, 5
    call configure
    mov dx, 0x3f6
    xor eax, eax                # nIEN off: its interrupt ends a transfer, and is masked
    out dx, al
    mov dx, 0x1f6
    mov al, 0xe0
    out dx, al
    call drive_ready
.endif
    mov eax, 3
    leave_kernel
configure:
    mov eax, r8d
    mov dx, 0xcf8
    out dx, eax
    mov eax, r9d
    mov dx, 0xcfc
    out dx, eax
    ret
drive_ready:                    # until BSY is off; AL its status
    mov dx, 0x1f7
    in al, dx
    test al, 0x80
    jnz drive_ready
    ret
disk_flush:
.if BY_IRET
    mov al, FLUSH_CACHE
    mov dx, RUNNER
    out dx, al
    jmp done
.else
    mov dx, 0x1f7
    mov al, FLUSH_CACHE
    out dx, al
    call drive_ready
    test al, 0x21               # DF, ERR
    jz done
    jmp disk_error
.endif
disk_write:
    mov r8d, WRITE_DMA
    xor r9d, r9d
    jmp transfer
disk_read:
    mov r8d, READ_DMA
    mov r9d, 8                  # the bus master writes to memory
transfer:
    mov edi, PRD
    mov [rdi], esi
    mov dword ptr [rdi + 4], 0x80001000
.if BY_IRET
    mov eax, r8d
    mov dx, RUNNER
    out dx, al
.else
    mov eax, edi
    mov dx, MASTER + 4
    out dx, eax
    mov dx, MASTER + 2
    mov al, 6                   # error and interrupt off
    out dx, al
    mov edi, POSITION
    mov r10d, [rdi]
    mov dx, 0x1f2
    mov al, 8
    out dx, al
    mov eax, r10d
    inc edx
    out dx, al
    shr eax, 8
    inc edx
    out dx, al
    shr eax, 8
    inc edx
    out dx, al
    mov dx, 0x1f7
    mov eax, r8d
    out dx, al
    mov dx, MASTER
    mov eax, r9d
    inc eax
    out dx, al
transferring:
    mov dx, MASTER + 2
    in al, dx
    test al, 4
    jz transferring
    mov dx, MASTER
    xor eax, eax
    out dx, al
    call drive_ready
    test al, 0x21
    jnz disk_error
.endif
    mov edi, POSITION
    add dword ptr [rdi], 8
    mov eax, 4096
    leave_kernel
disk_error:
    mov eax, 0xfffffffb         # EIO
    leave_kernel
