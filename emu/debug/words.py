"""An explanation's facts in words."""

from __future__ import annotations

from typing import Any

SEGMENTS = "cs", "ss", "ds", "es", "fs", "gs", "ldtr", "tr"
LAST = "the last instructions are not known: run with --trace DIR, or --flight N, to have them"


def place(fault: dict[str, Any]) -> str:
    """Where something is, as people write it."""
    return f"{fault['cs']:04X}:{fault['rip']:0{16 if fault['rip'] >> 32 else 8}X}{_named(fault.get('symbol'))}"


def _named(symbol: str | None) -> str:
    return f" <{symbol}>" if symbol else ""


def verdict(facts: dict[str, Any]) -> tuple[str, str]:
    """(problem in one word, summary in one sentence)."""
    faults, repeated = facts["faults"], facts.get("repeated")
    if facts.get("panic"):
        return "panic", (f"Linux has panicked: {facts['panic']['message']}; without panic=SECONDS on its command line it "
                         "waits for ever")
    if facts["end"] == "halted" or (facts.get("halt") and not repeated and facts["end"] not in ("shutdown", "fault")):
        return facts["halt"]["problem"], facts["halt"]["words"]
    if not faults:
        return ("unknown", "no exception is remembered: the run went on from a snapshot, or the processor was shut down "
                           "otherwise"
                ) if facts["end"] == "shutdown" else ("", "")
    first = faults[0]
    what = f"{first['name']} at {place(first)}"
    cause = first.get("cause")
    said = f"{what}: {cause['words']}" if cause else what
    broken = next((fault["delivery"] for fault in faults if fault.get("delivery", {}).get("problem")), None)
    if repeated and facts["end"] != "shutdown":
        return "fault-loop", (f"the same fault again and again, {'at least ' * repeated['more']}{repeated['count']} times"
                              + (" with the same registers" if repeated["same"] else "") + f": {said}")
    if repeated:
        said = (f"{what} came {'at least ' * repeated['more']}{repeated['count']} times, one inside the other: its "
                "handler raises it "
                f"itself, and the stack has run out of its memory: {broken['words'] if broken else ''}")
        return "recursive-fault", said
    if broken is not None:
        problem = broken["problem"] if not cause or cause["problem"] in ("ud2", "breakpoint") else cause["problem"]
        said += f"; it could not be delivered: {broken['words']}"
        return problem, said
    return (cause["problem"] if cause else "unknown"), said


def headline(facts: dict[str, Any]) -> str:
    end, repeated = facts["end"], facts.get("repeated")
    if end == "shutdown":
        chain = " -> ".join(fault["mnemonic"] or f"vector {fault['vector']:02X}h" for fault in _chain(facts["faults"]))
        return f"triple fault: {chain} -> shutdown" if chain else "the processor shut down"
    if facts.get("panic"):
        return "Linux has panicked"
    if repeated:
        return "an endless loop of faults"
    if end == "halted":
        return "halted for good"
    if facts["faults"]:
        chain = " -> ".join(fault["mnemonic"] or f"vector {fault['vector']:02X}h" for fault in _chain(facts["faults"]))
        return f"a fault without a handler: {chain}" if len(facts["faults"]) > 1 else chain
    return f"ended by {end}"


def _chain(faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
    out = []
    for fault in faults:
        out.append(fault)
        made = fault.get("delivery", {})
        if made.get("makes") == 8 and made.get("raises") is not None:
            out.append({"mnemonic": _mnemonic(made["raises"]), "vector": made["raises"]})
    return out


def _mnemonic(vector: int) -> str:
    from emu.x86 import EXCEPTIONS
    return EXCEPTIONS[vector].mnemonic if vector in EXCEPTIONS else f"vector {vector:02X}h"


def brief(facts: dict[str, Any]) -> list[str]:
    """The headline, the summary, and the instruction."""
    head = headline(facts)
    out = [facts["summary"] if facts["summary"].startswith(head) else f"{head}: {facts['summary']}"]
    fault = facts["faults"][0] if facts["faults"] else None
    if fault is not None and fault.get("instruction", {}).get("bytes"):
        out.append(f"  instruction: {_instruction(fault['instruction'])}")
    if facts.get("halt") and fault is not None and facts["end"] == "halted":
        out.append(f"  the last exception before: {fault['name']} at {place(fault)}"
                   + (f": {fault['cause']['words']}" if fault.get("cause") else ""))
    return out


def paragraphs(facts: dict[str, Any]) -> list[str]:
    """Everything."""
    head = headline(facts)
    out = [f"{head[0].upper()}{head[1:]}, after {facts['time'] / 1e9:.6f} s.", _sentence(facts["summary"])]
    if facts.get("halt"):
        out.append(_halt(facts["halt"]))
    for number, fault in enumerate(facts["faults"], 1):
        out.append(_fault(number, fault))
    if facts["end"] == "shutdown":
        out.append("A double fault that cannot be delivered shuts the processor down: a triple fault (SDM vol. 3A, 6.15, "
                   "#DF).")
    if facts.get("repeated"):
        out.append(_repeated(facts["repeated"]))
    out += [_registers(facts["registers"]), _stack(facts["stack"]), *from_trace(facts)]
    return [paragraph for paragraph in out if paragraph]


def _sentence(text: str) -> str:
    return text and text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _fault(number: int, fault: dict[str, Any]) -> str:
    ring = f"ring {fault['cpl']}, {fault['bits']}-bit code"
    lines = [f"{number}. {fault['name']} at {place(fault)}, {ring}, after {fault['time'] / 1e9:.6f} s"
             + (f", during the delivery of the {'INT n' if fault['during'] == 'software interrupt' else 'one'} before"
                if fault["during"] else "")]
    if fault["error"] is not None:
        lines.append(f"  error code {fault['error']:#x}: {fault['error_words']}"
                     + (f"; CR2 = {fault['cr2']:#x}" if fault["cr2"] is not None else ""))
    if "instruction" in fault:
        lines.append(f"  instruction: {_instruction(fault['instruction'])}")
        lines += [f"    {line}" for line in _operands(fault["instruction"])]
    cause = fault.get("cause")
    if cause:
        lines.append(f"  why: {cause['words']}")
        lines += [f"    {step}" for step in cause["steps"]]
    made = fault.get("delivery")
    if made:
        lines.append("  its delivery:")
        lines += [f"    {step}" for step in made["steps"]]
        if made.get("walk"):
            lines += [f"      {step}" for step in made["walk"]["steps"]]
        if made["raises"] is not None:
            lines.append(f"    so {_mnemonic(made['raises'])} came of it" + (
                f", error code {made['error']:#x}" if made["error"] is not None else "") + (
                ", and the two of them are a double fault" if made.get("makes") == 8 else ""))
    elif fault.get("handler") and fault["handler"]["linear"] is not None:
        handler = fault["handler"]
        lines.append(f"  its handler at {handler['linear']:#x}{_named(handler['symbol'])} was called")
    return "\n".join(lines)


def _instruction(found: dict[str, Any]) -> str:
    code = " ".join(found["bytes"][i:i + 2] for i in range(0, len(found["bytes"]), 2)) or "no bytes: nothing is mapped"
    return f"{found['text']}   [{code}]"


def _operands(found: dict[str, Any]) -> list[str]:
    out = []
    for operand in found["operands"]:
        if operand["kind"] == "register" and operand["value"] is not None:
            out.append(f"{operand['text']} = {operand['value']:#x}")
        elif operand["kind"] == "memory":
            where = f"physical {operand['physical']:#x}" if operand["physical"] is not None else "not mapped"
            holds = f", holds {operand['value']:#x}" if operand["value"] is not None else ""
            registers = operand.get("registers", {})
            used = "".join(f", {name} = {value:#x}" for name, value in registers.items() if value is not None)
            out.append(f"{operand['text']}: linear {operand['linear']:#x}, {where}{holds}{used}")
    return out


def _halt(found: dict[str, Any]) -> str:
    lines = [f"IF = {int(found['if'])}; " + ("no alarm is armed" if found["alarm"] is None else
                                             f"the next alarm is at {found['alarm'] / 1e9:.6f} s")]
    for name, pic in found["controllers"].items():
        lines.append(f"  {name}: vectors from {pic['vector']:02X}h; asked for (IRR) {pic['irr']:08b}, in service (ISR) "
                     f"{pic['isr']:08b}, masked (IMR) {pic['imr']:08b}, can interrupt now {pic['open']:08b}")
    return "\n".join(lines)


def _repeated(found: dict[str, Any]) -> str:
    least = "at least " * found["more"]
    text = f"{_mnemonic(found['vector'])} at {found['rip']:#x} came {least}{found['count']} times in a row"
    if found.get("itself"):
        return text + ": that is the first instruction of its own handler, and so each makes the next one."
    if found["falling"]:
        return text + ": its handler raises it itself, and the stack falls each time."
    same = ", each time with the same registers: the handler returns and nothing has changed"
    return text + (same if found["same"] else "") + "."


def _registers(found: dict[str, Any]) -> str:
    wide = found["bits"] == 64
    names = [name for name in found if name[0] == "r" and isinstance(found[name], int)]
    names = [name for name in names if wide or name[1:] not in map(str, range(8, 16))]
    lines = [" ".join(f"{name if wide else 'e' + name[1:]:>6}={found[name]:0{16 if wide else 8}x}" for name in names[i:i + 4])
             for i in range(0, len(names), 4)]
    lines.append(" ".join(f"{name:>6}={found[name]:x}" for name in ("cr0", "cr2", "cr3", "cr4", "efer")))
    lines.append(" ".join(f"{name}={found[name][0]:04x}" for name in SEGMENTS)
                 + f" gdtr={found['gdtr'][0]:x}/{found['gdtr'][1]:x} idtr={found['idtr'][0]:x}/{found['idtr'][1]:x}")
    return "Registers at the end:\n" + "\n".join("  " + line.strip() for line in lines)


def _stack(found: list[dict[str, Any]]) -> str:
    if not found:
        return "Call stack: none that frame pointers or return addresses on the stack would show."
    how = "by frame pointers" if found[0]["sure"] else "return addresses that lie on the stack; some may be left over"
    return f"Call stack ({how}):\n" + "\n".join(
        f"  {frame['return']:#x}{_named(frame['symbol'])}   (at {frame['address']:#x})" for frame in found)


def from_trace(facts: dict[str, Any]) -> list[str]:
    """What a trace has added: the last instructions, and the calls that had not returned."""
    calls = facts.get("calls")
    return [_last(facts)] + ([_calls(calls)] if calls else []) + [
        _writer(writer) for writer in facts.get("writers", ())] + [
        f"{load['register'].upper()} = {load['value']:#x}: {_loaded(load)}" for load in facts.get("loads", ())]


def _writer(found: dict[str, Any]) -> str:
    what = f"{found['what'][0].upper()}{found['what'][1:]}, at {found['linear']:#x},"
    if found["position"] is None:
        return f"{what} was written by no instruction while the trace was recorded."
    by = f"by `{found['text']}` at" if found["text"] else "by the processor itself (the delivery of an interrupt, say) at"
    return (f"{what} was written last {by} {found['address'] or 0:#x}{_named(found['symbol'])}, as block "
            f"{found['position']:,} ran: "
            f"{found['stored_size']} bytes at {found['stored_at']:#x}, the value {found['value']:#x}."
            + (f" Before that, {_loaded(found['source'])}" if "source" in found else ""))


def _loaded(found: dict[str, Any]) -> str:
    return (f"this value was loaded last by `{found['text']}` at {found['address']:#x}{_named(found['symbol'])}, from "
            f"{found['linear']:#x}. {_writer(found['writer'])}")


def _calls(found: list[dict[str, Any]]) -> str:
    return "Calls that had not returned, by the trace, the innermost first:\n" + "\n".join(
        f"  {frame['to']:#x}{_named(frame['symbol'])}   ({frame['how']} at {frame['from']:#x})" for frame in found[::-1][:32])


def _last(facts: dict[str, Any]) -> str:
    last = facts.get("last")
    if not last:
        return LAST[0].upper() + LAST[1:] + "."
    width = max(len(line["symbol"] or "") for line in last)
    return f"The last {len(last)} instructions:\n" + "\n".join(
        f"  {line['address']:#x} {(line['symbol'] or '').ljust(width)} {line['text']}" if width else
        f"  {line['address']:#x} {line['text']}" for line in last)
