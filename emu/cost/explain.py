"""One inner loop in every form, side by side: what is executed, how long each step took, and where the time went.

A step is one byte of the CRC.  The ledger puts a model beside the measurement: exits times the price of one, plus the work.
The price is never taken from the loop itself: of a Python hook it is measured on another workload, of KVM by a guest that
does nothing but leave.
"""

from __future__ import annotations

import contextlib
import dis
import io
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import capstone

from emu.cost import forms as kinds
from emu.cost import jvm, languages, measure, portable, programs, translate, webassembly
from emu.cost.catalog import FORMS
from emu.cost.forms import Form, Missing
from emu.cost.measure import Cell
from emu.cost.room import Room
from emu.cost.workloads import CRC, SIZE, WORKLOADS

TURNS = 3
WIDTH = 44
FLOAT_STEP = 7                  # instructions of a step of `float` in program.asm
FLOAT_STEPS = 1024              # steps of a round


def machine_code() -> list[str]:
    """The x86 instructions of the loop, by capstone: from the one that loads a byte to the jump back to it."""
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    found: list[str] = []
    first = 0
    for one in disassembler.disasm(programs.code(), programs.CODE):
        text = f"{one.mnemonic} {one.op_str}"
        if text == "movzx edx, byte ptr [r8 + rcx]":
            first, found = one.address, []
        if first:
            found.append(text)
            if one.mnemonic == "jb" and one.op_str == hex(first):
                return found
    raise AssertionError("program.asm has no such loop")


def java(directory: Path) -> list[str]:
    """By javap -c where a JDK is there, else our own listing."""
    program = shutil.which("javap")
    if program:
        for name, content in jvm.classes().items():
            (directory / name).write_bytes(content)
        said = subprocess.run([program, "-c", "-p", str(directory / f"{jvm.NAME}.class")], capture_output=True, text=True,
                              timeout=60)
        body = re.search(r"static long crc\(long\);\n\s+Code:\n(.*?)\n\n", said.stdout, re.DOTALL)
        if said.returncode == 0 and body:
            return [re.sub(r"\s+", " ", line).strip() for line in body[1].splitlines()]
    return [f"{at}: {text}" for at, text in jvm.methods()[1]["crc"].text]


def yarv(directory: Path) -> list[str]:
    """By RubyVM::InstructionSequence."""
    program = shutil.which("ruby")
    if program is None:
        return ["(ruby is not here: apt-get install ruby)"]
    path = directory / "work.rb"
    path.write_text(translate.ruby())
    script = "load ARGV[0]; puts RubyVM::InstructionSequence.of(method(:crc)).disasm"
    said = subprocess.run([program, "--disable-gems", "-e", script, str(path)], capture_output=True, text=True, timeout=60)
    lines = [re.sub(r"\s+", " ", line).strip() for line in said.stdout.splitlines() if re.match(r"\d{4} ", line)]
    return lines or [f"(ruby said {said.stderr.strip()[:60]!r})"]


def cpython() -> list[str]:
    out = io.StringIO()
    dis.dis(portable.crc, file=out)
    return [re.sub(r"\s+", " ", re.sub(r"^\s*\d+\s+(?=(>>)?\s*\d)", "", line)).strip()
            for line in out.getvalue().splitlines() if line.strip()]


def wasm() -> list[str]:
    return [text for _, text in webassembly.writers()["crc"].text]


def side_by_side(columns: dict[str, list[str]]) -> Iterator[str]:
    """Two columns a row of the page, cut to its width."""
    names = list(columns)
    for at in range(0, len(names), 2):
        pair = names[at:at + 2]
        yield ""
        yield "   ".join(f"{name:{WIDTH}}" for name in pair).rstrip()
        yield "   ".join("-" * WIDTH for _ in pair)
        for line in zip_longest(*(columns[name] for name in pair), fillvalue=""):
            yield "   ".join(f"{text[:WIDTH]:{WIDTH}}" for text in line).rstrip()


def explain(record: Any = None) -> str:
    """The whole text; without a record with `crc` the loop is measured now."""
    with Room() as directory:
        code = machine_code()
        columns = {"x86, by capstone (process, container, guests)": code, "WebAssembly": wasm(),
                   "JVM byte code": java(directory), "CPython": cpython(), "Ruby YARV": yarv(directory)}
        lines = ["The inner loop of CRC-32: result = table[(result ^ byte) & 255] ^ (result >> 8)", *side_by_side(columns)]
        steps = times(record) if record is not None else _measure(directory)
        return "\n".join([*lines, "", *ledger(steps, len(code))])


def times(record: Any) -> dict[str, Any]:
    """From a record: its `cpu` stands for the loop, with the sieve in it."""
    workload = WORKLOADS["cpu"]
    return {form["name"]: {"step": form["cells"]["cpu"]["cpu"]["median"] / workload.rounds / SIZE}
            for form in record["forms"] if form.get("cells", {}).get("cpu", {}).get("cpu")}


def _measure(directory: Path) -> dict[str, Any]:
    """Form -> seconds a step, or why there are none; and of a hook seconds an instruction, of KVM an exit."""
    made: dict[str, Any] = {}
    for number, kind in enumerate(FORMS):
        own = directory / str(number)
        own.mkdir()
        form = kind(own)
        try:
            form.find()
            made[form.name] = _one(form)
        except (Missing, OSError) as error:
            made[form.name] = {"why": str(error)}
        finally:
            with contextlib.suppress(OSError):
                form.close()
    return made


def _one(form: Form) -> dict[str, Any]:
    cell = Cell(form, CRC)
    for _ in range(TURNS):
        if cell.state == "ok":
            cell.run()
    if cell.state != "ok":
        return {"why": cell.why}
    made: dict[str, Any] = {"step": measure.spread([s.cpu for s in cell.samples])["median"] / cell.rounds / SIZE}
    if isinstance(form, kinds.Hooked):
        other = Cell(form, WORKLOADS["float"])
        other.run()
        if other.samples:
            made["price"] = other.samples[0].cpu / other.rounds / FLOAT_STEPS / FLOAT_STEP
    elif isinstance(form, kinds.Kvm):
        made["price"] = form.exit_seconds
        made["exits"] = kinds.EXITS / cell.rounds / SIZE
    return made


def ledger(steps: dict[str, Any], instructions: int) -> Iterator[str]:
    """One line a form: ns a step, and the model where there is one."""
    base = steps.get(kinds.Native.name, {}).get("step")
    yield f"{'':24}{'ns a step':>10}{'exits':>9}{'price':>10}{'model':>11}   why"
    for name, found in steps.items():
        if "step" not in found:
            yield f"{name:24}{'-':>10}   {found['why']}"
            continue
        step, price, exits = found["step"], found.get("price"), found.get("exits")
        if price is not None and exits is None:
            exits = instructions
        model = exits * price + base if price is not None and exits is not None and base else None
        yield (f"{name:24}{step * 1e9:>10.2f}{'' if exits is None else f'{exits:.3g}':>9}"
               f"{'' if price is None else f'{price * 1e9:,.0f} ns':>10}"
               f"{'' if model is None else f'{model * 1e9:.2f} ns':>11}   {WHY.get(name, '')}")
    yield ""
    yield f"A step: one byte, {instructions} x86 instructions.  Model: exits a step x price of an exit + the process's step."


WHY = {
    kinds.Native.name: "the processor itself",
    "runc": "the same kernel and processor: no exits",
    kinds.Namespaces.name: "the same kernel and processor: no exits",
    kinds.Bare.name: "translated once, then run: no exits; each access asks a table (TLB), each block counts time",
    kinds.LinuxGuest.name: "the same, and the guest's kernel takes its timer interrupts",
    kinds.TracedBlocks.name: "a number stored for each block",
    kinds.TracedInsns.name: "a record for each instruction",
    kinds.TracedMemory.name: "a record for each access to memory",
    kinds.Hooked.name: "each instruction leaves for Python",
    kinds.Qemu.name: "translated once, then run",
    kinds.QemuIcount.name: "the same, and every block counts its instructions",
    kinds.Kvm.name: "the processor runs it; exits only for the marks",
    languages.Java.name: "each byte code decoded anew",
    languages.JavaCompiled.name: "compiled from byte code while it ran",
    kinds.CPython.name: "each byte code decoded, each number an object",
    languages.Ruby.name: "each byte code decoded, numbers tagged",
    languages.RubyJit.name: "compiled block by block, numbers tagged",
    languages.WebAssembly.name: "compiled before it ran; accesses below a guard page",
}
