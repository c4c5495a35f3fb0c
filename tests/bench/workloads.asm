; One workload, for every engine: a 32-bit guest with a Multiboot header, by which our loader and QEMU start it alike.
;
;   nasm -DWL=name [-DN=count] [-DSETTLE]       flat at 10000h, entered there; protected mode, flat segments
;
; It writes 1 to the debug console when the work begins and 2 when it has ended; then its result, eight letters a to p, the
; high digit first; then 3.  Time is what the process has used between the marks.  The result tells that the work was done.
; N is how much of it: each workload has its own default.  SETTLE halts for a tick of the PIT that the BIOS has left running
; after mark 1, so that whoever reads the mark from a pipe has looked at the clock before the work begins.
;
; Interrupt handlers count in [result]; a workload that computes leaves its result in EAX and there.

bits 32
org 0x10000

%define IDT     0x90000
%define STACK   0x9F000
%define BUF     0x400000                ; 4 MiB on: zero at the start
%define PD      0x100000                ; paging: one directory, then sixteen tables for 64 MiB, identity
%define PTS     0x101000
%define SPARE   0x2000000               ; a linear page that some workloads map elsewhere
%define SPARE_PTE (PTS + (SPARE >> 12) * 4)
%define PATCHED 0x500000                ; the code that smc writes
%define CON     0xE9

%macro amount 1                        ; how much, unless the command line says it
  %ifndef N
    %define N %1
  %endif
%endmacro

%ifidn WL,sieve
  %define PAGED
%elifidn WL,page_fault
  %define PAGED
%elifidn WL,smc_alias
  %define PAGED
%endif

;---------------------------------------------------------------- start

        jmp     start

align 4                                 ; Multiboot 1, with addresses of its own
header: dd      0x1BADB002, 0x10000, -(0x1BADB002 + 0x10000)
        dd      header, 0x10000, 0, 0, start

align 8
gdt:    dq      0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF
        dq      0x00009B010000FFFF, 0x000093010000FFFF          ; 16 bits, from 10000h on
gdtr:   dw      39
        dd      gdt
idtr:   dw      0x7FF
        dd      IDT
align 4
result: dd      0
stack:  dd      0

start:  cli
        cld
        lgdt    [gdtr]
        jmp     8:.flat
.flat:  mov     ax, 16
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     fs, ax
        mov     gs, ax
        mov     esp, STACK
        xor     ebx, ebx
.gate:  mov     eax, ignore
        mov     [IDT + ebx * 8], ax
        mov     dword [IDT + ebx * 8 + 2], 0x8E000000 | 8
        mov     byte [IDT + ebx * 8 + 5], 0x8E
        shr     eax, 16
        mov     [IDT + ebx * 8 + 6], ax
        inc     ebx
        cmp     ebx, 256
        jb      .gate

%macro gate 2                           ; vector, handler
        mov     eax, %2
        mov     [IDT + %1 * 8], ax
        shr     eax, 16
        mov     [IDT + %1 * 8 + 6], ax
%endmacro
        gate    0x80, on_int80
        gate    14, on_page_fault
        gate    0x20, on_timer
        gate    8, on_bios_tick
        lidt    [idtr]

        mov     al, 0xFF                ; nothing interrupts
        out     0x21, al
        out     0xA1, al

%ifdef PAGED
        mov     edi, PD
        mov     ecx, 1024
        xor     eax, eax
        rep stosd
        mov     edi, PD
        mov     eax, PTS | 3
        mov     ecx, 16
.pde:   mov     [edi], eax
        add     edi, 4
        add     eax, 4096
        loop    .pde
        mov     edi, PTS
        mov     eax, 3
        mov     ecx, 16384
.pte:   mov     [edi], eax
        add     edi, 4
        add     eax, 4096
        loop    .pte
        mov     eax, PD
        mov     cr3, eax
        mov     eax, cr0
        or      eax, 0x80000000
        mov     cr0, eax
        jmp     short .paged
.paged:
%endif

%macro fill 0                           ; a pattern to copy
        mov     edi, BUF
        mov     ecx, (1 << 20) / 4
        mov     eax, 12345
%%word: stosd
        imul    eax, eax, 1103515245
        add     eax, 12345
        loop    %%word
%endmacro
%macro add_up 1                         ; EAX = the sum of the MiB of words at %1
        mov     esi, %1
        mov     ecx, (1 << 20) / 4
        xor     eax, eax
%%word: add     eax, [esi]
        add     esi, 4
        loop    %%word
%endmacro

%macro sse_on 0                         ; OSFXSR and OSXMMEXCPT; MP without EM and TS
        mov     eax, cr4
        or      eax, 0x600
        mov     cr4, eax
        mov     eax, cr0
        and     eax, ~0xE
        or      eax, 2
        mov     cr0, eax
%endmacro

%macro begin 0
        mov     al, 1
        out     CON, al
  %ifdef SETTLE
        mov     al, 0xFE
        out     0x21, al
        sti
        hlt
        cli
        mov     al, 0xFF
        out     0x21, al
  %endif
%endmacro
%macro finish 0
        cli
        mov     ebx, eax
        mov     al, 2
        out     CON, al
        mov     eax, ebx
%endmacro

;---------------------------------------------------------------- the processor

%ifidn WL,crc                           ; CRC-32 by table, N times 1 MiB
        amount  64
        begin
        mov     edi, BUF
        xor     ecx, ecx
.entry: mov     eax, ecx
        mov     edx, 8
.bit:   shr     eax, 1
        jnc     .even
        xor     eax, 0xEDB88320
.even:  dec     edx
        jnz     .bit
        mov     [edi + ecx * 4], eax
        inc     ecx
        cmp     ecx, 256
        jb      .entry
        mov     ebp, N
.pass:  mov     esi, BUF + 4096
        mov     ecx, 1 << 20
        mov     eax, -1
.byte:  movzx   edx, byte [esi]
        movzx   ebx, al
        xor     ebx, edx
        shr     eax, 8
        xor     eax, [edi + ebx * 4]
        inc     esi
        dec     ecx
        jnz     .byte
        dec     ebp
        jnz     .pass
        finish
        mov     [result], eax

%elifidn WL,sieve                       ; the primes below 8 Mi, a byte each, paging on; N times
        amount  3
        begin
        mov     ebp, N
.pass:  mov     edi, BUF
        mov     ecx, (8 << 20) / 4
        mov     eax, 0x01010101
.fill:  mov     [edi], eax
        add     edi, 4
        dec     ecx
        jnz     .fill
        mov     ecx, 2
.prime: cmp     byte [BUF + ecx], 0
        je      .next
        mov     edx, ecx
        imul    edx, ecx
.mark:  mov     byte [BUF + edx], 0
        add     edx, ecx
        cmp     edx, 8 << 20
        jb      .mark
.next:  inc     ecx
        cmp     ecx, 2896
        jb      .prime
        xor     eax, eax
        xor     ecx, ecx
.count: movzx   edx, byte [BUF + ecx]
        add     eax, edx
        inc     ecx
        cmp     ecx, 8 << 20
        jb      .count
        dec     ebp
        jnz     .pass
        finish
        mov     [result], eax

%elifidn WL,rep_movsd                   ; N times 1 MiB
        amount  256
        fill
        begin
        mov     ebp, N
.pass:  mov     esi, BUF
        mov     edi, BUF + 0x2A3000
        mov     ecx, (1 << 20) / 4
        rep movsd
        dec     ebp
        jnz     .pass
        finish
        add_up  BUF + 0x2A3000
        mov     [result], eax

%elifidn WL,mov_copy                    ; N times 1 MiB, 16 bytes a round
        amount  128
        fill
        begin
        mov     ebp, N
.pass:  mov     esi, BUF
        mov     edi, BUF + 0x2A3000
        mov     ecx, (1 << 20) / 16
.copy:  mov     eax, [esi]
        mov     edx, [esi + 4]
        mov     [edi], eax
        mov     [edi + 4], edx
        mov     eax, [esi + 8]
        mov     edx, [esi + 12]
        mov     [edi + 8], eax
        mov     [edi + 12], edx
        add     esi, 16
        add     edi, 16
        dec     ecx
        jnz     .copy
        dec     ebp
        jnz     .pass
        finish
        add_up  BUF + 0x2A3000
        mov     [result], eax

%elifidn WL,calls                       ; an interpreter: N times 65,536 indirect calls
        amount  305
        begin
        mov     edi, BUF
        mov     ecx, 65536
        mov     eax, 12345
.code:  imul    eax, eax, 1103515245
        add     eax, 12345
        mov     edx, eax
        shr     edx, 16
        and     edx, 15
        mov     [edi], dl
        inc     edi
        dec     ecx
        jnz     .code
        xor     eax, eax
        xor     ebx, ebx
        mov     ebp, N
.pass:  mov     esi, BUF
        mov     ecx, 65536
.next:  movzx   edx, byte [esi]
        inc     esi
        call    [table + edx * 4]
        dec     ecx
        jnz     .next
        dec     ebp
        jnz     .pass
        finish
        mov     [result], eax

%elifidn WL,x87                         ; N times 8 operations
        amount  2000000
        mov     eax, cr0
        and     eax, ~0xE
        or      eax, 2
        mov     cr0, eax
        fninit
        begin
        mov     ecx, N
        fld1
        fldz
.flop:  fld     st1
        fadd    st0, st1
        fmul    st0, st0
        fstp    st1
        fld     st0
        fmul    dword [floats + 8]
        fsub    dword [floats + 20]
        fstp    st1
        dec     ecx
        jnz     .flop
        finish
        fstp    dword [result]

%elifidn WL,sse                         ; N times 6 operations, packed and scalar
        amount  2000000
        sse_on
        begin
        mov     ecx, N
        movups  xmm0, [floats]
        movups  xmm1, [floats + 16]
        movaps  xmm2, xmm0
        xorps   xmm3, xmm3
.flop:  mulps   xmm0, xmm1
        addps   xmm0, xmm2
        subps   xmm2, xmm1
        mulps   xmm2, xmm1
        addss   xmm0, xmm1
        mulsd   xmm3, xmm1
        dec     ecx
        jnz     .flop
        finish
        shufps  xmm0, xmm0, 0x55        ; the second lane: the first one dies out
        movss   [result], xmm0

%elifidn WL,cold                        ; N blocks of seven instructions, once each
        amount  8000
        begin
        xor     eax, eax
        xor     ebx, ebx
        xor     ecx, ecx
  %assign j 0
  %rep N
        add     eax, j * 77 + 13
        xor     ebx, eax
        lea     edx, [eax + ebx * 2 + j]
        mov     [BUF + (j & 1023) * 4], edx
        sub     ecx, edx
        test    eax, 0x10
        jz      .even%[j]
        inc     ebx
.even%[j]:
    %assign j j + 1
  %endrep
        finish
        xor     eax, ebx
        xor     eax, ecx
        mov     [result], eax

%elifidn WL,text                        ; N times the 2,000 cells of a text screen
        amount  10000
        begin
        mov     ebp, N
.pass:  mov     edi, 0xB8000
        mov     ecx, 2000
        mov     ax, 0x0741
.cell:  mov     [edi], ax
        add     edi, 2
        dec     ecx
        jnz     .cell
        dec     ebp
        jnz     .pass
        finish
        mov     eax, [0xB8000 + 2 * 1999 - 2]
        mov     [result], eax

%elifidn WL,packed                      ; N times 8 operations on integers
        amount  3000000
        sse_on
        begin
        mov     ecx, N
        movups  xmm0, [floats]
        movups  xmm1, [floats + 16]
        movaps  xmm2, xmm0
        pxor    xmm3, xmm3
.next:  paddd   xmm0, xmm1
        pmuludq xmm1, xmm2
        psrld   xmm2, 3
        punpcklbw xmm3, xmm0
        packuswb xmm3, xmm1
        pxor    xmm2, xmm3
        pshufd  xmm1, xmm2, 0x1B
        pmovmskb eax, xmm2
        paddd   xmm1, xmm0
        dec     ecx
        jnz     .next
        finish
        movss   [result], xmm0

%elifidn WL,across                      ; N loads and N stores across the end of a page
        amount  3000000
        begin
        xor     eax, eax
        mov     ecx, N
.next:  add     eax, [BUF + 4094]
        inc     eax
        mov     [BUF + 8190], eax
        dec     ecx
        jnz     .next
        finish
        mov     [result], eax

%elifidn WL,segments                    ; N times two segment registers and a far call
        amount  1000000
        begin
        mov     edx, 16
        mov     ecx, N
.next:  mov     es, edx
        mov     fs, edx
        call    8:.far
        dec     ecx
        jnz     .next
        jmp     .done
.far:   inc     dword [result]
        retf
.done:  finish

%elifidn WL,real                        ; real mode: N times INT and IRET, a far call, segments, the stack beside the code
        amount  200000
        begin
        mov     [stack], esp
        jmp     24:.enter - 0x10000
bits 16
.enter: mov     ax, 32
        mov     ds, ax
        mov     ss, ax
        mov     eax, cr0
        and     al, 0xFE
        mov     cr0, eax
        jmp     0x1000:.in - 0x10000
.in:    mov     ax, 0x1000
        mov     ds, ax
        mov     ss, ax
        mov     sp, .top - 0x10000
        o32 lidt [.ivt - 0x10000]
        xor     ax, ax
        mov     es, ax
        mov     word [es:0x180], .int - 0x10000
        mov     word [es:0x182], 0x1000
        mov     ecx, N
        xor     dx, dx
.next:  int     0x60
        call    0x1000:.far - 0x10000
        push    ds
        pop     es
        call    .near
        dec     ecx
        jnz     .next
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     dword 8:.back
.int:   inc     dword [result - 0x10000]
        iret
.far:   inc     dx
        retf
.near:  mov     [es:.count - 0x10000], dx
        ret
.count: dw      0
.ivt:   dw      0x3FF
        dd      0
        times   64 db 0
.top:
bits 32
.back:  mov     ax, 16
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esp, [stack]
        lidt    [idtr]
        finish

%elifidn WL,beside_code                 ; N stores of each size to the page that runs
        amount  1000000
        begin
        mov     ecx, N
        xor     eax, eax
.next:  add     eax, ecx
        mov     [.here], eax
        mov     [.here + 4], ax
        mov     [.here + 6], al
        dec     ecx
        jnz     .next
        jmp     .done
align 8
.here:  dq      0
.done:  finish
        mov     eax, [.here]
        mov     [result], eax

%elifidn WL,smc_block                   ; the next instruction of the same block patched, N times
        amount  20000
        begin
        mov     ecx, N
        xor     edx, edx
.next:  mov     [.it + 1], ecx
.it:    mov     eax, 0x12345678
        add     edx, eax
        dec     ecx
        jnz     .next
        finish
        mov     [result], edx

%elifidn WL,smc                         ; a function whose constant is patched before each call, N times
        amount  10000
        %define ALIAS PATCHED
%elifidn WL,smc_alias                   ; the same through another page: the writes don't go where the code is fetched
        amount  10000
        mov     dword [SPARE_PTE], PATCHED | 3
        %define ALIAS SPARE

;---------------------------------------------------------------- the bus

%elifidn WL,out                         ; N writes of a port
        amount  1000000
        begin
        mov     ecx, N
.next:  out     0x80, al
        dec     ecx
        jnz     .next
        finish
        mov     [result], ecx

%elifidn WL,in                          ; N reads of the keyboard controller's data port
        amount  1000000
        begin
        mov     ecx, N
.next:  in      al, 0x60
        dec     ecx
        jnz     .next
        finish
        mov     [result], ecx

%elifidn WL,port_read                   ; N reads of port 80h
        amount  1000000
        begin
        mov     ecx, N
.next:  in      al, 0x80
        dec     ecx
        jnz     .next
        finish
        mov     [result], ecx

%elifidn WL,outsb                       ; N times 256 KiB
        amount  4
        begin
        mov     ebp, N
.pass:  mov     esi, BUF
        mov     ecx, 256 << 10
        mov     dx, 0x80
        rep outsb
        dec     ebp
        jnz     .pass
        finish
        mov     [result], esi

%elifidn WL,insw                        ; N times 256 KiB
        amount  8
        begin
        mov     ebp, N
.pass:  mov     edi, BUF
        mov     ecx, 128 << 10
        mov     dx, 0x1F0
        rep insw
        dec     ebp
        jnz     .pass
        finish
        mov     [result], edi

%elifidn WL,mmio_write                  ; N writes of the page where a PC has its I/O APIC
        amount  1000000
        begin
        mov     ecx, N
        mov     edi, 0xFEC00000
        xor     eax, eax
.next:  mov     [edi], eax
        dec     ecx
        jnz     .next
        finish
        mov     [result], ecx

%elifidn WL,mmio_read
        amount  1000000
        begin
        mov     ecx, N
        mov     edi, 0xFEC00000
.next:  mov     eax, [edi]
        dec     ecx
        jnz     .next
        finish
        mov     [result], ecx

;---------------------------------------------------------------- interrupts

%elifidn WL,int80                       ; N software interrupts
        amount  200000
        begin
        mov     ecx, N
.next:  int     0x80
        dec     ecx
        jnz     .next
        finish

%elifidn WL,page_fault                  ; N faults, each repaired by the handler
        amount  100000
        mov     dword [SPARE_PTE], 0
        invlpg  [SPARE]
        begin
        mov     ecx, N
.next:  mov     eax, [SPARE]
        mov     dword [SPARE_PTE], 0
        invlpg  [SPARE]
        dec     ecx
        jnz     .next
        finish

%elifidn WL,disk_dma
  %define DISK
%elifidn WL,disk_pio
  %define DISK
%elifidn WL,disk_multiple
  %define DISK

%else
  %macro pic 0                          ; vectors 20h and 28h, only IR0 open
        mov     al, 0x11
        out     0x20, al
        out     0xA0, al
        mov     al, 0x20
        out     0x21, al
        mov     al, 0x28
        out     0xA1, al
        mov     al, 4
        out     0x21, al
        mov     al, 2
        out     0xA1, al
        mov     al, 1
        out     0x21, al
        out     0xA1, al
        mov     al, 0xFE
        out     0x21, al
  %endmacro
  %macro pit 1                          ; counter 0, mode 2, the count
        mov     al, 0x34
        out     0x43, al
        mov     al, (%1) & 255
        out     0x40, al
        mov     al, (%1) >> 8
        out     0x40, al
  %endmacro
  %ifndef COUNT
    %define COUNT 2                     ; the least that mode 2 takes: 1.7 us, of which an interrupt leaves 1.2
  %endif

  %ifidn WL,tight                       ; N times 50,000 rounds of five instructions
        amount  1600
    %define LOAD
  %elifidn WL,timer                     ; the same load, with the timer's interrupts at 1 kHz
        amount  1600
    %define LOAD
  %elifidn WL,irq_rate                  ; N timer interrupts, spinning in between
        amount  100000
    %define WAIT
  %elifidn WL,irq_halt                  ; N timer interrupts, halted in between
        amount  100000
    %define WAIT hlt
  %else
    %fatal no such workload
  %endif
        begin
  %ifdef LOAD
    %ifidn WL,timer
        pic
        pit     1193182 / 1000
        sti
    %endif
        mov     ebp, N
        xor     eax, eax
.outer: mov     ecx, 50000
.load:  add     eax, ecx
        rol     eax, 5
        xor     eax, ebp
        dec     ecx
        jnz     .load
        dec     ebp
        jnz     .outer
        finish
    %ifidn WL,tight
        mov     [result], eax
    %endif
  %else
        pic
        pit     COUNT
        sti
.wait:  WAIT
        cmp     dword [result], N
        jb      .wait
        finish
  %endif
%endif

%ifdef DISK
  %include "disk.inc"
%endif

%ifdef ALIAS
        mov     dword [ALIAS + 64], 1
        mov     byte [ALIAS], 0xB8      ; mov eax, constant
        mov     byte [ALIAS + 5], 0xC3  ; ret
        begin
        xor     ecx, ecx
.patch: mov     [ALIAS + 1], ecx
        mov     ebx, PATCHED
        call    ebx
        add     [result], eax
        inc     ecx
        cmp     ecx, N
        jb      .patch
        finish
%endif

;---------------------------------------------------------------- end

        mov     eax, [result]
        mov     edx, 8
digit:  rol     eax, 4
        mov     ebx, eax
        and     ebx, 15
        add     bl, 'a'
        xchg    eax, ebx
        out     CON, al
        xchg    eax, ebx
        dec     edx
        jnz     digit
        mov     al, 3
        out     CON, al
stop:   cli
        hlt
        jmp     stop

ignore: iret

on_int80:
        inc     dword [result]
        iret

on_timer:
        push    eax
        inc     dword [result]
        mov     al, 0x20
        out     0x20, al
        pop     eax
        iret

on_bios_tick:                           ; also #DF, which ends in the halt above
        push    eax
        mov     al, 0x20
        out     0x20, al
        pop     eax
        iret

on_page_fault:
        push    eax
        inc     dword [result]
        mov     dword [SPARE_PTE], SPARE | 3
        invlpg  [SPARE]
        pop     eax
        add     esp, 4
        iret

align 16
floats: dd      0.1, 0.2, 0.3, 0.4, 0.5, 0.25, 0.125, 0.75

%ifidn WL,calls
table:
  %assign i 0
  %rep 16
        dd      op%[i]
    %assign i i + 1
  %endrep
op0:    inc     eax
        ret
op1:    add     eax, ebx
        ret
op2:    xor     ebx, eax
        ret
op3:    rol     eax, 3
        ret
op4:    sub     ebx, 7
        ret
op5:    test    eax, 1
        jz      .even
        add     ebx, 3
.even:  ret
op6:    cmp     eax, ebx
        ja      .above
        xchg    eax, ebx
.above: ret
op7:    lea     eax, [eax + ebx * 2]
        ret
op8:    push    eax
        pop     ebx
        ret
op9:    and     eax, 0xFFFFFF
        ret
op10:   or      ebx, 1
        ret
op11:   not     eax
        ret
op12:   neg     ebx
        ret
op13:   shr     eax, 1
        ret
op14:   imul    ebx, eax
        ret
op15:   bswap   eax
        ret
%endif
