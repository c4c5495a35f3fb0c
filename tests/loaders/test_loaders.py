"""The loaders, against the boot protocols; every image is built here."""

import itertools
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu import x86
from emu.loaders import BadImage, Screen, load

MIB = 1 << 20


def memory(mib=64):
    return [(0, 0x9FC00, 1), (0x9FC00, 0x400, 2), (0xF0000, 0x10000, 2), (MIB, (mib - 1) * MIB, 1)]


def start(image, mib=64, **kwargs):
    return load(image, memory_map=memory(mib), **kwargs)


def ram(plan, address, length):
    """What lies there when the plan has been carried out in a machine full of CCh."""
    found = bytearray(b"\xcc" * length)
    for base, block in plan.blocks:
        low, high = max(base, address), min(base + len(block), address + length)
        if low < high:
            found[low - address:high - address] = block[low - base:high - base]
    return bytes(found)


def u32(plan, address):
    return int.from_bytes(ram(plan, address, 4), "little")


def string(plan, address):
    return ram(plan, address, 4096).split(b"\0")[0].decode()


def file(folder, name, data):
    (folder / name).write_bytes(data)
    return str(folder / name)


def bzimage(*, version=0x20F, sects=1, flags=1, entry=0x100000, initrd_max=0x7FFFFFFF, align=0x200000, relocatable=1,
            cmdline=2047, pref=0x1000000, init=0x800000, length=0x66, payload=bytes(range(256)) * 64):
    image = bytearray(((sects or 4) + 1) * 512)
    struct.pack_into("<BHI", image, 0x1F1, sects, 0, len(payload) // 16)
    struct.pack_into("<HBB4sH", image, 0x1FE, 0xAA55, 0xEB, length, b"HdrS", version)
    struct.pack_into("<BB", image, 0x210, 0, flags)
    struct.pack_into("<I", image, 0x214, entry)
    struct.pack_into("<IIBBHI", image, 0x22C, initrd_max, align, relocatable, 21, 0, cmdline)
    struct.pack_into("<QI", image, 0x258, pref, init)
    return bytes(image) + payload


def elf(segments, entry=0x100000, *, machine=3, kind=2, cls=1, tail=b"", sections=(0, 0, 0)):
    """`segments`: (paddr, bytes, memsz, vaddr)."""
    head, body = b"", b""
    offset = 52 + 32 * len(segments)
    for paddr, data, memsz, vaddr in segments:
        head += struct.pack("<8I", 1, offset + len(body), vaddr, paddr, len(data), memsz, 5, 4096)
        body += data
    ident = b"\x7fELF" + bytes([cls, 1, 1]) + bytes(9)
    shoff, shnum, shstrndx = sections
    fields = (kind, machine, 1, entry, 52, shoff, 0, 52, 32, len(segments), 40, shnum, shstrndx)
    return ident + struct.pack("<HHIIIIIHHHHHH", *fields) + head + body + tail


def multiboot_header(flags=3, *addresses):
    return struct.pack("<3I", 0x1BADB002, flags, -(0x1BADB002 + flags) & 0xFFFFFFFF) + struct.pack(
        f"<{len(addresses)}I", *addresses)


CODE = b"\xfa\xf4" * 8
MULTIBOOT = elf([(0x100000, multiboot_header() + CODE, 0x3000, 0x100000)], 0x10000C)
KLUDGE = b"\x90" * 16 + multiboot_header(0x10003, 0x200010, 0x200000, 0, 0x204000, 0x200030) + CODE
ELF = elf([(0x100000, CODE, 64, 0x100000)])
FLAT = b"\xfa\xf4"


@pytest.mark.parametrize("image", [bzimage(), MULTIBOOT, KLUDGE, ELF])
def test_the_gdt_of_a_protected_mode_start_lies_in_a_block_and_is_flat(image):
    plan = start(image)
    base, limit = plan.gdtr
    table = ram(plan, base, limit + 1)
    code, data = (x86.decode_segment(table[s:s + 8], s) for s in (plan.code, plan.data))
    assert (code.base, code.limit, code.words()) == (0, 0xFFFFFFFF, "code, execute/read, accessed")
    assert (data.base, data.limit, data.words()) == (0, 0xFFFFFFFF, "data, read/write, accessed")
    assert code.big and data.big
    assert plan.mode == "protected" and not plan.registers["eflags"] & 0x200


@pytest.mark.parametrize("image", [bzimage(), bzimage(entry=0), MULTIBOOT, KLUDGE, ELF, FLAT])
def test_blocks_do_not_overlap_and_lie_in_ram(image):
    blocks = sorted((base, base + len(block)) for base, block in start(image).blocks)
    assert all(one[1] <= next_[0] for one, next_ in itertools.pairwise(blocks))
    assert all(any(a <= low and high <= a + n for a, n, kind in memory() if kind == 1) for low, high in blocks)


PARAMS = 0x10000


def test_linux_is_entered_at_code32_start_with_esi_at_its_parameters():
    plan = start(bzimage())
    assert plan.kind == "linux" and (plan.code, plan.data) == (0x10, 0x18)
    assert plan.registers["eip"] == 0x100000 and plan.registers["esi"] == PARAMS
    assert plan.registers["ebp"] == plan.registers["edi"] == plan.registers["ebx"] == 0
    assert ram(plan, 0x100000, 256) == bytes(range(256))
    assert ram(start(bzimage(sects=0)), 0x100000, 256) == bytes(range(256))  # setup_sects: 0 means 4


def test_the_setup_header_is_copied_by_its_length_and_all_else_is_zero():
    plan = start(bzimage(length=0x62))  # up to 264h: init_size is in it, the next field not
    image = bytearray(bzimage(length=0x62))
    image[0x210] = 0xFF
    struct.pack_into("<I", image, 0x228, 0x20000)
    assert ram(plan, PARAMS + 0x1F1, 0x264 - 0x1F1) == image[0x1F1:0x264]
    assert not any(ram(plan, PARAMS + 0x264, 0x2D0 - 0x264))
    assert not any(ram(plan, PARAMS + 0x004, 0x1DC))
    assert ram(plan, PARAMS + 0x1EF, 1) == b"\0"  # sentinel: not zero would mean an old, careless loader


def test_the_memory_map_and_the_older_sizes_of_memory():
    plan = start(bzimage())
    assert ram(plan, PARAMS + 0x1E8, 1) == b"\x04"
    entries = [struct.unpack("<QQI", ram(plan, PARAMS + 0x2D0 + 20 * i, 20)) for i in range(4)]
    assert entries == memory()
    assert u32(plan, PARAMS + 0x1E0) == 63 * 1024
    assert u32(plan, PARAMS) >> 16 == 63 * 1024


def test_screen_info_says_what_screen_there_is():
    assert not any(ram(start(bzimage()), PARAMS + 4, 0x3C))
    info = ram(start(bzimage(), screen=Screen(column=3, row=7)), PARAMS, 0x40)
    assert (info[0], info[1], info[6], info[7], info[0xE], info[0xF], info[0x10]) == (3, 7, 3, 80, 25, 1, 16)


def test_the_command_line_ends_with_nul_and_may_be_as_long_as_the_kernel_says():
    plan = start(bzimage(cmdline=5), append="quiet")
    assert ram(plan, u32(plan, PARAMS + 0x228), 6) == b"quiet\0"
    with pytest.raises(BadImage, match="6 bytes; this kernel takes 5"):
        start(bzimage(cmdline=5), append="quiet!")
    with pytest.raises(BadImage, match="takes 255"):
        start(bzimage(version=0x205), append="x" * 256)
    with pytest.raises(BadImage, match="NUL"):
        start(bzimage(), append="a\0b")
    with pytest.raises(BadImage, match="UTF-8"):
        start(bzimage(), append="\ud800")


def test_the_initrd_lies_as_high_as_memory_and_the_kernel_allow(tmp_path):
    initrd = file(tmp_path, "initrd", b"cpio" * 1500)
    plan = start(bzimage(), initrd=initrd)
    place = u32(plan, PARAMS + 0x218)
    assert place == 64 * MIB - 0x2000 and u32(plan, PARAMS + 0x21C) == 6000
    assert ram(plan, place, 6000) == b"cpio" * 1500
    plan = start(bzimage(initrd_max=0x1FFFFFF), initrd=initrd)
    assert u32(plan, PARAMS + 0x218) == 0x2000000 - 0x2000
    plan = start(bzimage(initrd_max=0x17FFFFF), initrd=initrd)  # where the kernel works: below that then
    assert u32(plan, PARAMS + 0x218) == 0x1000000 - 0x2000


def test_no_room_for_the_initrd_is_said(tmp_path):
    initrd = file(tmp_path, "initrd", bytes(20 * MIB))
    with pytest.raises(BadImage, match=r"no room for the initrd of 20 MiB.*machine has 32 MiB"):
        start(bzimage(), mib=32, initrd=initrd)
    with pytest.raises(BadImage, match="No such file"):
        start(bzimage(), initrd=str(tmp_path / "nothing"))


def test_a_kernel_needs_its_init_size_from_where_it_runs():
    assert start(bzimage(), mib=24)
    with pytest.raises(BadImage, match="needs 24 MiB, and the machine has 23 MiB"):
        start(bzimage(), mib=23)
    assert start(bzimage(relocatable=0, pref=0x100000), mib=9)
    with pytest.raises(BadImage, match="4 GiB"):
        start(bzimage(pref=1 << 60))


def test_an_older_protocol_needs_none_of_the_newer_fields(tmp_path):
    image = bzimage(version=0x202, init=0, align=0, length=0x2A)
    plan = start(image, mib=4, initrd=file(tmp_path, "i", b"x"))
    assert u32(plan, PARAMS + 0x218) == 4 * MIB - 0x1000


def test_an_older_kernel_has_three_times_its_length_to_unpack_itself(tmp_path):
    image = bzimage(version=0x202, init=0, align=0, length=0x2A, payload=bytes(MIB))
    initrd = file(tmp_path, "i", bytes(900 << 10))
    assert u32(start(image, mib=5, initrd=initrd), PARAMS + 0x218) >= 4 * MIB
    with pytest.raises(BadImage, match=r"no room for the initrd.*memory up to 4 MiB"):
        start(image, mib=4, initrd=initrd)


@pytest.mark.parametrize("changes, words", [
    ({"version": 0x201}, "protocol 2.01"), ({"flags": 0}, "zImage"), ({"entry": 0x1000}, "entry 1000h"),
    ({"align": 0x300000}, "alignment"), ({"align": 0}, "alignment"), ({"payload": b""}, "cut short")])
def test_a_kernel_that_cannot_be_started_is_refused_in_words(changes, words):
    with pytest.raises(BadImage, match=words):
        start(bzimage(**changes))
    with pytest.raises(BadImage, match="cut short"):
        start(bzimage()[:-100])


def test_a_kernel_without_32_bit_entry_starts_with_its_setup_code_in_real_mode():
    plan = start(bzimage(entry=0), append="x")
    assert plan.kind == "linux" and plan.mode == "real" and plan.gdtr is None
    assert (plan.registers["cs"], plan.registers["eip"], plan.registers["ds"]) == (0x1020, 0, 0x1000)
    assert ram(plan, PARAMS + 0x202, 4) == b"HdrS"
    assert ram(plan, PARAMS + 0x211, 1)[0] & 0x80
    assert u32(plan, PARAMS + 0x224) & 0xFFFF == plan.registers["esp"] - 0x200
    assert string(plan, u32(plan, PARAMS + 0x228)) == "x"


def test_multiboot_hands_over_in_eax_and_ebx():
    plan = start(MULTIBOOT, append="a b", name="dir/kernel file")
    info = plan.registers["ebx"]
    assert plan.kind == "multiboot" and plan.registers["eax"] == 0x2BADB002 and plan.registers["eip"] == 0x10000C
    assert u32(plan, info) == 0x245  # memory, command line, memory map, loader's name
    assert (u32(plan, info + 4), u32(plan, info + 8)) == (639, 63 * 1024)
    assert string(plan, u32(plan, info + 16)) == "kernel_file a b"
    assert string(plan, u32(plan, info + 64)) == "emu"
    assert ram(plan, 0x100000 + 12 + len(CODE), 0x3000 - 12 - len(CODE)) == bytes(0x3000 - 12 - len(CODE))


def test_the_multiboot_memory_map_has_a_size_before_each_entry():
    plan = start(MULTIBOOT)
    length, at = u32(plan, plan.registers["ebx"] + 44), u32(plan, plan.registers["ebx"] + 48)
    assert [struct.unpack("<IQQI", ram(plan, at + i, 24)) for i in range(0, length, 24)] == [
        (20, *area) for area in memory()]


def test_multiboot_modules_are_page_aligned_behind_the_kernel_with_their_strings(tmp_path):
    one, two = file(tmp_path, "one", b"1" * 5000), file(tmp_path, "t,o", b"2")
    plan = start(MULTIBOOT, initrd=f"{one} root=x, {two.replace(',', ',,')}")
    info = plan.registers["ebx"]
    assert u32(plan, info) & 8 and u32(plan, info + 20) == 2
    at = u32(plan, info + 24)
    modules = [struct.unpack("<4I", ram(plan, at + 16 * i, 16)) for i in range(2)]
    assert [m[1] - m[0] for m in modules] == [5000, 1]
    assert all(m[0] % 4096 == 0 and m[0] >= 0x103000 and m[3] == 0 for m in modules)
    assert [string(plan, m[2]) for m in modules] == [f"{one} root=x", two]
    assert ram(plan, modules[0][0], 5000) == b"1" * 5000


def test_the_address_fields_of_the_header_hold_if_bit_16_is_set():
    plan = start(KLUDGE)
    assert plan.registers["eip"] == 0x200030
    assert ram(plan, 0x200000, len(KLUDGE)) == KLUDGE
    assert ram(plan, 0x200000 + len(KLUDGE), 0x4000 - len(KLUDGE)) == bytes(0x4000 - len(KLUDGE))


def test_address_fields_let_a_64_bit_elf_file_in():
    image = bytearray(elf([], machine=62, cls=2) + bytes(12))
    image += multiboot_header(0x10003, 0x200000 + len(image), 0x200000, 0, 0, 0x200070) + bytes(64)
    assert start(bytes(image)).registers["eip"] == 0x200070


def test_section_headers_come_along_and_point_to_the_symbols():
    symbols = b"\0name\0"
    body = elf([(0x100000, multiboot_header() + CODE, 64, 0x100000)], 0x10000C)
    headers = bytes(40) + struct.pack("<10I", 1, 3, 0, 0, len(body), len(symbols), 0, 0, 1, 0)
    image = elf([(0x100000, multiboot_header() + CODE, 64, 0x100000)], 0x10000C, tail=symbols + headers,
                sections=(len(body) + len(symbols), 2, 1))
    plan = start(image)
    info = plan.registers["ebx"]
    number, size, at, names = struct.unpack("<4I", ram(plan, info + 28, 16))
    assert u32(plan, info) & 0x20 and (number, size, names) == (2, 40, 1)
    assert ram(plan, u32(plan, at + 40 + 12), len(symbols)) == symbols


def test_a_video_mode_request_is_accepted_and_no_mode_reported():
    plan = start(elf([(0x100000, multiboot_header(7, *[0] * 9) + CODE, 128, 0x100000)]))
    assert not u32(plan, plan.registers["ebx"]) & 0x1800


@pytest.mark.parametrize("image, words", [
    (elf([(0x100000, multiboot_header(0x13), 64, 0x100000)]), "flags 0010h"),
    (multiboot_header(3) + bytes(64), "no ELF file"),
    (multiboot_header(0x10003, 0x100000, 0x200000, 0, 0, 0x200000), "does not fit"),
    (multiboot_header(0x10003, 0x200100, 0x200000, 0, 0, 0x200000), "does not fit"),
    (multiboot_header(0x10003, 0x200000, 0x200000, 0x300000, 0, 0x200000), "cut short"),
    (multiboot_header(0x10003, 0x200000, 0x200000, 0x100000, 0, 0x200000), "cut short"),
    (multiboot_header(0x10003, 0x200000, 0x200000, 0, 0x200001, 0x200000), "bss"),
    (multiboot_header(0x10003, 0x200000, 0x200000, 0, 0, 0x300000), "entry 300000h"),
    (multiboot_header(0x10003, 0x200000, 0x200000, 0, 0xFFFFFFFF, 0x200000), "needs 4096 MiB"),
    (multiboot_header(0x10003), "cut short"),
    (struct.pack("<4I", 0xE85250D6, 0, 16, -(0xE85250D6 + 16) & 0xFFFFFFFF), "Multiboot 2")])
def test_a_multiboot_kernel_that_cannot_be_started_is_refused_in_words(image, words):
    with pytest.raises(BadImage, match=words):
        start(image)


def test_a_multiboot_header_counts_only_wholly_inside_8192_bytes_aligned_and_with_its_checksum():
    header = multiboot_header(0x10003, 0x200000 + 8160, 0x200000, 0, 0, 0x200000)
    assert start(b"\x90" * 8160 + header).kind == "multiboot"
    for other in (b"\x90" * 8184 + header, b"\x90" * 3 + header, header[:8] + b"\xff" * 4):
        assert start(other).kind == "flat"


def test_elf_segments_go_to_their_physical_addresses_and_bss_is_cleared():
    plan = start(elf([(0x100000, CODE, 0x2000, 0x100000), (0x300000, b"data", 4, 0xC0300000)]))
    assert plan.kind == "elf" and plan.registers["eip"] == 0x100000
    assert ram(plan, 0x100000, 0x2000) == CODE.ljust(0x2000, b"\0")
    assert ram(plan, 0x300000, 4) == b"data"
    assert ram(plan, plan.registers["esp"] - 4096, 4096) == bytes(4096)


def test_a_virtual_entry_is_translated_with_its_segment_and_a_physical_one_is_not():
    segments = [(0x100000, CODE, 64, 0xC0100000)]
    assert start(elf(segments, 0xC0100004)).registers["eip"] == 0x100004
    assert start(elf(segments, 0x100004)).registers["eip"] == 0x100004


@pytest.mark.parametrize("image, words", [
    (elf([(0x100000, CODE, 64, 0)], cls=2, machine=62), "64-bit ELF.*bzImage"),
    (elf([(0x100000, CODE, 64, 0)], machine=40), "for ARM"),
    (elf([(0x100000, CODE, 64, 0)], machine=0x1234), "machine number 4660"),
    (b"\x7fELF\1\2\1" + bytes(9) + struct.pack(">HH", 2, 2) + bytes(32), "for SPARC"),
    (elf([(0x100000, CODE, 64, 0)], kind=3), "shared object"),
    (elf([(0x100000, CODE, 64, 0)], kind=1), "link it first"),
    (elf([]), "program headers"),
    (elf([(0x100000, b"", 0, 0x100000)]), "nothing to load"),
    (elf([(0x100000, CODE, 4, 0x100000)]), "more bytes in the file than in memory"),
    (elf([(0x100000, CODE, 64, 0x100000)], 0x200000), "entry point 200000h"),
    (elf([(0x100000, b"", 0xFFFFFFFF, 0x100000)]), "4 GiB"),
    (elf([(0x100000, CODE, 0xE0000000, 0x100000)]), "needs 3585 MiB, and the machine has 64 MiB"),
    (elf([(0x100000, CODE, 60 * MIB, 0x100000)] * 100), "together are larger"),
    (elf([(0x9F000, CODE, 0x2000, 0x9F000)], 0x9F000), "9F000h-A0FFFh, which is not all RAM"),
    (ELF[:60], "program headers are not inside"), (ELF[:-1], "segment 0 is not all inside"),
    (ELF[:40], "cut short"), (ELF[:7], "cut short"), (b"\x7fELF" + bytes(40), "byte order")])
def test_an_elf_file_that_cannot_be_started_is_refused_in_words(image, words):
    with pytest.raises(BadImage, match=words):
        start(image)


def test_a_flat_binary_starts_as_a_bios_starts_boot_code_below_the_extended_bios_data_area():
    plan = start(FLAT)
    assert (plan.kind, plan.mode, plan.blocks, plan.gdtr) == ("flat", "real", ((0x7C00, FLAT),), None)
    r = plan.registers
    assert (r["cs"], r["eip"], r["edx"], r["esp"], r["ss"], r["ds"], r["es"]) == (0, 0x7C00, 0x80, 0x7C00, 0, 0, 0)
    assert start(b"\x90" * (0x9FC00 - 0x7C00)).kind == "flat"
    with pytest.raises(BadImage, match="too long for a flat binary"):
        start(b"\x90" * (0x9FC00 - 0x7C00 + 1))


@pytest.mark.parametrize("image, words", [
    (b"", "empty"), (b"\x1f\x8b" + bytes(99), "gunzip"), (b"MZ" + bytes(99), "UEFI"), (b"QFI\xfb" + bytes(99), "qcow2"),
    (bytes(0x8001) + b"CD001" + bytes(99), "give it as a CD"), (b"#!/bin/sh\n", "script"),
    (b"hello world\n" * 3, "text"), (bytes(510) + b"\x55\xaa" + bytes(1440 * 1024 - 512), "give it as a disk")])
def test_what_is_evidently_something_else_is_not_run(image, words):
    with pytest.raises(BadImage, match=words):
        start(image)


@pytest.mark.parametrize("image", [ELF, FLAT])
def test_what_takes_no_arguments_says_so(image):
    with pytest.raises(BadImage, match="no command line"):
        start(image, append="x")
    with pytest.raises(BadImage, match="no initrd"):
        start(image, initrd="x")


def test_a_message_is_one_line_that_begins_with_the_file(tmp_path):
    for path in (tmp_path, tmp_path / "missing", Path(file(tmp_path, "empty", b"")), Path("a\0b")):
        with pytest.raises(BadImage) as error:
            start(path)
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    assert start(Path(file(tmp_path, "kernel", ELF))) == start(ELF)


def try_to_start(image):
    try:
        plan = start(image, append="", mib=32)
    except BadImage as error:
        assert "\n" not in str(error)
    else:
        assert sum(len(block) for _, block in plan.blocks) <= 3 * 32 * MIB
        for base, block in plan.blocks:
            assert any(a <= base and base + len(block) <= a + n for a, n, kind in memory(32) if kind == 1)


def test_the_most_segments_and_sections_that_elf_can_say_take_seconds():
    begun = time.monotonic()
    few = elf([(0x100000, multiboot_header() + CODE, 64, 0x100000)])
    many = [(0x200000 + 8 * i, b"", 4, 0) for i in range(0xFFFE)]
    try_to_start(elf([(0x100000, CODE, 64, 0x100000), *many]))
    table = struct.pack("<10I", 1, 3, 0, 0, 0, 16, 0, 0, 1, 0) * 0xFEFF
    try_to_start(elf([(0x100000, multiboot_header() + CODE, 64, 0x100000)], tail=table, sections=(len(few), 0xFEFF, 1)))
    assert time.monotonic() - begun < 30


@settings(max_examples=200, deadline=4000)
@given(st.binary(max_size=600), st.sampled_from([b"", b"\x7fELF\1\1\1", multiboot_header(), multiboot_header(0x10003)]))
def test_random_bytes_start_or_are_refused(data, head):
    try_to_start(head + data)


VALID = [bzimage(payload=bytes(1024)), MULTIBOOT, KLUDGE, ELF]
WORDS = st.sampled_from([0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]) | st.integers(0, 0xFFFFFFFF)


@settings(max_examples=400, deadline=4000)
@given(st.sampled_from(VALID), st.lists(st.tuples(st.integers(0, 700), WORDS, st.sampled_from([1, 2, 4])), max_size=6),
       st.integers(0, 3000))
def test_mutated_images_start_or_are_refused(image, changes, length):
    data = bytearray(image)
    for at, value, size in changes:
        if at + size <= len(data):
            data[at:at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
    try_to_start(bytes(data[:length] if length > 100 else data))
