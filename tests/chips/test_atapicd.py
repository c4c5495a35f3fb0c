"""An ATAPI CD-ROM drive.  [ATA] T13/1410D, 9.8; [MMC] MMC-3; [SFF] SFF-8020i."""

from __future__ import annotations

import struct

import pytest

from emu.chips.atapicd import ATAPICDROM
from tests.chips.drives import ABRT, BSY, CD, DRDY, DRQ, ERR, SECOND, SRST, DriveBench, Huge, Memory, pull

SECTORS = 400
NOT_READY, MEDIUM_ERROR, ILLEGAL_REQUEST, UNIT_ATTENTION = 2, 3, 5, 6
TEST, SENSE, INQUIRY, MODE_6, START_STOP, PREVENT, CAPACITY, READ_10, READ_12 = 0, 3, 0x12, 0x1A, 0x1B, 0x1E, 0x25, 0x28, 0xA8
TOC, CONFIGURATION, EVENT, DISC, MODE_10, SPEED, MECHANISM, READ_CD = 0x43, 0x46, 0x4A, 0x51, 0x5A, 0xBB, 0xBD, 0xBE


@pytest.fixture
def medium():
    return Memory(SECTORS * 2048, readonly=True)


@pytest.fixture
def b(medium):
    return CD(medium)


def sectors(medium, first, count):
    return bytes(medium.data[first * 2048:(first + count) * 2048])


def read_10(first, count):
    return struct.pack(">BBIBHB", READ_10, 0, first, 0, count, 0)


def failed(b, *cdb):
    """A packet command that ends in CHECK CONDITION: its sense."""
    assert b.packet(*cdb) == DRDY | ERR
    key = b.read("ERROR") >> 4
    sense = b.sense()
    assert sense[0] == key
    return sense


# The ATA side

def test_after_a_reset_it_shows_the_packet_signature_and_is_not_ready_yet(medium):
    b = DriveBench(ATAPICDROM, medium)
    assert [b.read(name) for name in ("STATUS", "ERROR", "COUNT", "LBAL", "LBAM", "LBAH")] == [0, 1, 1, 1, 0x14, 0xEB]


@pytest.mark.parametrize("command", [0xEC, 0x20])
def test_a_command_for_disks_is_aborted_with_the_signature(b, command):
    assert b.command(command, lba=0x123456) == DRDY | ERR
    assert [b.read(name) for name in ("ERROR", "COUNT", "LBAL", "LBAM", "LBAH")] == [ABRT, 1, 1, 0x14, 0xEB]


@pytest.mark.parametrize("command", [0x00, 0x25, 0x30, 0xA2, 0xC8, 0xE7, 0xFF])
def test_what_it_does_not_have_is_aborted(b, command):
    assert b.command(command) == DRDY | ERR and b.read("ERROR") == ABRT


def test_device_reset_ends_a_packet_at_once_and_without_an_interrupt(b, medium):
    b.packet(*read_10(0, 1), wait=False)
    b.pins.clear()
    b.write("COMMAND", 0x08)
    assert b.read("STATUS") == 0 and b.read("LBAH") == 0xEB
    b.advance(SECOND)
    assert b.read("STATUS") == 0 and b.pins == []


def test_device_reset_ends_the_interrupt_of_a_drq_block(b):
    b.packet(*read_10(0, 1))
    assert b.chip.intrq.level == 1
    b.write("COMMAND", 0x08)
    assert b.chip.intrq.level == 0 and b.read("STATUS") == 0 and b.chip.block_DATA("r") is None


def test_identify_packet_device_says_what_it_is(b):
    told = b.identify(0xA1)
    assert b.read("STATUS") == DRDY
    assert told[0] == 0x85C0 and told[49] == 0x0F00 and told[80] == 0x0070
    assert struct.pack(">20H", *told[27:47]).decode().rstrip() == "EMU CD-ROM"
    assert told[82] == told[85] == 0x4218
    assert sum(struct.pack("<256H", *told)) & 0xFF == 0


def test_its_transfer_mode_can_be_set(b):
    b.command(0xEF, features=3, count=0x42)
    assert b.identify(0xA1)[88] == 0x043F
    assert b.command(0xEF, features=0x02) == DRDY | ERR


# The protocol

def test_a_packet_is_asked_for_without_an_interrupt_and_the_interrupt_reason_tells_each_phase(b, medium):
    b.command(0xA0, lba=0xFFFE << 8, device=0, wait=False)
    assert b.read("STATUS") == DRDY | DRQ and b.read("COUNT") == 1 and b.interrupts() == 0
    b.put(read_10(5, 1).ljust(12, b"\0"))
    assert b.read("STATUS") == BSY
    b.advance(SECOND)
    assert b.interrupts() == 1 and b.read("STATUS") == DRDY | DRQ and b.read("COUNT") == 2
    assert b.read("LBAM") | b.read("LBAH") << 8 == 2048
    assert b.words(1024) == sectors(medium, 5, 1)
    assert b.interrupts() == 1 and b.read("STATUS") == DRDY and b.read("COUNT") == 3


def test_data_comes_in_drq_blocks_of_the_byte_count_limit(b, medium):
    b.packet(*read_10(7, 2), limit=1000)
    data, sizes = b"", []
    while b.read("STATUS") & DRQ:
        assert b.interrupts() == 1
        sizes.append(b.read("LBAM") | b.read("LBAH") << 8)
        data += b.words(sizes[-1] // 2)
    assert sizes == [1000] * 4 + [96] and data == sectors(medium, 7, 2) and b.interrupts() == 1


def test_an_odd_limit_counts_as_the_even_one_below_and_ffff_as_fffe(b, medium):
    b.packet(*read_10(0, 1), limit=0x201)
    assert b.read("LBAM") | b.read("LBAH") << 8 == 0x200
    b.write("COMMAND", 0x08)
    b.packet(*read_10(0, 40), limit=0xFFFF)
    assert b.read("LBAM") | b.read("LBAH") << 8 == 0xFFFE


def test_a_limit_of_nothing_aborts_a_command_with_data(b):
    assert b.packet(*read_10(0, 1), limit=0) == DRDY | ERR and b.read("ERROR") & ABRT
    assert b.packet(TEST, limit=0) == DRDY


def test_the_last_byte_of_an_odd_length_comes_in_a_word(b):
    b.packet(SENSE, 0, 0, 0, 5)
    assert b.read("LBAM") == 5
    assert len(b.words(3)) == 6 and b.read("STATUS") == DRDY


def test_a_packet_with_dma_moves_its_data_by_dma(b, medium):
    assert b.packet(*read_10(9, 100), dma=1) == BSY
    assert b.chip.dmarq.level == 1
    data = b""
    b.pins.clear()
    while part := pull(b.chip, 3000):
        data += part
    assert data == sectors(medium, 9, 100)
    assert b.interrupts() == 1 and b.read("STATUS") == DRDY and b.read("COUNT") == 3 and b.chip.dmarq.level == 0


def test_a_long_read_holds_a_mebibyte_at_a_time():
    b = CD(Huge(4 * 300_000))
    b.packet(*struct.pack(">BBII", READ_12, 0, 1000, 2000), dma=1)
    b.advance(SECOND)
    count = 0
    while part := pull(b.chip, 1 << 16):
        count += len(part)
        assert len(b.chip.buffer) <= 1 << 20
    assert count == 2000 * 2048


# Sense

def test_the_first_command_after_a_reset_hears_of_it_once(medium):
    b = CD(medium, heard=False)
    assert failed(b, TEST) == (UNIT_ATTENTION, 0x29, 0)
    assert b.packet(TEST) == DRDY
    b.write("DEVCTL", SRST)
    b.write("DEVCTL", 0)
    b.advance(SECOND)
    assert failed(b, *read_10(0, 1)) == (UNIT_ATTENTION, 0x29, 0)


def test_inquiry_and_request_sense_do_not_wait_for_a_unit_attention(medium):
    b = CD(medium, heard=False)
    assert b.reply(INQUIRY, 0, 0, 0, 36)[:2] == b"\x05\x80"
    assert b.sense() == (UNIT_ATTENTION, 0x29, 0)
    assert b.packet(TEST) == DRDY


def test_sense_is_told_once_and_the_next_command_forgets_it(b):
    assert failed(b, 0xFF) == (ILLEGAL_REQUEST, 0x20, 0)
    assert b.sense() == (0, 0, 0)
    b.packet(0xFF)
    b.packet(TEST)
    assert b.sense() == (0, 0, 0)


def test_without_a_disc_what_needs_one_is_not_ready():
    b = CD(None)
    for cdb in [(TEST,), (CAPACITY,), tuple(read_10(0, 1)), (TOC, 0, 0, 0, 0, 0, 0, 0, 12), (DISC,), (0x2B,)]:
        assert failed(b, *cdb) == (NOT_READY, 0x3A, 1)


# Reading

@pytest.mark.parametrize("cdb", [
    read_10(12, 3), struct.pack(">BBII", READ_12, 0, 12, 3), struct.pack(">BBIBBBB", READ_CD, 0, 12, 0, 0, 3, 0x10),
    struct.pack(">BBIBBBB", READ_CD, 2 << 2, 12, 0, 0, 3, 0x10)])
def test_sectors_are_read(b, medium, cdb):
    assert b.reply(*cdb) == sectors(medium, 12, 3)


def test_a_read_of_nothing_ends_well(b, medium):
    for cdb in read_10(5, 0), struct.pack(">BBIBBBB", READ_CD, 0, 5, 0, 0, 3, 0):
        assert b.packet(*cdb) == DRDY
    assert medium.log == []


def test_a_sector_beyond_the_end_is_refused(b, medium):
    assert failed(b, *read_10(SECTORS - 1, 2)) == (ILLEGAL_REQUEST, 0x21, 0)
    assert failed(b, *struct.pack(">BBI", 0x2B, 0, SECTORS)) == (ILLEGAL_REQUEST, 0x21, 0)
    assert b.packet(*struct.pack(">BBI", 0x2B, 0, SECTORS - 1)) == DRDY
    assert medium.log == []


def test_a_sector_that_cannot_be_read_is_a_medium_error_with_its_address_after_those_before_it(b, medium):
    medium.bad = {4 * 22 + 1}
    b.packet(*read_10(20, 4))
    assert b.words(2048) == sectors(medium, 20, 2)
    assert b.read("STATUS") == DRDY | ERR and b.read("ERROR") >> 4 == MEDIUM_ERROR and b.read("COUNT") == 3
    data = b.reply(SENSE, 0, 0, 0, 18)
    assert data[0] == 0xF0 and data[2] == MEDIUM_ERROR and data[12] == 0x11 and data[3:7] == (22).to_bytes(4, "big")


def test_a_read_ends_where_a_shorter_disc_that_was_put_in_meanwhile_does():
    b = CD(Memory(600 * 2048, readonly=True))
    b.packet(*read_10(0, 600))
    b.chip.insert(Memory(520 * 2048, readonly=True))
    data = bytearray()
    while b.read("STATUS") & DRQ:
        data += b.words(2048)
    assert len(data) == 520 * 2048
    assert b.read("STATUS") == DRDY | ERR and b.read("ERROR") >> 4 == MEDIUM_ERROR
    assert b.reply(SENSE, 0, 0, 0, 18)[3:7] == (520).to_bytes(4, "big")


@pytest.mark.parametrize(("kind", "main", "sub", "sense"), [
    (0, 0xF8, 0, (ILLEGAL_REQUEST, 0x24, 0)), (0, 0x10, 1, (ILLEGAL_REQUEST, 0x24, 0)),
    (1, 0x10, 0, (ILLEGAL_REQUEST, 0x64, 0))])
def test_raw_sectors_sub_channels_and_audio_are_refused(b, kind, main, sub, sense):
    assert failed(b, *struct.pack(">BBIBBBBB", READ_CD, kind << 2, 0, 0, 0, 1, main, sub)) == sense


def test_the_capacity_is_the_last_sector_and_the_sector_size(b):
    assert b.reply(CAPACITY) == struct.pack(">II", SECTORS - 1, 2048)


# Tables and pages

def test_the_table_of_contents_has_one_data_track_and_the_lead_out(b):
    data = b.reply(TOC, 0, 0, 0, 0, 0, 0, 0, 255)
    assert data == struct.pack(">HBB", 18, 1, 1) + struct.pack(">BBBBI", 0, 0x14, 1, 0, 0) + struct.pack(
        ">BBBBI", 0, 0x14, 0xAA, 0, SECTORS)
    data = b.reply(TOC, 2, 0, 0, 0, 0, 0xAA, 0, 255)            # MSF: 400 + 150 frames
    assert data == struct.pack(">HBB", 10, 1, 1) + bytes((0, 0x14, 0xAA, 0, 0, 0, 7, 25))
    assert failed(b, TOC, 0, 0, 0, 0, 0, 2, 0, 255) == (ILLEGAL_REQUEST, 0x24, 0)


@pytest.mark.parametrize("cdb", [(TOC, 0, 1, 0, 0, 0, 0, 0, 255), (TOC, 0, 0, 0, 0, 0, 0, 0, 255, 0x40)])
def test_the_session_information_has_one_session(b, cdb):
    assert b.reply(*cdb) == struct.pack(">HBB", 10, 1, 1) + struct.pack(">BBBBI", 0, 0x14, 1, 0, 0)


def test_the_full_table_has_the_points_of_the_lead_in(b):
    data = b.reply(TOC, 0, 2, 0, 0, 0, 0, 0, 255)
    assert struct.unpack(">HBB", data[:4]) == (46, 1, 1)
    entries = [data[i:i + 11] for i in range(4, len(data), 11)]
    assert [entry[3] for entry in entries] == [0xA0, 0xA1, 0xA2, 1]
    assert [tuple(entry[8:]) for entry in entries] == [(1, 0, 0), (1, 0, 0), (0, 7, 25), (0, 2, 0)]


def test_data_is_cut_to_the_allocation_length(b):
    assert len(b.reply(TOC, 0, 0, 0, 0, 0, 0, 0, 4)) == 4
    assert b.packet(TOC) == DRDY
    assert len(b.reply(INQUIRY, 0, 0, 0, 8)) == 8


def test_inquiry_names_the_drive(b):
    data = b.reply(INQUIRY, 0, 0, 0, 96)
    assert len(data) == 36 and data[:5] == bytes((5, 0x80, 0, 0x21, 31))
    assert data[8:].decode() == "EMU     CD-ROM          1.0 "
    assert failed(b, INQUIRY, 1, 0x80, 0, 36) == (ILLEGAL_REQUEST, 0x24, 0)


@pytest.mark.parametrize(("command", "header"), [(MODE_6, 4), (MODE_10, 8)])
def test_the_capabilities_page(b, command, header):
    data = b.reply(command, 0, 0x2A, 0, 255, 0, 0, 0, 255)
    length = data[0] if command == MODE_6 else data[0] << 8 | data[1]
    assert length == len(data) - (1 if command == MODE_6 else 2)
    page = data[header:]
    assert page[0] == 0x2A and page[1] == len(page) - 2 == 0x12
    assert page[6] == 0x29 and page[8:10] == (5632).to_bytes(2, "big")
    b.packet(PREVENT, 0, 0, 0, 1)
    assert b.reply(command, 0, 0x2A, 0, 255, 0, 0, 0, 255)[header + 6] == 0x2B


def test_all_pages_their_masks_and_none(b):
    data = b.reply(MODE_10, 0, 0x3F, 0, 0, 0, 0, 0, 255)[8:]
    assert [data[0], data[8]] == [0x01, 0x2A]
    assert b.reply(MODE_10, 0, 0x6A, 0, 0, 0, 0, 0, 255)[10:] == bytes(18)
    assert failed(b, MODE_10, 0, 0xEA, 0, 0, 0, 0, 0, 255) == (ILLEGAL_REQUEST, 0x39, 0)
    assert failed(b, MODE_10, 0, 0x0E, 0, 0, 0, 0, 0, 255) == (ILLEGAL_REQUEST, 0x24, 0)


@pytest.mark.parametrize(("medium", "profile"), [(Huge(4 * 1000), 8), (Huge(4 * 500_000), 0x10), (None, 0)])
def test_the_configuration_tells_the_profile(medium, profile):
    b = CD(medium)
    data = b.reply(CONFIGURATION, 0, 0, 0, 0, 0, 0, 1, 0)
    assert struct.unpack(">IHH", data[:8]) == (len(data) - 4, 0, profile)
    features, at = {}, 8
    while at < len(data):
        code, flags, length = struct.unpack_from(">HBB", data, at)
        features[code] = flags & 1
        at += 4 + length
    assert list(features) == [0, 1, 3, 0x10, 0x1E, 0x1F, 0x100]
    assert (features[0x1E], features[0x1F]) == (profile == 8, profile == 0x10)
    assert len(b.reply(CONFIGURATION, 2, 0, 3, 0, 0, 0, 1, 0)) == 8 + 8
    current = b.reply(CONFIGURATION, 1, 0, 0x10, 0, 0, 0, 1, 0)
    assert len(current) == 8 + 4 + (16 if profile else 0)


def test_the_disc_is_complete_with_one_session(b):
    data = b.reply(DISC, 0, 0, 0, 0, 0, 0, 0, 255)
    assert len(data) == 34 and data[:7] == bytes((0, 32, 0x0E, 1, 1, 1, 1))


def test_a_speed_can_be_set_and_the_mechanism_asked(b):
    assert b.packet(SPEED, 0, 0xFF, 0xFF) == DRDY
    assert b.reply(MECHANISM, 0, 0, 0, 0, 0, 0, 0, 0, 8) == bytes((0, 0, 0, 0, 0, 1, 0, 0))


# The tray

def test_the_tray_opens_and_closes(b):
    assert b.packet(START_STOP, 0, 0, 0, 2) == DRDY
    assert failed(b, TEST) == (NOT_READY, 0x3A, 2)
    assert b.reply(MECHANISM, 0, 0, 0, 0, 0, 0, 0, 0, 8)[1] == 0x10
    assert b.reply(MODE_6, 0, 0x2A, 0, 255)[1] == 0x71
    assert b.packet(START_STOP, 0, 0, 0, 3) == DRDY
    assert failed(b, TEST) == (UNIT_ATTENTION, 0x28, 0)
    assert b.packet(TEST) == DRDY


def test_a_locked_tray_stays_closed(b):
    b.packet(PREVENT, 0, 0, 0, 1)
    assert failed(b, START_STOP, 0, 0, 0, 2) == (ILLEGAL_REQUEST, 0x53, 2)
    b.packet(PREVENT)
    assert b.packet(START_STOP, 0, 0, 0, 2) == DRDY


def test_another_disc_is_a_unit_attention_and_an_event(b):
    assert b.reply(EVENT, 1, 0, 0, 0x10, 0, 0, 0, 8) == bytes((0, 6, 4, 0x10, 0, 2, 0, 0))
    b.chip.insert(Memory(2048 * 16))
    assert b.reply(EVENT, 1, 0, 0, 0x10, 0, 0, 0, 8) == bytes((0, 6, 4, 0x10, 2, 2, 0, 0))
    assert failed(b, CAPACITY) == (UNIT_ATTENTION, 0x28, 0)
    assert b.reply(CAPACITY) == struct.pack(">II", 15, 2048)
    b.chip.insert(None)
    assert b.reply(EVENT, 1, 0, 0, 0x10, 0, 0, 0, 8) == bytes((0, 6, 4, 0x10, 3, 0, 0, 0))
    assert failed(b, TEST) == (NOT_READY, 0x3A, 1)


def test_other_classes_of_events_and_asynchronous_operation_are_not_there(b):
    assert b.reply(EVENT, 1, 0, 0, 0x02, 0, 0, 0, 8) == bytes((0, 2, 0x80, 0x10))
    assert failed(b, EVENT, 0, 0, 0, 0x10, 0, 0, 0, 8) == (ILLEGAL_REQUEST, 0x24, 0)


def test_a_disc_that_is_taken_out_in_the_middle_of_a_read_is_missed(b, medium):
    b = CD(Huge(4 * 5000))
    b.packet(*read_10(0, 1000), dma=1)
    b.advance(SECOND)
    b.chip.insert(None)
    while pull(b.chip, 1 << 16):
        pass
    assert b.read("STATUS") == DRDY | ERR and b.sense() == (NOT_READY, 0x3A, 1)


def test_a_read_goes_on_after_a_restore(b, medium):
    b.packet(*read_10(5, 4), limit=4096)
    first = b.words(100)
    other = DriveBench(ATAPICDROM, medium)
    other.now = b.now
    other.chip.restore(b.chip.save())
    for bench in b, other:
        assert first + bench.words(2048 - 100) + bench.words(2048) == sectors(medium, 5, 4)
        assert bench.read("STATUS") == DRDY
    assert other.chip.save() == b.chip.save()
