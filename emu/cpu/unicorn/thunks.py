"""Where the thunks of one machine are put: its hooks, and the slots of its own structures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import unicorn
from unicorn import unicorn_const, x86_const

from emu.cpu.unicorn import hooks, library, stores
from emu.cpu.unicorn import layout as at
from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.build import WANTED, exported
from emu.cpu.unicorn.code import Code
from emu.cpu.unicorn.fast import tlb
from emu.cpu.unicorn.helpers import CHECK_EXIT
from emu.cpu.unicorn.layout import symbol
from emu.cpu.unicorn.memory import host_address
from emu.cpu.unicorn.views import Views
from emu.engine import EngineError

if TYPE_CHECKING:
    from emu.cpu.unicorn.engine import UnicornEngine


def install(uc: int, class_: int, box: int, views: Views, code: Code, edge: bool,
            port_in: int, port_out: int, acknowledge: int) -> None:
    """Give an engine its own thunks; those of helpers.py serve all.

    `uc`, `class_` (CPUClass), `box` (mailbox), and the three callbacks are addresses; `edge`: hear of new blocks by a hook,
    because no editor does.
    """
    place, memory = code.place, views.memory
    for instruction, thunk in {
        x86_const.UC_X86_INS_IN: hooks.port_gate(box, m.READS, m.READ_NS, port_in),
        x86_const.UC_X86_INS_OUT: hooks.port_gate(box, m.WRITES, m.WRITE_NS, port_out),
        x86_const.UC_X86_INS_RDTSC: hooks.read_tsc(box, 0),
        x86_const.UC_X86_INS_RDTSCP: hooks.read_tsc(box, at.TSC_AUX),
    }.items():
        library.hook_instruction(uc, instruction, place(thunk))
    deliver = place(hooks.deliver_exception(box))
    at.write_u64(uc + at.UC_STOP_INTERRUPT, deliver)
    at.write_u64(box + m.DELIVER, deliver)
    code_map, rom_map = host_address(memory.code_map), host_address(memory.rom_map)
    fill, take = symbol("x86_cpu_tlb_fill_x86_64"), symbol("x86_cpu_exec_interrupt_x86_64")
    ours = {
        fill: place(stores.fill_tlb(place(tlb.grow(fill)), memory.address, memory.pages, code_map, rom_map, *views.addresses,
                                    host_address(memory.epochs), box + m.EPOCH)),
        take: place(hooks.take_interrupt(box, acknowledge, take)),
    }
    for slot, function in at.class_slots(class_).items():
        if function in ours:
            at.write_u64(slot, ours[function])
    if not exported(CHECK_EXIT):                        # an older build, which has the check in the block's own code
        library.hook(uc, unicorn_const.UC_HOOK_BLOCK, place(hooks.older_block(box)))
    if edge:
        new_block = place(stores.new_block(memory.address, memory.pages, code_map))
        library.hook(uc, unicorn_const.UC_HOOK_EDGE_GENERATED, new_block)


def warm_up(engine: UnicornEngine) -> None:
    """Run two blocks: the EDGE hook misses every block until a first one has returned normally (uc->last_tb)."""
    base, memory = engine._memory.regions[0]
    state, old, box, budget = engine.save(), bytes(memory[:3]), bytes(engine._box.page), engine._budget[0]
    engine.reset()
    memory[:3] = b"\xEB\x00\xF4"                                    # jmp $+2; hlt
    at.write_u64(engine._env + at.SEGS + at.SEGMENT_SIZE + 8, base)
    engine._eip.value = 0
    engine._budget[0] = 1 << 40
    error = library.start(engine._handle, 0, 0, 0, 0)
    if error or not engine._halted.value:
        raise EngineError(f"the first two blocks did not run ({unicorn.UcError(error)}): this needs {WANTED}")
    memory[:3] = old
    engine.restore(state)
    engine._box.page[:] = box
    engine._budget[0] = budget
    engine.wrote(base, 3)
