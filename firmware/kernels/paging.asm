# paging: memory that appears when it is touched.  4 to 8 MiB are not mapped; each first touch faults, the handler maps a frame and the
# instruction runs again as if nothing had been.

.include "boot.inc"
.include "serial.inc"
.include "print.inc"
.include "idt.inc"
.include "paging.inc"

.set PAGES, 16

main:
    call idt_init
    call paging_init
    say  "paging: on, page directory at "
    mov  eax, cr3
    call print_hex
    say  "\n"

    xor  ecx, ecx           # write a different number into each page
.write:
    mov  ebx, ecx
    shl  ebx, 12
    lea  eax, [ecx + 1000]
    mov  [ebx + LAZY], eax
    inc  ecx
    cmp  ecx, PAGES
    jb   .write
    mov  eax, PAGES
    say  "paging: "
    call print_dec
    say  " pages written, "
    mov  eax, [faults]
    call print_dec
    say  " faults served\n"
    cmp  eax, PAGES
    jne  failed

    xor  ecx, ecx           # read them twice: as mapped, and where the frame really is
.read:
    mov  ebx, ecx
    shl  ebx, 12
    lea  eax, [ecx + 1000]
    cmp  [ebx + LAZY], eax
    jne  failed
    cmp  [ebx + FRAMES], eax
    jne  failed
    inc  ecx
    cmp  ecx, PAGES
    jb   .read
    say  "paging: contents verified in both places\n"

    # Take the first page away.  The processor may remember the old entry until INVLPG (SDM vol. 3, 4.10.4).
    mov  dword ptr [HIGH_TABLE], 0
    mov  ebx, LAZY
    invlpg [ebx]
    cmp  dword ptr [ebx], 0
    jne  failed
    cmp  dword ptr [faults], PAGES + 1
    jne  failed
    say  "paging: a page taken away came back empty, by one more fault\n"
    mov  al, OK
    jmp  exit

failed:
    say  "paging: FAILED\n"
    mov  al, FAILED
    jmp  exit
