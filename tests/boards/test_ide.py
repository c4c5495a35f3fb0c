"""The IDE subsystem of the PC, seen by a guest of our own and by the host."""

from __future__ import annotations

import pytest

from emu.assembler import assemble
from emu.boards import ide as subsystem
from emu.boards.board import BadBoard
from emu.boards.pc import PC
from emu.chips.atadisk import ATADisk
from emu.chips.atapicd import ATAPICDROM
from emu.machine import End
from tests.chips.drives import Memory

MIB = 1 << 20
GUEST = """
    .macro put port, value
        mov dx, \\port
        mov al, \\value
        out dx, al
    .endm
    .macro task lba, count, command     # a command to device 0 of the primary channel
        put 0x1F6, 0xE0
        put 0x1F2, \\count
        put 0x1F3, \\lba
        put 0x1F4, 0
        put 0x1F5, 0
        put 0x1F7, \\command
    .endm
    .macro masters command              # wait for the end of a transfer by the bus master
        put 0xC000, \\command
    .endm

        cli
        cld
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7000
        call idle

        task 3, 2, 0x20                 # READ SECTORS, words
        mov di, 0x8000
        call sector
        call sector
        task 5, 1, 0x20                 # and double words
        call data
        mov cx, 128
        mov dx, 0x1F0
        rep insd
        call idle

        mov dword ptr [0x6000], 0x9000  # READ DMA into two regions
        mov dword ptr [0x6004], 1000
        mov dword ptr [0x6008], 0xA000
        mov dword ptr [0x600C], 0x80000C18
        call table
        masters 8
        task 16, 8, 0xC8
        masters 9
        call moved

        task 100, 2, 0x30               # WRITE SECTORS
        mov si, 0x8000
        call data
        mov cx, 256
        mov dx, 0x1F0
        rep outsw
        call data
        mov cx, 128
        mov dx, 0x1F0
        rep outsd
        call idle

        mov dword ptr [0x6000], 0xA000  # WRITE DMA
        mov dword ptr [0x6004], 0x80000400
        call table
        masters 0
        task 200, 2, 0xCA
        masters 1
        call moved
        mov al, 1
        out 0xF4, al
        hlt

    idle:
        mov dx, 0x1F7
        in al, dx
        test al, 0x80
        jnz idle
        test al, 0x21                   # DF, ERR
        jnz stop
        ret
    data:
        mov dx, 0x1F7
        in al, dx
        test al, 0x80
        jnz data
        test al, 8
        jz stop
        ret
    stop:
        hlt
    sector:
        call data
        mov cx, 256
        mov dx, 0x1F0
        rep insw
        ret
    table:
        mov dx, 0xC004
        mov eax, 0x6000
        out dx, eax
        put 0xC002, 6                   # INT is of the transfers before
        ret
    moved:
        mov dx, 0xC002
        in al, dx
        test al, 4
        jz moved
        cmp al, 4                       # INT, not ACT
        jne stop
        out dx, al
        masters 0
        jmp idle
"""


def made(medium, **options):
    machine = PC(4 * MIB, disks=[medium], **options)
    machine.load(assemble(GUEST, 0x7C00, 16))
    return machine


def sectors(medium, first, count):
    return bytes(medium.data[512 * first:512 * (first + count)])


@pytest.mark.parametrize("fast", ["all", "none", "ports"])
def test_a_guest_reads_and_writes_by_pio_and_by_dma(fast, monkeypatch):
    monkeypatch.setenv("EMU_FAST", fast)
    medium = Memory(MIB)
    with made(medium) as m:
        assert m.run(10**9) is End.EXIT and m.exit_code == 3
        assert m.read(0x8000, 1536) == sectors(medium, 3, 3)
        assert m.read(0x9000, 1000) + m.read(0xA000, 3096) == sectors(medium, 16, 8)
        assert sectors(medium, 100, 2) == sectors(medium, 3, 2)
        assert sectors(medium, 200, 2) == m.read(0xA000, 1024)
        assert [entry[0] for entry in medium.log] == ["r"] * 4 + ["w"] * 3


def test_a_run_is_the_same_with_and_without_what_is_native_and_wherever_it_is_cut(monkeypatch):
    ends = []
    for fast, cuts in ("none", ()), ("all", ()), ("all", range(100_000, 5_000_000, 61_234)):
        monkeypatch.setenv("EMU_FAST", fast)
        medium = Memory(MIB)
        with made(medium) as m:
            for cut in cuts:
                if m.run(cut) is not End.TIME:
                    break
            else:
                m.run(10**9)
            ends.append((m.now, m.state_sha256(), bytes(medium.data)))
    assert ends[0] == ends[1] == ends[2]


@pytest.mark.parametrize("cut", [150_000, 300_000, 480_000, 700_000, 850_000, 1_000_000])
def test_a_restored_machine_goes_on_in_the_middle_of_a_transfer(cut):
    medium = Memory(MIB)
    with made(medium) as m:
        assert m.run(cut) is End.TIME
        saved, memories = m.save(), {name: bytes(memory) for name, memory in m.memories.items()}
        between = Memory(MIB)
        between.data[:] = medium.data
        m.run(10**9)
        end = m.now, m.exit_code, m.state_sha256(), bytes(medium.data)
    with made(between) as m:
        m.restore(saved, {name: iter([(0, data)]) for name, data in memories.items()})
        m.run(10**9)
        assert (m.now, m.exit_code, m.state_sha256(), bytes(between.data)) == end


@pytest.mark.parametrize(("disks", "drives"), [
    (0, "- - cd -"), (1, "hd0 - cd -"), (2, "hd0 hd1 cd -"), (3, "hd0 hd1 cd hd3"), (4, "hd0 hd1 hd2 hd3")])
def test_the_drives_have_the_places_of_qemus_pc(disks, drives):
    with PC(4 * MIB, disks=[Memory(MIB) for _ in range(disks)]) as m:
        places = [*m["ata1"].devices, *m["ata2"].devices]
        assert [drive.name if drive else "-" for drive in places] == drives.split()
        for n, drive in enumerate(places):
            if drive:
                assert (drive.number, drive.other) == (n % 2, places[n ^ 1] is not None)


def test_more_drives_than_there_is_room_for_are_a_bad_board():
    for disks, disc in (5, None), (4, Memory(MIB)):
        with pytest.raises(BadBoard, match="there is room for 4 drives"):
            PC(4 * MIB, disks=[Memory(MIB) for _ in range(disks)], cdrom=disc)


def test_the_ports_answer_while_the_function_decodes_them():
    with PC(4 * MIB, disks=[Memory(MIB)]) as m:
        read, ide = m.ports.read, m["ide"]
        assert read[0x1F7 << 4 | 1]() == read[0x3F6 << 4 | 1]() == 0xFF
        m._firmware()
        assert read[0x1F7 << 4 | 1]() == read[0x3F6 << 4 | 1]() == 0x50
        assert read[0x177 << 4 | 1]() == 0                          # a packet device after its reset
        ide.write_IDETIMS(0)
        assert read[0x177 << 4 | 1]() == 0xFF and read[0x1F7 << 4 | 1]() == 0x50
        ide.write_PCICMD(0)
        assert read[0x1F7 << 4 | 1]() == 0xFF
        m.reset()
        assert read[0x1F7 << 4 | 1]() == 0xFF


def test_interrupts_go_to_irq_14_and_15():
    with PC(4 * MIB, disks=[Memory(MIB)], cdrom=Memory(MIB)) as m:
        for name, levels in ("hd0", [1, 0]), ("cd", [1, 1]):
            m[name].interrupt()
            assert [pin.level for pin in m["pic2"].ir[6:]] == levels
            assert [m["ide"].bmisp >> 2 & 1, m["ide"].bmiss >> 2 & 1] == levels


def test_what_a_set_up_leaves_of_the_disks():
    with PC(4 * MIB, disks=[Memory(1008 * 512 * 20)]) as m:
        cells = m["rtc"].cells
        assert cells[0x12] == 0xF0 and cells[0x19] == 47 and cells[0x1A] == 0
        assert cells[0x1B:0x24] == [20, 0, 16, 0xFF, 0xFF, 0xC8, 20, 0, 63]
        assert sum(cells[0x10:0x2E]) == cells[0x2E] << 8 | cells[0x2F]


def test_firmware_finds_the_drives_in_the_boot_order():
    with PC(4 * MIB, disks=[Memory(MIB), Memory(MIB)], cdrom=Memory(MIB), boot="dc") as m:
        assert subsystem.boot_order(m, ATADisk) == [(0, 0), (0, 1)] and subsystem.boot_order(m, ATAPICDROM) == [(1, 0)]
        order = next(data for data in m["fwcfg"].items.values() if data.startswith(b"/pci"))
        assert order.decode() == (
            "/pci@i0cf8/ide@1,1/drive@1/disk@0\n/pci@i0cf8/ide@1,1/drive@0/disk@0\n/pci@i0cf8/ide@1,1/drive@0/disk@1\0")
