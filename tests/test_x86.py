"""The processor on paper, against the sentences and tables of the SDM, volume 3."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu import x86
from emu.x86 import Gate, Segment

# -- descriptors

def test_the_flat_code_segment_of_linux_is_the_well_known_number():
    assert x86.encode_segment(Segment(0x10, 0, 0xFFFF_FFFF, 0xC09A)) == struct.pack("<Q", 0x00CF9A000000FFFF)


def test_with_granularity_set_the_limit_counts_pages_and_its_low_bits_are_ones():
    segment = x86.decode_segment(struct.pack("<Q", 0x00C0920000000001))
    assert segment.limit == 0x1FFF
    with pytest.raises(ValueError, match="low 12 bits"):
        x86.encode_segment(Segment(0, 0, 0x1000, 0xC092))


def test_a_limit_of_1_mib_or_more_needs_granularity():
    with pytest.raises(ValueError, match="limit"):
        x86.encode_segment(Segment(0, 0, 0x100000, 0x4092))


def test_the_fields_of_the_attributes_are_where_the_vmx_access_rights_have_them():
    segment = Segment(0x1B, 0x12345678, 0xFFFFF, 0x60FB)
    assert (segment.type, segment.system, segment.dpl, segment.present, segment.long, segment.big) == (
        0xB, False, 3, True, True, True)
    assert segment.words() == "code, execute/read, accessed"


@pytest.mark.parametrize("kind, words", [
    (0, "data, read-only"), (3, "data, read/write, accessed"), (6, "data, read/write, expand-down"),
    (8, "code, execute-only"), (10, "code, execute/read"), (15, "code, execute/read, conforming, accessed")])
def test_types_are_said_in_the_words_of_table_3_1(kind, words):
    assert Segment(0, 0, 0, 0x90 | kind).words() == words


def test_a_tss_in_ia32e_mode_has_16_bytes_and_a_64_bit_base():
    tss = Segment(0x40, 0xFFFF_8000_1234_5678, 0x67, 0x8B)
    raw = x86.encode_segment(tss, wide=True)
    assert len(raw) == 16
    assert x86.decode_segment(raw, 0x40) == tss
    assert tss.words() == "32-bit TSS (busy)"
    with pytest.raises(ValueError, match="base"):
        x86.encode_segment(tss)


def test_a_real_mode_segment_is_16_times_its_selector_and_64_kib():
    assert x86.real_mode_segment(0xF000) == Segment(0xF000, 0xF0000, 0xFFFF, 0x93)


@given(st.binary(min_size=8, max_size=8))
def test_every_descriptor_survives_decoding_and_encoding(raw):
    assert x86.encode_segment(x86.decode_segment(raw)) == raw


# -- gates

def test_a_32_bit_interrupt_gate_as_the_manual_draws_it():
    raw = struct.pack("<HHBBH", 0x5678, 0x10, 0, 0xEE, 0x1234)
    gate = Gate("interrupt", 32, 0x10, 0x12345678, dpl=3)
    assert x86.decode_gate(raw) == gate
    assert x86.encode_gate(gate) == raw


def test_a_64_bit_gate_has_16_bytes_and_an_ist():
    gate = Gate("trap", 64, 0x10, 0xFFFF_FFFF_8123_4567, ist=5)
    raw = x86.encode_gate(gate)
    assert raw[4] == 5 and raw[5] == 0x8F and raw[8:12] == b"\xff\xff\xff\xff"
    assert x86.decode_gate(raw) == gate


def test_there_is_no_task_gate_and_no_16_bit_gate_in_ia32e_mode():
    for kind in (4, 5, 6, 7):
        assert x86.decode_gate(bytes([0, 0, 8, 0, 0, 0x80 | kind]) + bytes(10)) is None
    with pytest.raises(ValueError, match="no 64-bit task gate"):
        x86.encode_gate(Gate("task", 64, 8, 0))


def test_what_is_a_segment_is_no_gate():
    assert x86.decode_gate(bytes([0, 0, 8, 0, 0, 0x9E, 0, 0])) is None


@pytest.mark.parametrize("gate", [
    Gate("call", 16, 8, 0x1234, parameters=7), Gate("call", 32, 8, 0x12345678, dpl=3, parameters=31),
    Gate("call", 64, 8, 1 << 40), Gate("task", 32, 0x28, 0), Gate("interrupt", 16, 8, 0xFFFF, present=False),
    Gate("trap", 32, 8, 0xFFFF_FFFF)])
def test_every_kind_of_gate_survives_encoding_and_decoding(gate):
    assert x86.decode_gate(x86.encode_gate(gate)) == gate


@given(st.binary(max_size=20))
def test_random_bytes_are_a_gate_a_segment_or_a_wrong_length(raw):
    if len(raw) in (8, 16):
        x86.decode_segment(raw).words()
        if gate := x86.decode_gate(raw):
            assert x86.decode_gate(x86.encode_gate(gate)) == gate
    else:
        for decode in (x86.decode_gate, x86.decode_segment):
            with pytest.raises(ValueError):
                decode(raw)


# -- exceptions

def test_these_vectors_and_no_others_push_an_error_code():
    assert [v for v in range(256) if x86.pushes_error_code(v)] == [8, 10, 11, 12, 13, 14, 17, 21]


@pytest.mark.parametrize("vector, code, words", [
    (14, 0, "page not present, supervisor read"),
    (14, 7, "protection violation, user write"),
    (14, 0x15, "protection violation, user instruction fetch"),
    (14, 9, "reserved bit set in a paging entry, supervisor read"),
    (13, 0, "no selector"),
    (13, 0x10, "selector 0010h in the GDT"),
    (13, 4, "selector 0000h in the LDT"),
    (11, 0x2F, "IDT vector 05h, external event"),
    (13, 0x1A << 3 | 2, "IDT vector 1Ah"),
    (8, 0, "no information"),
    (21, 3, "ENDBRANCH missing")])
def test_error_codes_in_words(vector, code, words):
    assert x86.describe_error_code(vector, code) == words


# -- paging

PG = x86.CR0_PG | x86.CR0_PE
P, W, U, PS, NX = x86.PRESENT, x86.WRITABLE, x86.USER, x86.LARGE, x86.NX
LONG = {"cr0": PG, "cr4": x86.CR4_PAE, "efer": x86.EFER_LMA | x86.EFER_NXE}


class Memory(dict):
    """Entries by address; what is not there is zero."""

    def read(self, address, length):
        return self.get(address, 0).to_bytes(8, "little")[:length]


def long_tables(pte, pde=0x4000 | P | W | U):
    return Memory({0x1000: 0x2000 | P | W | U, 0x2000: 0x3000 | P | W | U, 0x3008: pde, 0x4018: pte})


def test_without_paging_the_linear_address_is_the_physical_one():
    found = x86.walk(Memory().read, 0x1_0000_1234, cr0=1, cr3=0, cr4=0)
    assert (found.mode, found.physical, found.steps) == ("none", 0x1234, ())


def test_32_bit_paging_takes_10_10_and_12_bits():
    memory = Memory({0x1000 + 4: 0x2000 | P | W | U, 0x2000 + 8: 0xABCDE000 | P | U})
    found = x86.walk(memory.read, 0x402345, cr0=PG, cr3=0x1000, cr4=0)
    assert found.physical == 0xABCDE345 and found.page == 4096
    assert [(s.level, s.index, s.address) for s in found.steps] == [("PDE", 1, 0x1004), ("PTE", 2, 0x2008)]
    assert found.user and not found.writable and found.executable


def test_the_ps_bit_counts_only_with_cr4_pse_and_a_4_mib_page_can_lie_above_4_gib():
    memory = Memory({0x1000: 0x00C00000 | 3 << 13 | PS | P})
    assert x86.walk(memory.read, 0x123456, cr0=PG, cr3=0x1000, cr4=x86.CR4_PSE).physical == 0x3_00D2_3456
    assert x86.walk(memory.read, 0x123456, cr0=PG, cr3=0x1000, cr4=0).steps[0].leaf is False


def test_bit_21_of_a_4_mib_pde_is_reserved():
    memory = Memory({0x1000: 1 << 21 | PS | P})
    found = x86.walk(memory.read, 0, cr0=PG, cr3=0x1000, cr4=x86.CR4_PSE)
    assert found.fault == "reserved bit" and found.steps[0].reserved == 1 << 21
    assert x86.page_fault(found) == 9


def test_pae_has_four_entries_at_the_top_without_rights_and_2_mib_pages():
    memory = Memory({0x1028: 0x3000 | P, 0x3008: 0x1_2340_0000 | PS | P | W})
    found = x86.walk(memory.read, 0x40212345, cr0=PG, cr3=0x1020, cr4=x86.CR4_PAE)
    assert found.physical == 0x1_2341_2345 and found.page == 2 << 20 and found.writable and not found.user
    memory[0x1028] |= W
    assert x86.walk(memory.read, 0x40212345, cr0=PG, cr3=0x1020, cr4=x86.CR4_PAE).fault == "reserved bit"
    loaded = (0, 0x3000 | P, 0, 0)
    assert x86.walk(memory.read, 0x40212345, cr0=PG, cr3=0, cr4=x86.CR4_PAE, pdptes=loaded).page == 2 << 20


def test_4_level_paging_says_every_step():
    found = x86.walk(long_tables(0x7000 | P | W | U | NX).read, 0x203456, cr3=0x1000, **LONG)
    assert (found.physical, found.mode) == (0x7456, "4-level")
    assert [s.level for s in found.steps] == ["PML4E", "PDPTE", "PDE", "PTE"]
    assert [s.leaf for s in found.steps] == [False, False, False, True]
    assert found.writable and found.user and not found.executable


def test_a_1_gib_page_and_the_upper_half():
    memory = Memory({0x1FF8: 0x2000 | P, 0x2FF8: 0x4000_0000 | PS | P})
    found = x86.walk(memory.read, 0xFFFF_FFFF_C123_4567, cr3=0x1000, **LONG)
    assert found.physical == 0x4123_4567 and found.page == 1 << 30


def test_an_address_that_is_not_canonical_is_no_page_fault():
    found = x86.walk(Memory().read, 1 << 47, cr3=0x1000, **LONG)
    assert found.fault == "not canonical" and found.steps == ()
    with pytest.raises(ValueError):
        x86.page_fault(found)


def test_5_level_paging_has_one_level_more():
    memory = Memory({0x8000 + 8: 0x1000 | P}) | long_tables(0x7000 | P)
    found = x86.walk(Memory(memory).read, 1 << 48 | 0x203456, cr3=0x8000, **LONG | {"cr4": x86.CR4_PAE | x86.CR4_LA57})
    assert found.physical == 0x7456 and found.steps[0].level == "PML5E"


@pytest.mark.parametrize("pte", [1 << 40 | P, 1 << 51 | P])
def test_address_bits_above_maxphyaddr_are_reserved(pte):
    assert x86.walk(long_tables(pte).read, 0x203000, cr3=0x1000, **LONG).fault == "reserved bit"
    assert x86.walk(long_tables(pte).read, 0x203000, cr3=0x1000, width=52, **LONG).fault == ""


def test_xd_is_reserved_without_efer_nxe_and_ignored_in_what_is_not_present():
    found = x86.walk(long_tables(0x7000 | P | NX).read, 0x203000, cr3=0x1000, **LONG | {"efer": x86.EFER_LMA})
    assert found.fault == "reserved bit"
    found = x86.walk(long_tables(0x7000 | NX).read, 0x203000, cr3=0x1000, **LONG | {"efer": x86.EFER_LMA})
    assert found.fault == "not present" and x86.page_fault(found, write=True, user=True) == 6


def test_bits_13_to_20_of_a_2_mib_pde_are_reserved_but_not_pat():
    assert x86.walk(long_tables(0, 1 << 13 | PS | P).read, 0x203000, cr3=0x1000, **LONG).fault == "reserved bit"
    assert x86.walk(long_tables(0, 1 << 12 | PS | P).read, 0x203000, cr3=0x1000, **LONG).physical == 0x3000


@pytest.mark.parametrize("pte, access, error", [
    (P, {}, None),
    (P, {"write": True}, None),  # CR0.WP = 0: the supervisor writes everywhere
    (P, {"write": True, "cr0": PG | x86.CR0_WP}, 3),
    (P | W, {"user": True}, 5),
    (P | U, {"user": True, "write": True}, 7),
    (P | W | U, {"user": True, "write": True}, None),
    (P | U | NX, {"user": True, "fetch": True, "efer": x86.EFER_NXE}, 0x15),
    (P | U, {"fetch": True, "cr4": x86.CR4_SMEP}, 0x11),
    (P | U, {"cr4": x86.CR4_SMAP}, 1),
    (P | U, {"cr4": x86.CR4_SMAP, "ac": True}, None),
    (0, {"fetch": True}, 0),  # neither NXE nor SMEP: a fetch is not told apart
    (0, {"fetch": True, "efer": x86.EFER_NXE}, 0x10)])
def test_the_error_code_of_a_page_fault(pte, access, error):
    found = x86.walk(long_tables(0x7000 | pte).read, 0x203000, cr3=0x1000, **LONG)
    assert x86.page_fault(found, **access) == error


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1),
       st.sampled_from([0, x86.CR4_PSE, x86.CR4_PAE, x86.CR4_PAE | x86.CR4_LA57]),
       st.sampled_from([0, x86.EFER_NXE, x86.EFER_LMA | x86.EFER_NXE]))
def test_a_walk_over_random_tables_ends_below_the_width_of_an_address(linear, cr3, entry, cr4, efer):
    found = x86.walk(lambda address, length: entry.to_bytes(8, "little")[:length], linear,
                     cr0=PG, cr3=cr3, cr4=cr4, efer=efer)
    assert (found.physical is None) == bool(found.fault)
    assert len(found.steps) <= 5
    if found.physical is not None:
        assert found.physical < 1 << 40 and found.physical % found.page == found.linear % found.page
