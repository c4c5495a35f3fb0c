# The BIOS, lower half: 32-bit code at E0000 that finds out what is there, and serves callers in protected mode.

.org 0xE0000
.code32

.include "layout.inc"
.include "../ports.inc"
.include "ports.inc"

# rep movsd, which keystone takes for an SSE instruction
.macro rep_movsd
    .byte 0xF3, 0xA5
.endm

# Fixed places: the way in from the 16-bit half, the code that runs from the ROM, and what protected mode calls.
    .ascii "emu BIOS, 32-bit"

.org 0xE0010
    jmp  enter
.org 0xE0020
.include "shadow.inc"

.org 0xE0200
    jmp  bios32
.org 0xE0210
    jmp  pci32
.org 0xE0220
    jmp  apm32

# From call_flat: EBP is the routine's number, EAX lies on the stack.
enter:
    mov  eax, DATA32
    mov  ds, eax
    mov  es, eax
    mov  ss, eax
    movzx esp, sp
    pop  eax
    call dword ptr [routines + ebp * 4]
    push eax
    .byte 0xEA
    .long FROM_FLAT
    .word CODE16

routines:
    .long chipset_setup, pci_setup, memory_map, memory_test, tables_setup, rom_copy, genrom_copy, bootorder_read
    .long kernel_load, lock_shadow, fwcfg_bytes

.include "pcienum.inc"
.include "chipset.inc"
.include "fwcfg.inc"
.include "memory.inc"
.include "loader.inc"
.include "smbios.inc"
.include "romcopy.inc"
.include "bootorder.inc"
.include "kernelload.inc"
.include "pci32.inc"
.include "apm32.inc"

.align 16, 0
end:
