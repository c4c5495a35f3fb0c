"""The inner loop of each workload as every form executes it: x86, WebAssembly, byte code of the JVM, of CPython, of Ruby."""

from __future__ import annotations

import dis
import io
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import capstone

from emu.cost import jvm, portable, programs, translate, webassembly
from emu.cost.children import die_with_parent
from emu.cost.jvmcalls import NAME
from emu.cost.workloads import SIZE

WIDTH = 44


@dataclass(frozen=True)
class Loop:
    """`first`: the x86 instruction that it begins with, up to the jump back to it, or RET; `function`: in portable.py;
    `steps`: of a round."""

    what: str
    step: str
    steps: int
    first: str
    function: str


_CRC = Loop("CRC-32: result = table[(result ^ byte) & 255] ^ (result >> 8)", "one byte", SIZE,
            "movzx edx, byte ptr [r8 + rcx]", "crc")
LOOPS = {
    "spawn": Loop("x86: a process that starts another and waits for its end; the others' programs do nothing", "one start",
                  1, "mov rdi, r14", "nothing"),
    "cpu": _CRC,
    "calls": Loop("Fibonacci by recursion: f(n) = f(n - 1) + f(n - 2)", "one call, recursive or indirect", 3193 + 987,
                  "cmp edi, 2", "fibonacci"),
    "memory": Loop("the copy: words[i + 65536] = words[i]", "one word written, copied, or changed", 2 * 65536 + 4096,
                   "mov rdx, qword ptr [rsi + rcx*8]", "memory"),
    "float": Loop("x = sqrt(x * x + y); y = y / x + 0.75", "both assignments", 1024, "mulsd xmm0, xmm0", "float_"),
    "syscall": Loop("the system call umask", "one system call", 1000, "inc r12d", "system"),
    "io": Loop("4 KiB written; later read back", "4 KiB written and read", 1, "imul eax, r15d, ", "io"),
    "irq": _CRC,
}


def machine_code(loop: Loop = _CRC) -> list[str]:
    """The x86 instructions, by capstone."""
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    disassembler.skipdata = True                        # tables lie behind the code
    found: list[str] = []
    first = 0
    for one in disassembler.disasm(programs.code(), programs.CODE):
        text = f"{one.mnemonic} {one.op_str}".strip()
        if not first and text.startswith(loop.first):
            first = one.address
        if first:
            found.append(text)
            if text == "ret" or (one.mnemonic.startswith("j") and one.op_str == hex(first)):
                return found
    raise AssertionError(f"program.asm has no loop {loop.first!r}")


def java(loop: Loop, directory: Path) -> list[str]:
    """By javap -c where a JDK is there, else our own listing."""
    name = loop.function
    program = shutil.which("javap")
    if program:
        for file, content in jvm.classes().items():
            (directory / file).write_bytes(content)
        said = subprocess.run([program, "-c", "-p", str(directory / f"{NAME}.class")], capture_output=True, text=True,
                              timeout=60, preexec_fn=die_with_parent)
        body = re.search(rf"static long {name}\([a-z, ]*\);\n\s+Code:\n(.*?)\n\n", said.stdout, re.DOTALL)
        if said.returncode == 0 and body:
            return [re.sub(r"\s+", " ", line).strip() for line in body[1].splitlines()]
    return [f"{at}: {text}" for at, text in jvm.methods()[1][name].text]


def yarv(loop: Loop, directory: Path) -> list[str]:
    """By RubyVM::InstructionSequence."""
    program = shutil.which("ruby")
    if program is None:
        return ["(ruby is not here: apt-get install ruby)"]
    path = directory / "work.rb"
    path.write_text(translate.ruby())
    name = loop.function
    script = f"load ARGV[0]; puts RubyVM::InstructionSequence.of(method(:{translate.RUBY_NAMES.get(name, name)})).disasm"
    said = subprocess.run([program, "--disable-gems", "-e", script, str(path)], capture_output=True, text=True, timeout=60,
                          preexec_fn=die_with_parent)
    lines = [re.sub(r"\s+", " ", line).strip() for line in said.stdout.splitlines() if re.match(r"\d{4} ", line)]
    return lines or [f"(ruby said {said.stderr.strip()[:60]!r})"]


def cpython(loop: Loop) -> list[str]:
    out = io.StringIO()
    dis.dis(getattr(portable, loop.function), file=out)
    return [re.sub(r"\s+", " ", re.sub(r"^\s*\d+\s+(?=(>>)?\s*\d)", "", line)).strip()
            for line in out.getvalue().splitlines() if line.strip()]


def wasm(loop: Loop) -> list[str]:
    return [text for _, text in webassembly.writers()[loop.function].text]


def columns(loop: Loop, directory: Path) -> dict[str, list[str]]:
    """The listing of each form."""
    return {"x86, by capstone (processes and guests)": machine_code(loop), "WebAssembly": wasm(loop),
            "JVM byte code": java(loop, directory), "CPython": cpython(loop), "Ruby YARV": yarv(loop, directory)}


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
