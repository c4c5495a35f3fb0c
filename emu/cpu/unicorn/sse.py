"""SSE: the exceptions' flags in MXCSR, and #XM (SDM vol. 1, 11.5).

The library's floating point finds them, but QEMU 5.0 never looked: the flags of each helper that computes are cleared before
and ORed into MXCSR behind.  Where that gives an unmasked one, the destination is put back, and the instruction is #XM, or
#UD without CR4.OSXMMEXCPT.

Not modelled: DE.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from emu.cpu.unicorn.build import symbol
from emu.cpu.unicorn.code import PAGE, Code
from emu.cpu.unicorn.fast import sse as quick
from emu.cpu.unicorn.layout import CC_SRC, CR, MXCSR, SSE_STATUS
from emu.cpu.unicorn.privileged import MAILBOX

FLAGS = 0x3D                    # IE ZE OE UE PE: the same bits in the library's flags; DE is none of its
OSXMMEXCPT = 0x4                # CR4 bit 10, in its second byte


def _flagged() -> str:
    """r11: the helper's own work.  Put back before an exception: the 16 bytes at rsi, and CC_SRC, all that it may change."""
    return f"""
        cmp qword ptr [rdi + {MAILBOX:#x}], 0x0
        je foreign
        mov byte ptr [rdi + {SSE_STATUS + 2:#x}], 0x0
        mov eax, [rdi + {MXCSR:#x}]
        not eax
        test eax, {FLAGS << 7:#x}
        jne unmasked
        push rdi
        call r11
        pop rdi
        mov cl, [rdi + {SSE_STATUS + 2:#x}]
        and cl, {FLAGS:#x}
        or [rdi + {MXCSR:#x}], cl
        ret
    foreign:
        jmp r11
    unmasked:
        push qword ptr [rdi + {CC_SRC:#x}]
        push qword ptr [rsi + 0x8]
        push qword ptr [rsi]
        push rsi
        push rdi
        call r11
        pop rdi
        pop rsi
        mov r8d, [rdi + {MXCSR:#x}]
        movzx ecx, byte ptr [rdi + {SSE_STATUS + 2:#x}]
        and ecx, {FLAGS:#x}
        or [rdi + {MXCSR:#x}], cl
        shr r8d, 0x7
        not r8d
        test ecx, r8d
        jne raise
        add rsp, 0x18
        ret
    raise:
        pop qword ptr [rsi]
        pop qword ptr [rsi + 0x8]
        pop qword ptr [rdi + {CC_SRC:#x}]
        mov rdx, [rsp]
        mov esi, 0x13
        test byte ptr [rdi + {CR + 4 * 8 + 1:#x}], {OSXMMEXCPT:#x}
        jne known
        mov esi, 0x6
    known:
        sub rsp, 0x8
        mov rax, {symbol("raise_exception_ra_x86_64"):#x}
        call rax
    """


@functools.cache
def _common() -> tuple[Code, int]:
    """One copy for all, for as long as the process lives."""
    code = Code(PAGE)
    return code, code.place(_flagged())


def _thunk(fast: Callable[[str], str] | None) -> Callable[[int], str]:
    def thunk(trampoline: int) -> str:
        code = b"\x49\xBB" + trampoline.to_bytes(8, "little") + b"\x48\xB8" + _common()[1].to_bytes(8, "little") + b"\xFF\xE0"
        original = f".byte {','.join(hex(byte) for byte in code)}"         # mov r11, trampoline; mov rax, common; jmp rax
        return fast(original) if fast else original

    return thunk


WIDTHS = ("ps", "pd", "ss", "sd")
PACKED, SCALAR = "4154 4c8da728030000 55 4889d5", "53 4989d0 4889f3 488d9728030000"
COMPARISONS = ("cmpeq", "cmplt", "cmple", "cmpunord", "cmpneq", "cmpnlt", "cmpnle", "cmpord")
BEGINNINGS = {              # of the helpers
    "4154 4989d4 55 488daf28030000": "sqrtps sqrtpd cvtpd2ps cvtdq2ps cvtpi2ps",
    "53 4889f3 488db728030000 8b3a": "sqrtss cvtss2sd",
    "53 4889f3 488db728030000 488b3a": "sqrtsd cvtsd2ss",
    "55 4889d5 488d9728030000 53 4889f3": "minss minsd maxss maxsd",
    "4157 4156 4155 4989d5 4154 4c8da728030000": "haddps hsubps",
    "4155 4c8daf28030000 4154 4989d4": "haddpd hsubpd",
    "53 4989f0 4989d1 4889fb 488d9728030000": "comiss comisd ucomiss ucomisd",
    "4157 4189cf 4156 4989f6 4155 4154": "dpps_xmm",
    "4157 4156 4989d6 4155 4989f5 4154": "dppd_xmm",
    "4156 4155 4154 4989fc 55 4889d5": "roundps_xmm",
    "4156 4155 4154 4989d4 55 4889f5": "roundpd_xmm",
    "4154 55 4889f5 53 4889fb 440fb6a729030000": "roundss_xmm roundsd_xmm",
    "4154 448b6204 55 488daf28030000": "cvtps2pd",
    "53 4989f8 4889f3 89d7 498db028030000": "cvtsi2ss",
    "53 4989f8 4889f3 4889d7 498db028030000": "cvtsq2ss cvtsq2sd",
    "4157 4c8dbf28030000 4156 41be00000080":
        "cvtps2dq cvtpd2dq cvtps2pi cvtpd2pi cvttps2dq cvttpd2dq cvttps2pi cvttpd2pi",
    "55 53 4889fb 4883ec08 0fb6ab2a030000":
        "cvtss2si cvtsd2si cvtss2sq cvtsd2sq cvttss2si cvttsd2si cvttss2sq cvttsd2sq",
}


def _helpers() -> Iterator[tuple[str, str]]:
    for operation in ("add", "sub", "mul", "div", *COMPARISONS):
        for width in WIDTHS:
            yield operation + width, PACKED if width[0] == "p" else SCALAR
    for operation in ("minps", "minpd", "maxps", "maxpd", "addsubps", "addsubpd"):
        yield operation, PACKED
    for beginning, names in BEGINNINGS.items():
        for name in names.split():
            yield name, beginning


ENTRIES = {f"helper_{name}_x86_64": (bytes.fromhex(beginning), _thunk(quick.WAYS.get(name)))
           for name, beginning in _helpers()}
