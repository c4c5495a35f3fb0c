"""How sectors go to and from an ATA disk.  [ATA] T13/1410D, ATA/ATAPI-6; [ATA-4] T13/1153D."""

from __future__ import annotations

import struct

import pytest

from emu.chips.atadisk import ATADisk
from tests.chips.atabench import (
    FLUSH,
    IDLE,
    PARAMETERS,
    READ,
    READ_DMA,
    READ_DMA_EXT,
    READ_EXT,
    READ_MULTIPLE,
    SECTORS,
    SET_FEATURES,
    SET_MULTIPLE,
    VERIFY,
    WRITE,
    WRITE_DMA,
    WRITE_DMA_EXT,
    WRITE_DMA_FUA,
    WRITE_EXT,
    WRITE_MULTIPLE,
    dma_in,
    dma_out,
    huge,
    sectors,
)
from tests.chips.drives import (
    ABRT,
    BSY,
    DF,
    DRQ,
    ERR,
    IDNF,
    SECOND,
    UNC,
    WP,
    DriveBench,
    Memory,
)


@pytest.fixture
def medium():
    return Memory(SECTORS * 512)


@pytest.fixture
def b(medium):
    return DriveBench(ATADisk, medium)


# Reading by PIO

@pytest.mark.parametrize("command", [READ, 0x21, READ_EXT])
def test_each_sector_of_a_read_is_a_drq_block_with_an_interrupt_before_it(b, medium, command):
    assert b.command(command, count=3, lba=7, ext=command == READ_EXT) == IDLE | DRQ
    for i in range(3):
        assert b.interrupts() == 1
        assert b.read("STATUS") == IDLE | DRQ
        assert b.words() == sectors(medium, 7 + i, 1)
    assert b.interrupts() == 0 and b.read("STATUS") == IDLE


def test_the_host_may_read_32_bits_at_a_time(b, medium):
    b.command(READ, count=1, lba=3)
    data = b"".join(b.read("DATA32").to_bytes(4, "little") for _ in range(128))
    assert data == sectors(medium, 3, 1) and b.read("STATUS") == IDLE


def test_all_but_the_last_word_of_a_drq_block_moves_in_one_piece(b, medium):
    b.command(READ, count=2, lba=8)
    first = b.read("DATA")
    block = b.chip.block_DATA("r")
    assert len(block) == 508 and first.to_bytes(2, "little") + bytes(block) == sectors(medium, 8, 1)[:-2]
    assert len(b.chip.block_DATA32("r")) == 506
    assert b.chip.block_DATA("w") is None
    b.chip.moved_DATA("r", 508)
    assert b.read("DATA").to_bytes(2, "little") == sectors(medium, 8, 1)[-2:]
    assert b.read("STATUS") == IDLE | DRQ and b.words() == sectors(medium, 9, 1)


def test_a_count_of_0_is_256_sectors(b, medium):
    b.command(READ, count=0, lba=1)
    assert b.pio_in(256) == sectors(medium, 1, 256) and b.read("STATUS") == IDLE


def test_a_count_of_0_is_65536_sectors_for_48_bits():
    b = huge(1 << 32)
    b.command(READ_DMA_EXT, count=0, lba=1 << 31, ext=True)
    data = dma_in(b, 1 << 20)
    assert len(data) == 32 << 20 and struct.unpack_from("<Q", data, len(data) - 8) == ((1 << 31) + 65535,)


def test_all_48_bits_of_an_address_count():
    b = huge(1 << 48)
    b.command(READ_EXT, count=1, lba=0xFEDCBA987654, ext=True)
    assert struct.unpack("<64Q", b.pio_in(1)) == (0xFEDCBA987654,) * 64
    assert b.lba(ext=True) == 0xFEDCBA987654


def test_hob_shows_what_was_written_before_and_any_write_hides_it(b):
    for value in 0x11, 0x22:
        for name in "COUNT", "LBAL", "LBAM", "LBAH":
            b.write(name, value)
    b.write("DEVCTL", 0x80)
    assert [b.read(name) for name in ("COUNT", "LBAL", "LBAM", "LBAH")] == [0x11] * 4
    b.write("FEATURES", 0)
    assert [b.read(name) for name in ("COUNT", "LBAL", "LBAM", "LBAH")] == [0x22] * 4


def test_a_read_goes_to_the_medium_in_few_pieces(b, medium):
    b.command(READ, count=200)
    b.pio_in(200)
    assert medium.log == [("r", 0, 200 * 512)]


# CHS

def test_an_address_of_cylinder_head_and_sector(b, medium):
    b.command(READ, count=1, lba=1 << 8 | 5, device=0x03)           # cylinder 1, head 3, sector 5
    assert b.pio_in(1) == sectors(medium, (16 + 3) * 63 + 4, 1)
    assert (b.lba(), b.read("DEVICE")) == (0x03000105, 0xA3)


def test_a_read_across_a_track_leaves_the_address_of_its_last_sector(b, medium):
    b.command(READ, count=3, lba=62, device=0x0F)
    assert b.pio_in(3) == sectors(medium, 15 * 63 + 61, 3)
    assert [b.read("LBAL"), b.read("LBAM"), b.read("DEVICE")] == [1, 1, 0xA0]


@pytest.mark.parametrize(("lba", "device"), [(0x000000, 0), (0x000040, 0), (0x000201, 0)])
def test_an_address_that_the_translation_does_not_have_is_not_found(b, lba, device):
    assert b.command(READ, count=1, lba=lba, device=device) == IDLE | ERR
    assert b.read("ERROR") == IDNF


def test_initialize_device_parameters_sets_the_translation(b, medium):
    b.command(PARAMETERS, count=17, device=0x03)                    # 4 heads of 17 sectors
    b.command(READ, count=1, lba=2 << 8 | 17, device=0x03)
    assert b.pio_in(1) == sectors(medium, (2 * 4 + 3) * 17 + 16, 1)
    words = b.identify()
    assert words[54:57] == (SECTORS // 68, 4, 17) and words[57] == SECTORS // 68 * 68
    assert words[1] == 2 and words[3] == 16 and words[6] == 63
    assert words[4] == 63 * 512 and words[5] == 512         # retired; the Bochs BIOS reads sectors of that length


# Writing by PIO

@pytest.mark.parametrize("command", [WRITE, 0x31, WRITE_EXT])
def test_no_interrupt_asks_for_the_first_sector_of_a_write_and_one_for_each_other(b, medium, command):
    data = bytes(range(256)) * 6
    assert b.command(command, count=3, lba=100, ext=command == WRITE_EXT, wait=False) == IDLE | DRQ
    assert b.interrupts() == 0
    for i in range(3):
        b.put(data[i * 512:i * 512 + 512])
        b.advance(SECOND)
        assert b.interrupts() == 1
        assert b.read("STATUS") == (IDLE if i == 2 else IDLE | DRQ)
    assert sectors(medium, 100, 3) == data


def test_the_host_may_write_32_bits_at_a_time(b, medium):
    b.command(WRITE, count=1, lba=1)
    for i in range(128):
        b.write("DATA32", i << 16 | 0xAA00)
    b.advance(SECOND)
    assert sectors(medium, 1, 1) == struct.pack("<128I", *(i << 16 | 0xAA00 for i in range(128)))


def test_a_drq_block_is_filled_in_one_piece(b, medium):
    b.command(WRITE, count=1, lba=2)
    b.write("DATA", 0x1234)
    b.chip.block_DATA("w")[:] = bytes(range(254)) * 2
    b.chip.moved_DATA("w", 508)
    b.write("DATA", 0x5678)
    b.advance(SECOND)
    assert sectors(medium, 2, 1) == b"\x34\x12" + bytes(range(254)) * 2 + b"\x78\x56"


# MULTIPLE

def test_multiple_is_disabled_until_it_is_set(b):
    assert b.command(READ_MULTIPLE, count=1) == IDLE | ERR and b.read("ERROR") == ABRT
    assert b.identify()[59] == 0


@pytest.mark.parametrize(("command", "ext"), [(READ_MULTIPLE, False), (0x29, True)])
def test_a_drq_block_of_read_multiple_has_as_many_sectors_as_were_set(b, medium, command, ext):
    b.command(SET_MULTIPLE, count=8)
    assert b.identify()[59] == 0x0108
    b.command(command, count=20, lba=40, ext=ext)
    data = b""
    for size in 8, 8, 4:
        assert b.interrupts() == 1 and b.read("STATUS") == IDLE | DRQ
        data += b.words(size * 256)
    assert data == sectors(medium, 40, 20) and b.read("STATUS") == IDLE


@pytest.mark.parametrize(("command", "ext"), [(WRITE_MULTIPLE, False), (0x39, True), (0xCE, True)])
def test_a_drq_block_of_write_multiple_has_as_many_sectors_as_were_set(b, medium, command, ext):
    b.command(SET_MULTIPLE, count=4)
    b.command(command, count=6, lba=40, ext=ext)
    data = bytes(range(256)) * 12
    b.put(data[:2048])
    b.advance(SECOND)
    assert b.interrupts() == 1 and b.read("STATUS") == IDLE | DRQ
    b.put(data[2048:])
    b.advance(SECOND)
    assert b.interrupts() == 1 and b.read("STATUS") == IDLE
    assert sectors(medium, 40, 6) == data
    assert medium.log == [("w", 40 * 512, 2048), ("w", 44 * 512, 1024)] + ["f"] * (command == 0xCE)


@pytest.mark.parametrize("count", [3, 17, 32, 255])
def test_multiple_is_a_power_of_two_up_to_16(b, count):
    b.command(SET_MULTIPLE, count=16)
    assert b.command(SET_MULTIPLE, count=count) == IDLE | ERR
    assert b.read("ERROR") == ABRT and b.identify()[59] == 0


# DMA

@pytest.mark.parametrize(("command", "ext"), [(READ_DMA, False), (0xC9, False), (READ_DMA_EXT, True)])
def test_a_read_by_dma_asks_when_its_data_has_passed_and_interrupts_at_its_end(b, medium, command, ext):
    assert b.command(command, count=100, lba=9, ext=ext, wait=False) == BSY
    b.advance(100_000 + 100 * 512 * 10 - 1)                        # 100 MB a second
    assert b.chip.dmarq.level == 0
    b.advance(1)
    assert b.chip.dmarq.level == 1 and b.chip.intrq.level == 0
    assert dma_in(b, 777) == sectors(medium, 9, 100)
    assert [b.chip.dmarq.level, b.interrupts(), b.read("STATUS")] == [0, 1, IDLE]


@pytest.mark.parametrize(("command", "ext"), [(WRITE_DMA, False), (0xCB, False), (WRITE_DMA_EXT, True),
                                             (WRITE_DMA_FUA, True)])
def test_a_write_by_dma_takes_what_it_wants_and_interrupts_when_it_is_written(b, medium, command, ext):
    data = bytes(range(256)) * 200
    b.command(command, count=100, lba=9, ext=ext)
    assert dma_out(b, data, 3000) == len(data)
    assert [b.chip.dmarq.level, b.interrupts(), b.read("STATUS")] == [0, 1, IDLE]
    assert sectors(medium, 9, 100) == data
    assert medium.log == [("w", 9 * 512, 51200)] + ["f"] * (command == WRITE_DMA_FUA)


def test_a_long_transfer_holds_a_mebibyte_at_a_time():
    b = huge(1 << 30)
    b.command(WRITE_DMA_EXT, count=5000, lba=77, ext=True)
    sizes = []
    while b.chip.wanted:
        b.chip.receive(bytes(min(b.chip.wanted, 1 << 16)))
        sizes.append(len(b.chip.buffer))
    assert max(sizes) < 1 << 20
    assert [entry[1] for entry in b.chip.medium.log] == [(77 + i * 2048) * 512 for i in range(3)]


# The write cache

def test_with_the_write_cache_on_only_a_flush_flushes(b, medium):
    b.command(WRITE, count=1)
    b.put(bytes(512))
    b.advance(SECOND)
    assert "f" not in medium.log
    assert b.command(FLUSH) == IDLE and medium.log[-1] == "f"
    assert b.command(0xEA) == IDLE and medium.log[-2:] == ["f", "f"]


@pytest.mark.parametrize("dma", [False, True])
def test_with_the_write_cache_off_each_write_is_flushed_before_it_ends(b, medium, dma):
    b.command(SET_FEATURES, features=0x82)
    assert medium.log == ["f"]                                      # nothing is left in it
    assert b.identify()[85] & 0x20 == 0
    b.command(WRITE_DMA if dma else WRITE, count=1)
    if dma:
        dma_out(b, bytes(512))
    else:
        b.put(bytes(512))
    b.advance(SECOND)
    assert medium.log == ["f", ("w", 0, 512), "f"]
    b.command(SET_FEATURES, features=0x02)
    assert b.identify()[85] & 0x20


def test_a_flush_that_fails_is_a_device_fault(b, medium):
    medium.stuck = True
    for command in FLUSH, 0xE0, 0xE2:
        assert b.command(command) == IDLE | ERR | DF and b.read("ERROR") == ABRT
    assert b.command(SET_FEATURES, features=0x82) == IDLE | ERR


# Errors

@pytest.mark.parametrize("dma", [False, True])
def test_a_sector_that_cannot_be_read_is_unc_with_its_address_after_those_before_it(b, medium, dma):
    medium.bad = {13}
    b.command(READ_DMA if dma else READ, count=8, lba=10)
    data = dma_in(b) if dma else b.pio_in(3)
    assert data == sectors(medium, 10, 3)
    assert b.read("STATUS") == IDLE | ERR and b.read("ERROR") == UNC and b.lba() == 13


def test_a_sector_that_cannot_be_read_by_48_bits_is_told_by_48_bits(b, medium):
    medium.bad = {1300}
    b.command(READ_EXT, count=1, lba=1300, ext=True)
    assert b.read("ERROR") == UNC and b.lba(ext=True) == 1300


def test_a_sector_that_cannot_be_read_by_chs_is_told_by_chs(b, medium):
    medium.bad = {63}
    b.command(READ, count=2, lba=63, device=0)
    b.pio_in(1)
    assert b.read("ERROR") == UNC and [b.read("LBAL"), b.read("DEVICE") & 0xF] == [1, 1]


@pytest.mark.parametrize("dma", [False, True])
def test_a_sector_that_cannot_be_written_is_a_fault_with_its_address_after_those_before_it(b, medium, dma):
    medium.bad = {13}
    data = bytes(range(256)) * 16
    b.command(WRITE_DMA if dma else WRITE, count=8, lba=10)
    if dma:
        dma_out(b, data)
    else:
        for i in range(4):
            b.put(data[i * 512:i * 512 + 512])
        b.advance(SECOND)
    assert b.read("STATUS") == IDLE | ERR | DF and b.read("ERROR") == ABRT and b.lba() == 13
    assert sectors(medium, 10, 3) == data[:1536]


@pytest.mark.parametrize("command", [READ, READ_DMA, VERIFY, WRITE, WRITE_DMA])
def test_a_sector_beyond_the_end_is_not_found(b, medium, command):
    b.command(command, count=4, lba=SECTORS - 2)
    if command == READ:
        assert b.pio_in(2) == sectors(medium, SECTORS - 2, 2)
    if command == READ_DMA:
        assert dma_in(b) == sectors(medium, SECTORS - 2, 2)
    if command == WRITE:
        b.put(bytes(1024))
    if command == WRITE_DMA:
        dma_out(b, bytes(2048))
    assert b.read("STATUS") == IDLE | ERR and b.read("ERROR") == IDNF and b.lba() == SECTORS - 2 + 2


@pytest.mark.parametrize("command", [READ, READ_DMA, VERIFY, WRITE, WRITE_DMA, 0x70])
def test_an_address_beyond_the_end_is_not_found_at_once(b, command):
    assert b.command(command, count=1, lba=SECTORS) == IDLE | ERR
    assert b.read("ERROR") == IDNF and b.interrupts() == 1 and b.lba() == SECTORS


@pytest.mark.parametrize("command", [WRITE, WRITE_DMA, 0x34, 0x35, 0x3D])
def test_a_medium_that_may_not_be_written_is_not(command):
    medium = Memory(SECTORS * 512, readonly=True)
    b = DriveBench(ATADisk, medium)
    assert b.command(command, count=1) == IDLE | ERR and b.read("ERROR") == WP | ABRT
    assert medium.log == []


@pytest.mark.parametrize("command", [0x00, 0x08, 0x22, 0x50, 0x80, 0xA0, 0xA1, 0xB0, 0xC0, 0xDA, 0xF1, 0xFF])
def test_what_it_does_not_have_is_aborted(b, command):
    assert b.command(command) == IDLE | ERR and b.read("ERROR") == ABRT
