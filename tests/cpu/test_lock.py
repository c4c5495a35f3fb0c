"""The LOCK prefix: SDM vol. 2A, LOCK.  #UD with all but 18 instructions, and with those when the destination is no memory."""

from __future__ import annotations

import pytest

from tests.cpu.guest import CODE, DATA, HALTED, LONG, PAGED, PM16, PM32, PROTECTED, REAL, STUBS, V86

ALL = [*((mode, ring) for mode in PROTECTED for ring in (0, 3)), (REAL, 0), (V86, 3)]
MEMORY, REGISTER = 0x07, 0xC1                   # [bx], [edi] or [rdi]; the first register
ALLOWED = {                                     # opcode -> ModRM.reg; 01 and the like have a register there
    **{bytes([8 * operation + wide]): range(8) for operation in range(7) for wide in (0, 1)},
    b"\x80": range(7), b"\x81": range(7), b"\x83": range(7), b"\x86": range(8), b"\x87": range(8),
    b"\xF6": (2, 3), b"\xF7": (2, 3), b"\xFE": (0, 1), b"\xFF": (0, 1),
    b"\x0F\xAB": range(8), b"\x0F\xB3": range(8), b"\x0F\xBB": range(8), b"\x0F\xBA": (5, 6, 7),
    b"\x0F\xB0": range(8), b"\x0F\xB1": range(8), b"\x0F\xC0": range(8), b"\x0F\xC1": range(8), b"\x0F\xC7": (1,)}
GROUPS = b"\x80", b"\x81", b"\x83", b"\xF6", b"\xF7", b"\xFE", b"\xFF", b"\x0F\xBA", b"\x0F\xC7"
LEFT = b"\x82", b"\x0F\x20", b"\x0F\x22"      # another 80; MOV CR0, which is AMD's MOV CR8 with LOCK
IMMEDIATE = {b"\x80": 1, b"\x81": 4, b"\x83": 1, b"\x0F\xBA": 1}
MAPS = [bytes([i]) for i in range(256) if i not in (0x0F, 0x26, 0x2E, 0x36, 0x3E, *range(0x40, 0x50), *range(0x64, 0x68),
                                                    0xF0, 0xF2, 0xF3)] + [bytes([0x0F, i]) for i in range(256)]


class Many:
    """One guest that runs many instructions, each at a place of its own."""

    def __init__(self, guest, mode, ring=0):
        self.one, self.at = guest(mode, "hlt", ring=ring), CODE if mode in (REAL, V86, PM16) else 0x30000
        self.start = self.one.engine.save()

    def run(self, code):
        """Run to the HLT behind `code`, or into a handler; how far that is from its start."""
        self.one.engine.restore(self.start)
        self.at += 32
        self.one.poke(self.at, code + b"\x90\x90\x90\x90\xF4")
        self.one.r.rip = self.at
        self.one.r.rbx = self.one.r.rdi = DATA
        self.one.r.rax = self.one.r.rcx = self.one.r.rdx = 1
        assert self.one.run() in HALTED
        return self.one.r.rip - self.at

    def is_ud(self, code):
        """The first handler is that of #UD, and it finds the instruction's own address."""
        stopped = self.run(code) + self.at
        return stopped == STUBS + 6 + 1 and self.one.read_frame(6, None).ip == self.at


@pytest.mark.parametrize("mode, ring", ALL)
def test_LOCK_with_a_bit_of_a_register_is_UD(guest, mode, ring):
    many = Many(guest, mode, ring)
    for prefix in "F0", "66 F0", "F0 66", "F0 67 2E":
        for code in "A3 C1", "AB C1", "B3 C1", "BB C1", "BA E1 03", "BA E9 03", "BA F1 03", "BA F9 03":
            assert many.is_ud(bytes.fromhex(f"{prefix} 0F {code}")), f"{prefix} {code}"


@pytest.mark.parametrize("mode", [PM32, LONG])
def test_what_may_have_LOCK_runs_with_memory_and_is_UD_with_a_register(guest, mode):
    many = Many(guest, mode)
    for opcode, fields in ALLOWED.items():
        for field in range(8) if opcode in GROUPS else (0, 4):
            rest = bytes(IMMEDIATE.get(opcode, 0))
            code = b"\xF0" + opcode + bytes([MEMORY | field << 3]) + rest
            if field in fields:
                assert many.run(code) == len(code) + 5, code.hex()
            else:
                assert many.is_ud(code), code.hex()
            assert many.is_ud(b"\xF0" + opcode + bytes([REGISTER | field << 3]) + rest), code.hex()


@pytest.mark.parametrize("mode", [PAGED, LONG])
def test_LOCK_with_any_other_opcode_is_UD(guest, mode):
    many = Many(guest, mode)
    for opcode in MAPS:
        if opcode not in ALLOWED and opcode not in LEFT:
            assert many.is_ud(b"\xF0" + opcode + bytes([MEMORY, 1, 1, 1, 1])), opcode.hex()


def test_REX_is_a_prefix_in_64_bit_code_alone(guest):
    assert Many(guest, LONG).is_ud(bytes.fromhex("F0 48 0F AB C8"))
    assert Many(guest, PM32).is_ud(bytes.fromhex("F0 48 01 07"))             # LOCK DEC EAX
    many = Many(guest, LONG)
    many.one.poke(DATA, 0xFFFFFFFF, 8)
    assert many.run(bytes.fromhex("F0 48 01 07")) == 9                       # LOCK ADD [RDI], RAX
    assert many.one.peek(DATA, 8) == 1 << 32


def test_the_bytes_ahead_are_read_only_as_far_as_the_instruction_goes(guest):
    """At the end of a page, and nothing behind it: a page fault there; LOCK NOP ends in time."""
    for code, vector in ((b"\xF0", 14), (b"\xF0\x0F", 14), (b"\xF0\x01", 14), (b"\xF0\x90", 6)):
        one = guest(PAGED, "nop")
        one.page(0x1F000, 0x1F000, 0)
        one.poke(0x1F000 - len(code), code)
        one.r.rip = 0x1F000 - len(code)
        assert one.frame().vector == vector, code.hex()
