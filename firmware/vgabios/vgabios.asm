# vgabios: INT 10h and VBE for a VGA with Bochs' DISPI registers, as an expansion ROM at C000:0000.
#
# It is written against the interfaces alone and runs on QEMU's standard VGA too.  Not there: the light pen, INT 10h's functions
# for other adapters, VBE's planar modes, text in the modes of VBE.

.org 0
.code16
.include "layout.inc"

rom:
    .byte 0x55, 0xAA, 0         # the length, in units of 512 bytes, and the checksum are the builder's
    jmp  init
    .org 0x18
    .word pcir                  # PCI Firmware Specification 3.0, 5.1
    .org 0x1E
    .ascii "IBM"                # by this, programs of the 1980s told an adapter with a BIOS
    .byte 0
    .org 0x24
pcir:
    .ascii "PCIR"
    .word 0x1234, 0x1111        # QEMU's and Bochs' VGA
    .word 0
    .word 0x18
    .byte 0, 0, 0, 3            # class: VGA-compatible display controller
    .word 0                     # image length: the builder's
    .word 1                     # revision of the code
    .byte 0, 0x80               # for PC-AT BIOSes; the last image
    .word 0

pci_function: .word 0           # bus, device and function: written by init, while the BIOS keeps the ROM writable

# AX tells bus, device and function (PCI Firmware Specification 3.0, 5.2.1.1)
init:
    push es
    push ds
    pushad
    cld
    mov  cs:[pci_function], ax
    xor  ax, ax
    mov  ds, ax
    mov  eax, [0x10 * 4]
    mov  [0x42 * 4], eax        # the video function that was there before
    push cs
    pop  ax
    shl  eax, 16
    mov  ax, int10
    mov  [0x10 * 4], eax
    mov  [0x6D * 4], eax
    mov  ax, font8 + 128 * 8
    mov  [0x1F * 4], eax
    mov  ax, save_pointers
    mov  [BDA * 16 + SAVEPTR], eax
    mov  byte ptr [BDA * 16 + MODESET], 0x40 | M_400 | M_VGA
    mov  byte ptr [BDA * 16 + DCC], 8
    mov  byte ptr [BDA * 16 + SWITCHES], 0xF9
    mov  byte ptr [BDA * 16 + VIDCTL], 0x60
    and  byte ptr [BDA * 16 + EQUIP], 0xCF
    or   byte ptr [BDA * 16 + EQUIP], 0x20      # starts in 80 columns, colour
    mov  ax, 3
    int  0x10
    popad
    pop  ds
    pop  es
    .byte 0xCB                  # RETF

int10:
    push es
    push ds
    pushad
    cld
    mov  bp, sp
    sub  sp, LOCALS
    mov  si, BDA
    mov  ds, si
    cmp  ah, 0x4F
    je   vbe
    cmp  ah, 0x1C
    ja   leave_int10
    movzx si, ah
    add  si, si
    jmp  word ptr cs:[si + functions]
leave_int10:
    mov  sp, bp
    popad
    pop  ds
    pop  es
    iret

.align 2
functions:
    .word f00, f01, f02, f03, f04, f05, f06, f06, f08, f09, f0A, f0B, f0C, f0D, f0E, f0F
    .word f10, f11, f12, f13, leave_int10, leave_int10, leave_int10, leave_int10, leave_int10, leave_int10, f1A, f1B, f1C

.include "modes.inc"
.include "tables.inc"
.include "text.inc"
.include "teletype.inc"
.include "scroll.inc"
.include "glyph.inc"
.include "pixel.inc"
.include "palette.inc"
.include "colors.inc"
.include "fonts.inc"
.include "info.inc"
.include "state.inc"
.include "vbe.inc"
.include "vbeset.inc"
.include "vbescan.inc"
.include "vbemodes.inc"
.include "vbepm.inc"
.include "edid.inc"
.include "font8.inc"
.include "font14.inc"
.include "font16.inc"
