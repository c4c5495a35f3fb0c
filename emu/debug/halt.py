"""A processor that waits: what it waits for, and whether that can come.  8259A data sheet: IMR, ISR, end of interrupt."""

from __future__ import annotations

from typing import Any

from emu.debug.state import State
from emu.machine import Machine

IF = 1 << 9
LINES = {0: "timer", 1: "keyboard", 2: "cascade of the second 8259A", 3: "COM2", 4: "COM1", 6: "diskettes", 8: "clock",
         9: "ACPI", 12: "mouse", 13: "coprocessor", 14: "first IDE channel", 15: "second IDE channel"}      # as on the AT


def reachable(machine: Machine) -> bool:
    """Whether any interrupt request could reach a halted processor through the 8259As: only the processor can open them."""
    pic1, pic2 = machine.chips.get("pic1"), machine.chips.get("pic2")
    if pic1 is None:
        return True
    levels = int(pic1.open)
    return bool(levels & ~4 or (levels & 4 and pic2 is not None and int(pic2.open)))


def facts(machine: Machine, state: State) -> dict[str, Any]:
    """What holds the interrupts off: `problem` in one word, `words` in a sentence, the controllers' registers."""
    out: dict[str, Any] = {"if": bool(state.registers["rflags"] & IF), "controllers": {}}
    for name in ("pic1", "pic2"):
        pic = machine.chips.get(name)
        if pic is not None:
            out["controllers"][name] = {
                "vector": int(pic.icw2), "irr": int(pic.irr), "isr": int(pic.isr), "imr": int(pic.imr),
                "open": int(pic.open), "lines": sum(pin.level << i for i, pin in enumerate(pic.ir))}
    pit = machine.chips.get("pit")
    alarm = machine.clock.next()
    out["alarm"] = alarm
    out["timer"] = None if pit is None else bool(getattr(pit, "out0", None) is not None and alarm is not None)
    out["problem"], out["words"] = _reason(out)
    return out


def _reason(found: dict[str, Any]) -> tuple[str, str]:
    if not found["if"]:
        return "interrupts-off", ("the processor halts with IF = 0: no interrupt but an NMI can wake it, and nothing here "
                                  "raises one")
    controllers = found["controllers"]
    if not controllers:
        return "nothing-armed", "it waits for an interrupt, and there is no interrupt controller"
    stuck = in_service(controllers)
    closed = all(not pic["open"] for pic in controllers.values()) or (
        not controllers["pic1"]["open"] & ~4 and not controllers.get("pic2", {"open": 0})["open"])
    if stuck and (closed or waiting(controllers)):
        names = ", ".join(f"IRQ{line} ({LINES.get(line, 'unused')})" for line in stuck)
        words = (f"the end of interrupt is missing: {names} {'is' if len(stuck) == 1 else 'are'} still in service (ISR), "
                 "as no EOI "
                 "was sent to the 8259A, so that nothing of the same or a lower priority comes through")
        held = waiting(controllers)
        if held:
            words += "; " + ", ".join(f"IRQ{line} ({LINES.get(line, 'unused')})" for line in held) + " asks, and waits"
        return "missing-eoi", words
    if controllers["pic1"]["imr"] == 0xFF or closed:
        return "all-masked", ("it waits for an interrupt, and the 8259As let none through: IMR = "
                              + ", ".join(f"{pic['imr']:02X}h ({name})" for name, pic in controllers.items()))
    if found["alarm"] is None:
        open_lines = [line for line in range(16) if _pic(controllers, line).get("open", 0) >> line % 8 & 1]
        names = ", ".join(f"IRQ{line} ({LINES[line]})" for line in open_lines if line in LINES and line != 2)
        return "nothing-armed", ("it waits for an interrupt, and nothing is under way that could raise one: no timer is "
                                 "armed, no "
                                 f"device is at work; open are {names or 'none'}")
    return "waits", "it waits for an interrupt that may still come"


def _pic(controllers: dict[str, Any], line: int) -> dict[str, Any]:
    found: dict[str, Any] = controllers.get("pic1" if line < 8 else "pic2", {})
    return found


def in_service(controllers: dict[str, Any]) -> list[int]:
    """Lines whose ISR bit is set; the cascade only if nothing behind it is."""
    lines = [line for line in range(16) if (pic := _pic(controllers, line)) and pic["isr"] >> line % 8 & 1]
    return [line for line in lines if line != 2 or not any(other > 7 for other in lines)]


def waiting(controllers: dict[str, Any]) -> list[int]:
    """Lines that ask, are not masked, and are held off by what is in service."""
    return [line for line in range(16) if line != 2 and (pic := _pic(controllers, line))
            and (pic["irr"] & ~pic["imr"]) >> line % 8 & 1]
