"""What the BIOS offers to protected mode, and how it comes back from a reset that a program asked for.

[BIOS32] Standard BIOS 32-bit Service Directory Proposal 0.4; [PCIBIOS] 2.1; [APM] 1.2; [AT] 5 "INT 15h", "shutdown".
"""

from __future__ import annotations

import struct

import pytest

from tests.firmware import machines
from tests.firmware.test_keyboard import Sector

# A boot sector that goes to 32-bit protected mode, flat, and runs `flat`; EAX to ECX are said by `tell`.
FLAT = machines.START + """
{before}
    cli
    lgdt word ptr [pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    ljmp 8:flat
table:
    .quad 0
    .quad 0x00CF9B000000FFFF
    .quad 0x00CF93000000FFFF
    .quad 0x00009B0F0000FFFF
    .quad 0x00CF9B0E0000FFFF
pointer:
    .word 39
    .long table
.code32
flat:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esp, 0x7C00
{flat}
    mov al, 0x10
    out 0xF4, al
stay:
    hlt
    jmp stay
tell:
    pushfd
    pushad
    mov esi, esp
    add esi, 16
    mov ecx, 20
    mov dx, 0xE9
    rep outsb
    popad
    popfd
    ret
"""
BIOS32 = """
    mov esi, 0xE0000
.find:
    cmp dword ptr [esi], 0x5F32335F
    je .found
    add esi, 16
    jmp .find
.found:
    mov edi, [esi + 4]
"""


def run(flat: str, before: str = "", where: str = "qemu", seconds: float = 20) -> machines.Run:
    source = FLAT.format(flat=flat, before=before)
    if where == "ours":
        return machines.on_ours(disks=[Sector(source)], boot="c", seconds=seconds)
    with machines.temporary(Sector(source).data) as path:
        return machines.on_qemu(["-m", "16", "-drive", f"file={path},format=raw,snapshot=on"], seconds=seconds)


def registers(said: bytes) -> list[dict[str, int]]:
    """What `tell` said: EBX, EDX, ECX, EAX and EFLAGS, each time."""
    rows = struct.iter_unpack("<5I", said)
    return [dict(zip(("ebx", "edx", "ecx", "eax", "flags"), row)) for row in rows]


@pytest.mark.parametrize("where", ["qemu", "ours"])
def test_the_bios32_directory_finds_the_pci_bios_which_finds_devices(where):
    done = run(BIOS32 + """
    mov ebp, edi
    mov eax, 0x49435024         # "$PCI"
    mov ebx, 0
    .byte 0x0E                  # push cs
    call edi
    call tell
    lea edi, [ebx + edx]
    mov eax, 0xB101
    .byte 0x0E
    call edi
    call tell
    mov eax, 0xB102
    mov ecx, 0x7113
    mov edx, 0x8086
    mov esi, 0
    .byte 0x0E
    call edi
    call tell
    push edi
    mov ebx, 0x000B
    mov edi, 0x00
    mov eax, 0xB10A
    mov ecx, [esp]
    push ecx
    mov ecx, 0
    pop esi
    .byte 0x0E
    call esi
    call tell
    pop edi
    mov esi, edi
    mov edi, 0x02
    mov eax, 0xB10A             # not a double word's place
    .byte 0x0E
    call esi
    call tell
    mov eax, 0xB103
    mov ecx, 0x030000
    mov edi, esi
    mov esi, 0
    .byte 0x0E
    call edi
    call tell
    mov eax, 0x12345678
    mov ebx, 0
    mov edi, ebp
    .byte 0x0E
    call edi
    call tell
    """, where=where)
    directory, present, device, value, odd, display, unknown = registers(done.debug)
    assert directory["eax"] & 0xFF == 0
    assert (directory["ebx"], directory["ecx"]) == (0xE0000, 0x10000)
    assert (present["eax"], present["ebx"] & 0xFFFF, present["edx"]) == (0xB101 & 0xFF | 0x00, 0x0210, 0x20494350)
    assert (device["eax"] >> 8 & 0xFF, device["ebx"] & 0xFFFF, device["flags"] & 1) == (0, 0x000B, 0)
    assert (value["ecx"], value["flags"] & 1) == (0x71138086, 0)
    assert (odd["eax"] >> 8 & 0xFF, odd["flags"] & 1) == (0x87, 1)
    assert (display["ebx"] & 0xFFFF, display["flags"] & 1) == (0x0010, 0)
    assert unknown["eax"] & 0xFF == 0x80


@pytest.mark.parametrize("where", ["qemu", "ours"])
def test_apms_32_bit_interface(where):
    """By a far call to the segment and offset that AX=5303h told."""
    done = run("""
    mov eax, 0x530E
    mov ecx, 0x0102
    .byte 0x9A
    .long 0x220
    .word 0x20
    call tell
    mov eax, 0x530A
    mov ebx, 1
    .byte 0x9A
    .long 0x220
    .word 0x20
    call tell
    mov eax, 0x530B
    .byte 0x9A
    .long 0x220
    .word 0x20
    call tell
    mov eax, 0x5307             # all devices: off
    mov ebx, 1
    mov ecx, 3
    .byte 0x9A
    .long 0x220
    .word 0x20
    call tell
    """, before="mov ax, 0x5303; xor bx, bx; int 0x15", where=where)
    assert done.status in (0, None), "the power went off, the end was not reached"
    version, power, event = registers(done.debug)
    assert (version["eax"] & 0xFFFF, version["flags"] & 1) == (0x0102, 0)
    assert (power["ebx"] & 0xFFFF, power["flags"] & 1) == (0x01FF, 0)
    assert (event["eax"] >> 8 & 0xFF, event["flags"] & 1) == (0x80, 1)


def boot(source: str, where: str) -> machines.Run:
    """A boot sector on one of the boards."""
    if where == "ours":
        return machines.on_ours(disks=[Sector(source)], boot="c", seconds=20)
    with machines.temporary(Sector(source).data) as path:
        return machines.on_qemu(["-m", "16", "-drive", f"file={path},format=raw,snapshot=on"])


@pytest.mark.parametrize("where", ["qemu", "ours"])
def test_apm_turns_the_power_off_in_real_mode(where):
    done = boot("""
        mov ax, 0x5301
        xor bx, bx
        int 0x15
        mov ax, 0x5307
        mov bx, 1
        mov cx, 3
        int 0x15
        mov al, 0x58
        out 0xE9, al
        mov al, 0x10
        out 0xF4, al
    """, where)
    assert done.debug == b""
    assert done.status in (0, None)


@pytest.mark.parametrize("where", ["qemu", "ours"])
def test_int_15h_89h_comes_back_in_protected_mode(where):
    done = boot(machines.START + """
        mov si, table
        mov bx, 0x2028
        mov ah, 0x89
        int 0x15
        mov bl, ah
        mov al, 0x31
        jc .bad
        mov al, 0x30
    .bad:
        out 0xE9, al
        mov al, bl
        out 0xE9, al
        smsw ax
        out 0xE9, al
        mov ax, cs
        out 0xE9, al
        mov ax, ds
        out 0xE9, al
        mov ax, ss
        out 0xE9, al
        mov al, 0x10
        out 0xF4, al
        hlt
    table:
        .quad 0
        .word 0x3F
        .long table
        .word 0
        .word 0x7FF
        .long 0
        .word 0
        .quad 0x000093000000FFFF, 0x000093000000FFFF, 0x000093000000FFFF, 0x00009B000000FFFF
        .quad 0
    """, where)
    assert done.debug[:2] == b"0\0"
    assert done.debug[2] & 1, "PE"
    assert done.debug[3:] == bytes([0x30, 0x18, 0x28])


@pytest.mark.parametrize("code", [0x05, 0x0A])
@pytest.mark.parametrize("how", ["mov al, 0xFE; out 0x64, al", "mov dx, 0xCF9; mov al, 2; out dx, al; mov al, 6; out dx, al"])
def test_a_reset_with_a_shutdown_code_goes_on_where_467_points(code, how):
    """The 80286's way back to real mode; what lies in memory and in the shadowed BIOS is as it was.

    QEMU's board forgets the code at a reset.
    """
    source = f"""
        cli
        xor ax, ax
        mov ds, ax
        mov word ptr [0x467], back
        mov word ptr [0x469], ax
        mov al, 0x8F
        out 0x70, al
        mov al, {code}
        out 0x71, al
        {how}
    stay:
        hlt
        jmp stay
    back:
        cli
        xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7C00
        mov al, 0x8F
        out 0x70, al
        in al, 0x71
        out 0xE9, al
        int 0x12
        out 0xE9, al
        mov al, ah
        out 0xE9, al
        mov al, 0x10
        out 0xF4, al
        hlt
    """
    done = machines.on_ours(disks=[Sector(source)], boot="c", seconds=20)
    assert done.debug == b"\0\x7E\x02"


@pytest.mark.parametrize("where", ["qemu", "ours"])
def test_apms_16_bit_interface(where):
    """From 16-bit protected mode, by a far call to what AX=5302h told; [APM] 4.6."""
    done = boot("""
        cli
        xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7C00
        mov ax, 0x5302
        xor bx, bx
        int 0x15
        mov word ptr [entry], bx
        cli
        lgdt word ptr [pointer]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        ljmp 8:protected
    protected:
        mov ax, 0x10
        mov ds, ax
        mov ss, ax
        mov ax, 0x530E
        mov cx, 0x0102
        lcall [entry]
        call say
        mov ax, 0x530A
        mov bx, 1
        lcall [entry]
        mov ax, bx
        call say
        mov ax, 0x530B
        lcall [entry]
        mov al, 0
        adc al, 0
        call say
        mov al, 0x10
        out 0xF4, al
        hlt
    say:
        out 0xE9, al
        mov al, ah
        out 0xE9, al
        ret
    entry: .word 0, 0x18
    table:
        .quad 0, 0x00009B000000FFFF, 0x000093000000FFFF, 0x00009B0F0000FFFF
    pointer:
        .word 31
        .long table
    """, where)
    assert done.debug == bytes([0x02, 0x01, 0xFF, 0x01, 0x01, 0x80])
