"""packed: integer operations of SSE2 that the library makes byte by byte are the host's own instruction.

Most of its helpers are the host's instruction already.  The compiler has left PACK, PUNPCK of bytes, PMADDWD and PSADBW a row
of steps for each byte or word, and PMOVMSKB, by which the C library searches strings, too.  Their entries lead to thunks that
load the operands, (env, destination, source) or (env, source), from where the library has them; integers have no flags.

Gain: PMOVMSKB and PACKUSWB take 0.4 of the time.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import symbol
from emu.cpu.unicorn.privileged import MAILBOX

STARTS = {
    "pmovmskb": "0fb606 0fb65607 0fb64e09 83e280", "packsswb": "4157 4889d1 ba7f000000 b880ffffff",
    "packuswb": "4889d1 4157 baff000000 440fbf5e0c", "packssdw": "b8ff7f0000 4156 b90080ffff 817e04ff7f0000",
    "punpcklbw": "0fb64607 440fb65e04 4157 440fb64e05", "punpckhbw": "4889d0 440fb65e0b 440fb64e0c 4156",
    "psadbw": "0fb602 0fb60e 89c7 29cf 29c1 0fb64601", "pmaddwd": "0fbf4a02 0fbf4602 0fbf3a 0fafc8",
}


def _operation(name: str, function: str, entry: bytes) -> Callable[[int], str]:
    """Some entries load R11, so the way back into the original is a jump through memory."""
    work = "pmovmskb eax, xmm0" if name == "pmovmskb" else f"""
        movdqu xmm1, [rdx]
        {name} xmm0, xmm1
        movdqu [rsi], xmm0
    """

    def source(trampoline: int) -> str:
        original = entry + b"\xFF\x25\0\0\0\0" + (symbol(function) + len(entry)).to_bytes(8, "little")
        return f"""
        mov rax, [rdi + {MAILBOX:#x}]
        test rax, rax
        je original
        cmp qword ptr [rax + {m.PACKED_ON:#x}], 0x0
        je original
        movdqu xmm0, [rsi]
        {work}
        ret
    original:
        .byte {", ".join(f"{byte:#x}" for byte in original)}
        """

    return source


ENTRIES: dict[str, tuple[bytes, Callable[[int], str]]] = {}
for _name, _start in STARTS.items():
    _function, _entry = f"helper_{_name}_xmm_x86_64", bytes.fromhex(_start)
    ENTRIES[_function] = _entry, _operation(_name, _function, _entry)
