"""Which helpers of the library x87.py replaces: how each begins, and what the host does instead (SDM vol. 2, D8 to DF)."""

from __future__ import annotations

from emu.cpu.unicorn.layout import CC_SRC, FPSTT, FPTAGS, FPUS, FT0, symbol
from emu.cpu.unicorn.x87 import constant, copy, load, numeric, pushes, store, waiting, wants
from emu.cpu.unicorn.x87parts import (
    ANEW,
    CONDITIONS,
    DROP,
    LOAD0,
    LOAD1,
    POINT,
    POPPED,
    PUSHED,
    STORE0,
    STORE1,
    VALID,
    Thunk,
    code,
    indefinite,
)

TOP, NTH = "mov r10d, eax", "lea r10d, [rax + rsi]\n and r10d, 0x7"
AT_TOP = f"mov r8d, eax\n {POINT}"
INDEFINITE = f"mov esi, r10d\n mov r8d, esi\n {POINT}\n {indefinite('r8')} {PUSHED}"
BCD = f"""
        mov r9, [rsp - 0x20]
        movzx r10d, word ptr [rsp - 0x18]
        push rbx
        push r12
        push r13
        mov rbx, rdi
        mov r12, rsi
        mov r13d, r10d
        mov rdx, r9
        mov rcx, [rsp + 0x18]
        mov rax, {symbol("cpu_stq_data_ra_x86_64"):#x}
        call rax
        mov rdi, rbx
        lea rsi, [r12 + 0x8]
        mov edx, r13d
        mov rcx, [rsp + 0x18]
        mov rax, {symbol("cpu_stw_data_ra_x86_64"):#x}
        call rax
        pop r13
        pop r12
        pop rbx
"""
TWO = f"""
        test eax, 0x400
        jne outside
        {code(STORE1 + STORE0)}
        {PUSHED}
        jmp two
    outside:
        {code(DROP)}
    two:
"""
REGISTER = "8b875c020000 488d9708030000"            # how many of the helpers begin
ENTRIES: dict[str, tuple[bytes, Thunk]] = {}


def _add(entry: str, **thunks: Thunk) -> None:
    ENTRIES.update((f"helper_{name}_x86_64", (bytes.fromhex(entry), thunk)) for name, thunk in thunks.items())


_ARITHMETIC = {"fadd": "dec1", "fmul": "dec9", "fsub": "dee9", "fsubr": "dee1", "fdiv": "def9", "fdivr": "def1"}
for _name, _core in _ARITHMETIC.items():
    _first = {"fdiv": "55 53 4889fb 4883ec08 8baf5c020000", "fdivr": "53 8b875c020000 4c8b8f10030000"}
    _second = {"fdiv": "55 53 4889fb 4883ec08 03b75c020000", "fdivr": "53 03b75c020000 8b875c020000"}
    _add(_first.get(_name, "53 8b9f5c020000 4c8d8708030000"),
         **{f"{_name}_ST0_FT0": numeric(LOAD0 + LOAD1 + _core, STORE0, "ft0")})
    _add(_second.get(_name, "53 03b75c020000 4c8d8708030000"),
         **{f"{_name}_STN_ST0": numeric(LOAD1 + LOAD0 + _core, STORE1, "stn")})
_UNORDERED = f"or word ptr [rdi + {FPUS:#x}], 0x4500\n"
_add("53 8b875c020000 4889fb 488b9310030000",
     fcom_ST0_FT0=numeric(LOAD1 + LOAD0 + "ded9", "", "ft0", CONDITIONS, empty=_UNORDERED),
     fucom_ST0_FT0=numeric(LOAD1 + LOAD0 + "dae9", "", "ft0", CONDITIONS, empty=_UNORDERED))
_EFLAGS = f"mov r10d, eax\n shr r10d, 0x8\n and r10d, 0x45\n mov [rdi + {CC_SRC:#x}], r10\n"      # C3, C2, C0 as ZF, PF, CF
_UNORDERED = f"mov qword ptr [rdi + {CC_SRC:#x}], 0x45\n"
_add("55 53 4889fb 4c8d8308030000 4883ec08",        # the translator then says that the flags are in CC_SRC
     fcomi_ST0_FT0=numeric(LOAD1 + LOAD0 + "ded9", _EFLAGS, "ft0", empty=_UNORDERED),
     fucomi_ST0_FT0=numeric(LOAD1 + LOAD0 + "dae9", _EFLAGS, "ft0", empty=_UNORDERED))
_add("53 4889fb 89f7 488db308030000", flds_FT0=load("d94424f0", True), fildl_FT0=waiting())
_add("53 4889fb 4889f7 488db308030000", fldl_FT0=load("dd4424f0", True))
_add("4155 4154 55 4889fd 89f7 53 488db508030000", flds_ST0=load("d94424f0", False), fildl_ST0=pushes(INDEFINITE))
_add("4155 4154 55 4889fd 4889f7 53 488db508030000", fldl_ST0=load("dd4424f0", False), fildll_ST0=pushes(INDEFINITE))
_add("4156 4155 4154 4989fc 55 4889f5", fldt_ST0=pushes(INDEFINITE))
_INT16, _INT32, _INT64 = (f"{move} ptr [rsp - 0x10]\n" for move in ("movsx eax, word", "mov eax, dword", "mov rax, qword"))
_add(REGISTER, fsts_ST0=store("d95c24f0", _INT32, 0xFFC00000), fstl_ST0=store("dd5c24f0", _INT64, 0xFFF8 << 48),
     fisttl_ST0=store("db4c24f0", _INT32, 1 << 31), fisttll_ST0=store("dd4c24f0", _INT64, 1 << 63))
_add(f"4883ec08 {REGISTER}", fist_ST0=store("df5c24f0", _INT16, 1 << 15), fistt_ST0=store("df4c24f0", _INT16, 1 << 15))
_add("55 488d9708030000 53 4889fb 4883ec08",
     fistl_ST0=store("db5c24f0", _INT32, 1 << 31), fistll_ST0=store("df7c24f0", _INT64, 1 << 63))
_add("4156 488d9708030000 4155 4989f5", fbst_ST0=numeric(
    LOAD0 + "df7424e0", "", after=BCD, empty=indefinite("rsp - 0x20")))
_add("53 8b9f5c020000 4889d8 48c1e004", fsqrt=numeric(LOAD0 + "d9fa", STORE0))
_add("53 8b9f5c020000 488d9708030000", frndint=numeric(LOAD0 + "d9fc", STORE0))
_add("4154 55 53 8b875c020000 4889fb",
     f2xm1=numeric(LOAD0 + "d9f0", STORE0), fptan=numeric(ANEW + LOAD0 + "d9f2", TWO, "new", 0x600),
     fsin=numeric(ANEW + LOAD0 + "d9fe", STORE0, conditions=0x600),
     fcos=numeric(ANEW + LOAD0 + "d9ff", STORE0, conditions=0x600))
_add("4154 53 4889fb 4883ec08 8bb75c020000", fscale=numeric(LOAD1 + LOAD0 + "d9fd", STORE0 + DROP, "st1"))
_add("4155 4154 55 53 4889fb 4c8da308030000", fprem=numeric(ANEW + LOAD1 + LOAD0 + "d9f8", STORE0 + DROP, "st1", CONDITIONS),
     fprem1=numeric(ANEW + LOAD1 + LOAD0 + "d9f5", STORE0 + DROP, "st1", CONDITIONS),
     fsincos=numeric(ANEW + LOAD0 + "d9fb", TWO, "new", 0x600))
_add("4154 55 53 4889fb 4c8da308030000", **{name: numeric(LOAD1 + LOAD0 + core, STORE1, "st1", after=POPPED)
                                           for name, core in {"fyl2x": "d9f1", "fyl2xp1": "d9f9", "fpatan": "d9f3"}.items()})
_add("4155 488db708030000 4154 55 53", fxtract=numeric(LOAD0 + "d9f4", code(STORE1 + STORE0) + PUSHED, "new"))
_add("8b8f5c020000 488d4127 48c1e004", fxam_ST0=numeric(LOAD0 + "d9e5", DROP, conditions=CONDITIONS, empty="original"))
_add("8b875c020000 48c1e004 4801c7", fldl2t_ST0=constant("d9e9"), fldl2e_ST0=constant("d9ea"), fldpi_ST0=constant("d9eb"),
     fldlg2_ST0=constant("d9ec"), fldln2_ST0=constant("d9ed"))
_add("8b875c020000 83e801 83e007 89875c020000", fpush=pushes(
    "jmp foreign", f"mov [rdi + {FPSTT:#x}], r10d\n mov byte ptr [rdi + r10 + {FPTAGS:#x}], 0x0\n ret"))
_NTH = f"{NTH.replace('r10d', 'r9d')}\n mov byte ptr [rdi + r9 + {FPTAGS:#x}], 0x0"
_add("8b875c020000 03b75c020000 83e607", fmov_STN_ST0=wants(
    f"{TOP}\n {_NTH}", f"mov r8d, r9d\n {POINT}", quick=copy(f"mov r8d, r9d\n {POINT}")))
_add("03b75c020000 8b875c020000 83e607", fmov_ST0_STN=wants(NTH, AT_TOP, quick=copy(AT_TOP)))
_FT0 = f"lea r8, [rdi + {FT0:#x}]"
_add("03b75c020000 83e607 48c1e604", fmov_FT0_STN=wants(NTH, _FT0, quick=copy(_FT0)))
_add("8b875c020000 8b975c020000 01f0", fxchg_ST0_STN=waiting())
_add("8b875c020000 4883c027 48c1e004", fchs_ST0=wants(TOP, AT_TOP, VALID), fabs_ST0=wants(TOP, AT_TOP, VALID))
