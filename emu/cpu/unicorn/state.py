"""The state of a processor as plain values, in architectural terms: what a snapshot keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emu.cpu.unicorn import layout as at
from emu.cpu.unicorn import mailbox as m

if TYPE_CHECKING:
    from emu.cpu.unicorn.engine import UnicornEngine


def save(engine: UnicornEngine) -> dict[str, Any]:
    """See emu.engine.Engine.save."""
    return {
        **engine._registers.save(),
        "activity": "hlt" if engine._halted.value else "active",
        "shadow": int(bool(engine._hflags.value & at.HF_INHIBIT_IRQ)),
        "nmi_blocked": int(bool(engine._hflags2.value & at.HF2_NMI)),
        "nmi_pending": int(bool(engine._request[0] & at.INTERRUPT_NMI)),
        "nmi": engine._nmi, "intr": int(bool(engine._request[0] & at.INTERRUPT_HARD)), "a20": engine._a20,
        "time": engine.now(), "skipped": engine._skipped,
        "counters": {name: count if isinstance(count, int) else {str(vector): n for vector, n in count.items()}
                     for name, count in engine._box.counters().items()},
    }


def restore(engine: UnicornEngine, state: Mapping[str, Any]) -> None:
    """See emu.engine.Engine.restore."""
    engine.reset()
    engine._registers.restore(state)
    engine._asleep = state["activity"] == "hlt"
    engine._halted.value = engine._asleep
    engine._hflags.value = engine._hflags.value & ~at.HF_INHIBIT_IRQ | (at.HF_INHIBIT_IRQ if state["shadow"] else 0)
    engine._hflags2.value = engine._hflags2.value & ~at.HF2_NMI | (at.HF2_NMI if state["nmi_blocked"] else 0)
    engine._request[0] = (at.INTERRUPT_HARD if state["intr"] else 0) | (at.INTERRUPT_NMI if state["nmi_pending"] else 0)
    engine._nmi, engine._skipped = state["nmi"], state["skipped"]
    engine.a20(state["a20"])
    engine._words[m.END >> 3], engine._budget[0] = state["time"] + engine._slack, engine._slack
    engine._box.set_counters(state["counters"])
    engine._recent.clear()
    engine._flush(engine._cpu)
