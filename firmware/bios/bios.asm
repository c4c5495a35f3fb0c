# The BIOS, upper half: the 64 KiB segment F000, where the processor starts and what INT calls.
#
# To read how a PC starts: reset.inc (the first instructions), post.inc (everything in its order), boot.inc (the last
# step).  What each service does stands in the file of its name.

.org 0x0000
.code16

.include "layout.inc"
.include "../ports.inc"
.include "ports.inc"
.include "macros.inc"

# The 32-bit half comes back to these fixed places.
zero: .word 0
.org 0x10
    jmp  shadowed
.org 0x18
    jmp  back_from_flat

# Power-on
.include "reset.inc"
.include "flat.inc"
.include "post.inc"
.include "vectors.inc"
.include "console.inc"
.include "detect.inc"
.include "cmos.inc"

# Time
.include "timer.inc"
.include "rtc.inc"

# Keyboard and mouse
.include "keyboard.inc"
.include "keystates.inc"
.include "keyinput.inc"
.include "keytables.inc"
.include "kbc.inc"
.include "mouse.inc"

# Ports
.include "serial.inc"
.include "parallel.inc"

# The system
.include "system.inc"
.include "blocks.inc"
.include "apm.inc"
.include "pcibios.inc"

# Disks
.include "disk.inc"
.include "diskchs.inc"
.include "disklba.inc"
.include "ata.inc"
.include "atadma.inc"
.include "atapi.inc"
.include "drives.inc"
.include "floppy.inc"
.include "floppymore.inc"
.include "fdc.inc"
.include "eltorito.inc"
.include "cdboot.inc"

# Starting a system
.include "roms.inc"
.include "boot.inc"
.include "bootwords.inc"
.include "bootmenu.inc"
.include "kernel.inc"

# From here on shadow RAM holds what POST finds out; see layout.inc.
.org 0xB800
.fill 0x800, 1, 0
.include "pirq.inc"
.include "compatible.inc"
