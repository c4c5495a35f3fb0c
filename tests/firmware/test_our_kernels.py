"""Our own kernels assemble, and do what they say under an independent machine, QEMU."""

from __future__ import annotations

import os
import selectors
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emu.assembler import AssemblyError, assemble, assemble_file
from emu.firmware import build

OK, FAILED = 0x10 << 1 | 1, 0x11 << 1 | 1

TURNS = "".join(f"  task {task}, round {turn}, in ring 3\n" for turn in (1, 2, 3) for task in (1, 2))

# kernel, QEMU's processor, [(wait for this, then type that)], exit status
BOOTS = [
    ("hello", "i386", [("hello: 32-bit protected mode, from 1 MiB\n", "")], OK),
    ("ticks", "i386", [("ticks: 10\nticks: 20\nticks: 30\nticks: 40\nticks: 50\nticks: done\n", "")], OK),
    ("echo", "i386", [("ctrl-d ends\n", "one"), ("one", " two\r3q"), (" two\r3\necho: 9 bytes, done\n", "")], OK),
    ("paging", "i386", [("16 pages written, 16 faults served\n", ""), ("contents verified", ""),
                        ("one more fault\n", "")], OK),
    ("ring3", "i386", [(TURNS + "ring3: both done, preempted all along\nring3: HLT refused\n", "")], OK),
    ("long", "x86_64", [("#UD handled\n", ""), ("reads 123456789abcdef0\n", ""), ("SYSCALL from ring 3\n", ""),
                        ("ring 3 may not read 0000000000100000\nlong: done\n", "")], OK),
    ("long", "i386", [("long: this processor has no long mode\n", "")], FAILED),
    ("default", "i386", [
        ("a PC that you can see through", ""), ("10 interrupts of the 8254", ""), ("00400000 was not mapped", ""),
        (TURNS, ""),
        ("\nemu> ", "help\r"), ("exit N gives it", ""), ("\nemu> ", "ticks\r"), ("ticks at 100 Hz\n", ""),
        ("emu> ", "cpuid\r"), (", family ", ""), ("emu> ", "regs\r"), ("CR0 80000011", ""),
        ("emu> ", "memx\x7f\r"), ("this kernel, ", ""), ("emu> ", "fault\n"), ("00401000 was not mapped", ""),
        ("emu> ", "what\r"), ("there is no such command", ""), ("emu> ", "\x04")], OK),
    ("default", "i386", [("emu> ", "exit 3\r")], 7),
    ("default", "i386", [("emu> ", "reboot\r"), ("rebooting\n", "")], 0),      # -no-reboot ends QEMU
]


def converse(command: list[str], dialogue: list[tuple[str, str]], seconds: float) -> tuple[str, int | None]:
    """Waits for each text in turn and answers it; returns all that was said, and the exit status."""
    end = time.monotonic() + seconds
    raw, said, at = b"", "", 0
    dialogue = list(dialogue)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process, \
            selectors.DefaultSelector() as selector:
        assert process.stdin and process.stdout
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < end and selector.select(end - time.monotonic()):
            data = os.read(process.stdout.fileno(), 4096)
            if not data:
                return said, process.wait(seconds)
            raw += data
            said = raw.decode("latin-1").replace("\r\n", "\n")
            while dialogue and (found := said.lower().find(dialogue[0][0].lower(), at)) >= 0:
                text, answer = dialogue.pop(0)
                at = found + len(text)
                process.stdin.write(answer.encode())
                process.stdin.flush()
        process.kill()
    return said, None


@pytest.mark.parametrize(
    ("name", "cpu", "dialogue", "status"), BOOTS, ids=[f"{name}-{cpu}-{status}" for name, cpu, _, status in BOOTS])
def test_a_kernel_boots_and_says_what_it_should(tmp_path, name, cpu, dialogue, status):
    qemu = shutil.which(f"qemu-system-{cpu}")
    if not qemu:
        pytest.skip(f"qemu-system-{cpu} is not installed")
    image = tmp_path / f"{name}.bin"
    image.write_bytes(build.kernel(name))
    said, got = converse([
        qemu, "-accel", "tcg", "-m", "16", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-kernel", str(image)], dialogue, 10)
    at = 0
    for text, _ in dialogue:
        found = said.lower().find(text.lower(), at)
        assert found >= 0, f"{text!r} is missing in:\n{said}"
        at = found + len(text)
    assert got == status, said


@pytest.mark.parametrize("name", build.names())
def test_a_kernel_is_a_small_multiboot_image(name):
    image = build.kernel(name)
    assert len(image) < 64 << 10
    magic, flags, checksum, header, load, load_end, bss_end, entry = struct.unpack_from("<8I", image)
    assert magic == 0x1BADB002
    assert flags & 1 << 16, "no addresses, and this is no ELF file"
    assert (magic + flags + checksum) & 0xFFFFFFFF == 0
    assert header == load == 0x100000
    assert (load_end, bss_end) == (0, 0)
    assert load + 32 <= entry < load + len(image)


def test_the_default_kernel_assembles_in_well_under_a_second():
    start = time.perf_counter()
    assemble_file(build.HERE / "kernels" / "default.asm")
    assert time.perf_counter() - start < 0.5


def test_what_was_assembled_is_kept_until_its_source_changes(tmp_path, monkeypatch):
    shutil.copytree(build.HERE, tmp_path / "firmware", ignore=shutil.ignore_patterns("build", "__pycache__"))
    monkeypatch.setattr(build, "HERE", tmp_path / "firmware")
    source = build.HERE / "kernels" / "hello.asm"
    image = build.kernel("hello")
    assert image == assemble_file(source)
    with monkeypatch.context() as patch:
        patch.setattr(build, "assemble_file", lambda path: pytest.fail("assembled again"))
        assert build.kernel("hello") == image
    source.write_text(source.read_text() + "\n.byte 0x90\n")
    assert build.kernel("hello") == assemble_file(source) != image
    assert len(list((build.HERE / "build").iterdir())) == 1


def test_an_unknown_kernel_is_named_with_those_there_are():
    with pytest.raises(KeyError, match=r"no kernel 'nonesuch'.*default.*hello"):
        build.kernel("nonesuch")


def test_build_runs_as_a_script(tmp_path):
    done = subprocess.run([sys.executable, str(build.__file__)], capture_output=True, text=True, timeout=20, check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == build.names()


# The assembler -------------------------------------------------------------------------------------

def source(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.asm"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("text", "code"), [
    ("mov al, 10; mov al, 0x10     # ten; not sixteen", "b00a b010"),
    ("mov al, ';'; mov al, '#'; .ascii \"a;#\"", "b03b b023 613b23"),
    (".code16; mov ax, bx; .code32; mov ax, bx; .code64; mov rax, rbx", "89d8 6689d8 4889d8"),
    (".org 0x100000; start: jmp next; .align 4, 0; next: .long next, later; .org 0x100010; later: .byte 1",
     "eb02 0000 04001000 10001000 00000000 01"),
    ("a:; .next: jmp .next; b:; .next: jmp .next", "ebfe ebfe"),
    (".macro twice n; .byte \\n; .byte \\n; .endm; twice 3; .rept 2; nop; .endr; .if 0; int3; .endif", "0303 9090"),
    (".set A, 32; mov eax, [table + A * 4]; table:", "a1 85000000"),
    (".set A, 32; mov eax, [ebx - A]; mov eax, 5 - A; mov al, (A | 3) << 1", "8b43e0 b8e5ffffff b046"),
    (".set A, 4; mov eax, [ebx + ecx * 4 + A + A]", "8b448b08"),
    ("mov eax, D", "b807000000"),
])
def test_the_language(tmp_path, text, code):
    assert assemble_file(source(tmp_path, text), {"D": 7}).hex() == code.replace(" ", "")


def test_a_file_includes_others_next_to_it_and_errors_name_theirs(tmp_path):
    (tmp_path / "good.inc").write_text(".set A, 5\n")
    (tmp_path / "bad.inc").write_text("nop\n# a comment\nmov eax, bl\n")
    assert assemble_file(source(tmp_path, '.include "good.inc"\nmov al, A')) == b"\xb0\x05"
    with pytest.raises(AssemblyError, match=r"^bad\.inc:3: invalid operand: mov eax, bl$"):
        assemble_file(source(tmp_path, 'nop\n.include "bad.inc"\nnop'))
    with pytest.raises(AssemblyError, match=r"^a\.asm:2: cannot include"):
        assemble_file(source(tmp_path, 'nop\n.include "none.inc"'))


@pytest.mark.parametrize(("text", "message"), [
    ("nop\nbla eax\nnop", "a.asm:2: invalid mnemonic: bla eax"),
    ("nop\njmp nowhere\nmov eax, later\nlater:", "a.asm:2: cannot find a symbol: jmp nowhere"),
    ("x: nop\nnop\nx: nop", "a.asm:3: invalid symbol redefined: x: nop"),
    ("nop\n.if 1\nnop\nmov eax, bl\n.endif", "a.asm:4: invalid operand: mov eax, bl"),
    (".macro m\nmov eax, bl\n.endm\nnop\nm", "a.asm:5: invalid operand: m"),
    ("nop\n.byte 300", "a.asm:2: literal value out of range for directive: .byte 300"),
    ("nop\n.asciz \"abc", "a.asm:2: a quote is not closed"),
    ("nop\nnop \u00e9", "a.asm:2: only ASCII outside comments"),
    (".section .data", "a.asm:1: unknown directive"),
    (".asciz \"\\x1b\"", "a.asm:1: needs one string, with octal escapes"),
    ("a: nop\n.fill 16 - (. - a), 1, 0", "a.asm:2: must be a constant that is known here"),
    (".fill 4, 16, 0", "a.asm:1: the size is at most 8"),
    (".set A, 5\npush A", "a.asm:2: keystone pushes only the symbol's low byte"),
    ("iret", "a.asm:1: keystone's `iret` here is a 16-bit IRET"),
    ("push ds", "a.asm:1: keystone's `push` here moves 16 bits"),
    ("lgdt [eax]", "a.asm:1: keystone's `lgdt` here has a 16-bit operand"),
    (".set A, 0x1000\n.code64\nmov rdi, [A]", "a.asm:3: keystone takes this constant for a distance from RIP"),
])
def test_what_keystone_would_get_wrong_is_refused_by_line(tmp_path, text, message):
    with pytest.raises(AssemblyError) as error:
        assemble_file(source(tmp_path, text))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_assembling_a_string_names_the_line():
    assert assemble("mov eax, 1; hlt  # stop") == b"\xb8\x01\x00\x00\x00\xf4"
    with pytest.raises(AssemblyError, match=r"^line 2: invalid operand: mov eax, bl$"):
        assemble("nop\nmov eax, bl")
