"""Guests of a few bytes for the tests of the command line: flat binaries, entered in real mode at 0000:7C00h with IF = 1."""

from __future__ import annotations

from pathlib import Path

from emu.assembler import assemble

SOURCES = {
    "spin": "cli; again: jmp again",
    "spin_enabled": "again: jmp again",
    "halt": "cli; hlt",
    "sleep": "again: hlt; jmp again",                                   # IF = 1, and nothing that could interrupt
    "exit5": "mov al, 5; out 0xF4, al; again: jmp again",               # status 11
    "exit200": "mov al, 200; out 0xF4, al; again: jmp again",           # status 401: more than eight bits
    "nowhere": ".byte 0xEA, 0, 0, 0, 0xE0",                             # jmp E000:0000, where no memory is
    "triple": "lidt [none]; int3; none: .word 0; .long 0",              # in protected mode below
    "reset": "mov al, 0xFE; out 0x64, al; again: jmp again",
    "hello": """
        mov si, message
        mov dx, 0x3F8
    next: lodsb
        test al, al
        jz done
        out dx, al
        jmp next
    done: hlt
        jmp done
    message: .asciz "hello, world\\n"
    """,
    "debug": "mov al, 'a'; out 0xE9, al; mov dx, 0x3F8; mov al, 'b'; out dx, al; mov al, 'c'; out 0xE9, al; cli; hlt",
    "flood": "mov dx, 0x3F8; mov al, 'x'; again: out dx, al; jmp again",
    "echo": """
    again: mov dx, 0x3FD
        in al, dx
        test al, 1
        jz again
        mov dx, 0x3F8
        in al, dx
        out dx, al
        jmp again
    """,
}
SOURCES["triple"] = """
        cli
        lidt [table]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        int3
    table: .word 0
        .long 0
"""


def flat(name: str) -> bytes:
    """The code of a guest."""
    return assemble(SOURCES[name], 0x7C00, 16)


def write(name: str, directory: Path) -> str:
    """The path of a guest as a file."""
    path = directory / f"{name}.bin"
    path.write_bytes(flat(name))
    return str(path)
