"""The TLB of fast/tlb.py grows where the guest never has it flushed."""

from __future__ import annotations

import pytest

from emu.cpu.unicorn import layout as at
from emu.cpu.unicorn.fast import tlb
from emu.cpu.unicorn.fast.fetch import KERNEL
from emu.engine import Stop
from tests.cpu.guest import HALTED, PM32, RAM, Guest


def entries(one: Guest) -> int:
    """Of the TLB of ring 0."""
    return at.read_u64(one.engine._env + at.TLB + 16 * KERNEL) // tlb.ENTRY + 1


@pytest.mark.parametrize("fast, grown", [("all", True), ("tlb", True), ("lookup", False)])
def test_a_TLB_that_shrank_after_a_quiet_time_grows_where_the_guest_flushes_nothing(guest, fast, grown):
    one = guest(PM32, f"""
        out 0x80, al
        mov ecx, 4
    round:
        mov esi, {RAM - 0x1000}
    next:
        add eax, [esi]
        sub esi, 0x1000
        jns next
        loop round
        hlt
    """, fast)
    one.on_out(0x80, lambda value: one.engine.stop())
    assert one.run() is Stop.ASKED
    window = one.engine._env + at.TLB_DESC + at.TLB_DESC_SIZE * KERNEL + tlb.WINDOW_BEGIN
    at.write_u64(window, 0)
    one.engine._flush(one.engine._cpu)
    assert entries(one) == 64
    assert one.run() in HALTED
    assert (entries(one) > RAM >> 12) is grown
