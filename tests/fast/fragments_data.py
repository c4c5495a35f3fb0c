"""Random pieces of programs: strings, SSE and x87, code that changes itself, faults, ports and time."""

from __future__ import annotations

from tests.fast import world
from tests.fast.fragments import POINTER, Draw, Fragment, define, statement

MXCSR = [0x1F80, 0x1F80, 0x1FA0, 0x1FC0, 0x9F80, 0x9FC0, 0x3F80, 0x5F80, 0x7F80, 0xFFE0]
CONVERSIONS = ["cvtps2pd", "cvtpd2ps", "cvtss2sd", "cvtsd2ss", "cvtdq2ps", "cvtps2dq", "cvttps2dq", "cvtdq2pd", "cvttpd2dq"]
INTEGERS = ["paddd", "psubb", "pmuludq", "pmaddwd", "pxor", "pandn", "pcmpgtd", "packsswb", "punpcklbw", "psadbw",
            "pavgb", "psllq"]
X87 = ["fadd st(0), st(1)", "fsub st(0), st(1)", "fmul st(0), st(1)", "fdiv st(0), st(1)", "fdivr st(0), st(1)", "fsqrt",
       "fchs", "fabs", "fxch st(1)", "fcomi st(0), st(1)", "fucomi st(0), st(1)"]
PORTABLE_MXCSR = [value for value in MXCSR if not value & 0x8000]


def string(d: Draw) -> list[str]:
    """REP MOVS, STOS, LODS, CMPS, SCAS and the single ones; overlapping, backward, across pages, into what is not there."""
    size = d.one(1, 1, 2, 4, d.word)
    name = d.one("movs", "movs", "movs", "stos", "stos", "lods", "cmps", "scas")
    count = d.one(0, 1, 2, 3, d.number_of(0, 40), d.number_of(0, 0x1800 // size), d.number_of(0, 0x4000 // size))
    down = d.chance(0.25)
    target, source = _place(d, down), _place(d, down)
    if d.chance(0.4):                               # overlapping, by a few bytes or elements
        source = target + d.number_of(-20, 20) * d.one(1, size)
    repeat = d.one("rep ", "rep ", "rep ", "") if name in ("movs", "stos", "lods") else d.one("repe ", "repne ", "")
    lines = [f"mov {d.r}di, {target:#x}", f"mov {d.r}si, {source:#x}", f"mov ecx, {count}", "std" if down else "cld"]
    if name == "lods" and not repeat:
        count = 1
    if d.chance(0.5):
        lines.append(f"mov eax, {d.random.getrandbits(32):#x}")
    prefix = b""
    if d.chance(0.12) and d.bits == 64:
        prefix = b"\x67"                            # 32-bit addresses
    elif d.chance(0.1):
        prefix = bytes((d.one(0x64, 0x65, 0x2E, 0x36),))
    body = encode(repeat, name, size, prefix)
    if d.bits == 32 and d.chance(0.15) and name in ("movs", "stos"):
        return [*lines, "mov ebx, es", "push ebx", f"mov ebx, {world.BASED:#x}", "mov es, ebx", body,
                "pop ebx", "mov es, ebx", "cld", *define(d)]
    lines.append(body)
    if d.chance(0.3):
        top, cell = d.label(), d.cell()
        lines = [f"mov {cell}, {d.number_of(2, 6)}", f"{top}:", *lines, f"dec {cell}", f"jnz {top}"]
    return [*lines, "cld", *(define(d) if d.chance(0.5) else [])]


STRINGS = {"movs": 0xA4, "cmps": 0xA6, "stos": 0xAA, "lods": 0xAC, "scas": 0xAE}
REPEATS = {"": b"", "rep ": b"\xF3", "repe ": b"\xF3", "repne ": b"\xF2"}


def encode(repeat: str, name: str, size: int, prefix: bytes = b"") -> str:
    """A string instruction in bytes: keystone knows no MOVSD but that of SSE."""
    code = prefix + (b"\x66" if size == 2 else b"") + REPEATS[repeat] + (b"\x48" if size == 8 else b"")
    return ".byte " + ", ".join(f"{byte:#x}" for byte in (*code, STRINGS[name] | (size > 1)))


def _place(d: Draw, down: bool) -> int:
    """An address: in the data, at a page's end, in pages that come when they are asked for, at the edge of what there is."""
    way = d.number_of(0, 9)
    if way <= 4:
        return world.DATA + d.number_of(0x800, 0x7000)
    if way == 5:
        return world.DATA + 0x1000 * d.number_of(1, 7) - d.number_of(0, 20)
    if way == 6:
        return world.DEMAND + d.number_of(-0x40, 0x7000)
    if way == 7:
        return d.one(world.READ_ONLY, world.KERNEL_ONLY, world.END) + d.number_of(-0x40, 0x20)
    if way == 8:
        return world.ALIAS + world.DATA + d.number_of(0, 0x7000)
    return world.ROUTINES + d.number_of(0x200, 0xF00)           # beside code: the page is watched


def beside(d: Draw) -> list[str]:
    """Loads and stores one beside the other, from one register that may move in between."""
    base, block = d.register(d.word), d.label()             # in the same block the address would be a constant
    d.fixed.add(base[-2:])
    lines = [f"mov {base}, {_place(d, False):#x}", f"jmp {block}", f"{block}:"]
    for _ in range(d.number_of(2, 9)):
        size, way = d.size(), d.number_of(0, 9)
        at = f"{POINTER[size]} ptr [{base} + {d.one(0, 4, 8, d.number_of(0, 24), d.number_of(-16, 80))}]"
        if way == 0:
            lines.append(d.one(f"add {base}, {d.number_of(-16, 32)}", f"lea {base}, [{base} + {d.number_of(0, 16)}]"))
        elif way == 1:
            lines.append(f"{d.one('add', 'xor')} {at}, {d.number_of(0, 100)}")
        else:
            register = d.register(size)
            lines.append(f"mov {register}, {at}" if way < 6 else f"mov {at}, {register}")
    return lines


def rewrite(d: Draw) -> list[str]:
    """Strings written over code: the same bytes, or other instructions of one byte."""
    base = d.one(0, world.ALIAS)
    if d.chance(0.4):
        at = world.ROUTINES + d.one(0, 0x20, 0xF80)
        return [f"mov {d.r}si, {at + d.one(0, world.ALIAS):#x}", f"mov {d.r}di, {base + at:#x}",
                f"mov ecx, {d.number_of(1, 0x40)}", "cld", encode("rep ", "movs", d.one(1, 4)), *_call(d, 0x20)]
    byte = d.one(0x90, 0xF8, 0xF9, 0xF5, 0x98, 0x99)
    target = base + world.ROUTINES + 0x60 + d.number_of(0, 4)
    return [*_call(d, 0x60), f"mov {d.r}di, {target:#x}", f"mov eax, {byte * 0x01010101:#x}",
            f"mov ecx, {d.number_of(0, 12)}", "cld", encode("rep ", "stos", 1), *_call(d, 0x60)]


def _call(d: Draw, routine: int) -> list[str]:
    return [f"mov edx, {world.ROUTINES + routine + d.one(0, 0, world.ALIAS):#x}", f"call {d.r}dx"]


def ahead(d: Draw) -> list[str]:
    """An immediate changes just ahead of where the processor is, in the block that runs."""
    at, base = d.label(), d.one(0, 0, world.ALIAS)
    d.fixed.add("bx")
    lines = [f"mov {d.r}bx, {at}", *([f"add {d.r}bx, {base:#x}"] if base else []), *statement(d),
             f"mov dword ptr [{d.r}bx + 1], {d.random.getrandbits(31):#x}"]
    lines += ["nop"] * d.number_of(0, 2)
    return [*lines, f"{at}:", ".byte 0xB8, 1, 2, 3, 4", f"xor [{d.r}bp - 0x100], eax"]


def patch(d: Draw) -> list[str]:
    """An immediate or a conditional jump's target changes, between calls in a loop."""
    way = d.number_of(1, 4)
    base = d.one(0, 0, world.ALIAS)
    top, cell = d.label(), d.cell()
    routine, change = {
        1: (0x00, f"add dword ptr [{d.r}bx + 1], {d.number_of(1, 1 << 20)}"),
        2: (0x20, f"xor byte ptr [{d.r}bx + 6], 2"),                    # how far the jump goes
        3: (0xA0, f"xor byte ptr [{d.r}bx + 2], 1"),                    # JE, JNE
        4: (0xFFD, f"inc byte ptr [{d.r}bx + {d.one(1, 2, 3, 4)}]"),    # across two pages
    }[way]
    lines = [f"mov {cell}, {d.number_of(2, 40)}", f"{top}:", f"mov ecx, {cell}", "and ecx, 7", *_call(d, routine),
             f"add [{d.r}bp - 0x80], eax", f"mov ebx, {base + world.ROUTINES + routine:#x}", change]
    return [*lines, f"dec {cell}", f"jnz {top}"]


def sse(d: Draw) -> list[str]:
    """Packed and scalar arithmetic on special and on random numbers, with any rounding, FTZ and DAZ."""
    top = 15 if d.bits == 64 else 7

    def x() -> str:
        return f"xmm{d.number_of(0, top)}"

    def special() -> str:
        at = 256 * d.number_of(0, 15) + 16 * d.number_of(0, 11) - 0x800
        return f"xmmword ptr [{d.r}bp {'-' if at < 0 else '+'} {abs(at):#x}]"

    lines = []
    if d.chance(0.4):
        at = d.address()
        value = d.random.choice(PORTABLE_MXCSR if d.start.portable else MXCSR)
        lines += [f"mov dword ptr [{at}], {value:#x}", f"ldmxcsr dword ptr [{at}]"]
    for _ in range(d.number_of(2, 6)):
        kind, t = d.number_of(0, 9), d.one("ps", "ss", "pd", "sd")
        if d.chance(0.4):
            lines.append(f"movups {x()}, {special()}")
        if kind <= 4:
            lines.append(f"{d.one('add', 'sub', 'mul', 'div', 'div', 'min', 'max', 'sqrt')}{t} {x()}, {x()}")
        elif kind == 5:
            lines.append(f"{d.one('add', 'sub', 'mul', 'div')}{t} {x()}, {special() if t[0] == 'p' else x()}")
        elif kind == 6:
            lines.append(d.one(f"cmp{t} {x()}, {x()}, {d.number_of(0, 7)}", f"shufps {x()}, {x()}, {d.number_of(0, 255)}",
                               f"unpcklpd {x()}, {x()}", f"movhlps {x()}, {x()}"))
        elif kind == 7:
            lines.append(f"{d.one('ucomiss', 'ucomisd', 'comiss', 'comisd')} {x()}, {x()}")
            lines.append(f"set{d.condition()} byte ptr [{d.address()}]")
        elif kind == 8:
            name = d.random.choice(CONVERSIONS)
            lines.append(d.one(f"{name} {x()}, {x()}", f"cvttsd2si {d.register(4)}, {x()}",
                               f"cvtss2si {d.register(4)}, {x()}",
                               f"cvtsi2sd {x()}, {d.register(4)}", f"movmskps {d.register(4)}, {x()}"))
        else:
            lines.append(f"{d.random.choice(INTEGERS)} {x()}, {x()}")
    lines.append(f"movups xmmword ptr [{d.address()}], {x()}")
    at = d.address()
    return [*lines, f"stmxcsr dword ptr [{at}]", f"and byte ptr [{at}], 0xfd"]      # without DE


def x87(d: Draw) -> list[str]:
    """The stack of the x87: loads, arithmetic, stores, comparisons, in any rounding and precision."""
    lines = ["fninit"]
    if d.chance(0.5):
        at = d.address()
        lines += [f"mov word ptr [{at}], {d.one(0x37F, 0x27F, 0x07F, 0xF7F, 0xB7F, 0x77F):#x}", f"fldcw word ptr [{at}]"]
    depth = 0
    for _ in range(d.number_of(4, 10)):
        if depth < 2 or (d.chance(0.25) and depth < 7):
            lines.append(d.one("fld1", "fldz", f"fild dword ptr [{d.address()}]", f"fild qword ptr [{d.address()}]",
                               *([f"fild word ptr [{d.address()}]"] if d.start.portable else
                                 ["fldpi", "fldl2e", f"fld dword ptr [{d.r}bp - {d.number_of(0x780, 0x800):#x}]",
                                  f"fld qword ptr [{d.r}bp - {0x7C0 - 8 * d.number_of(0, 15):#x}]"])))
            depth += 1
        elif d.chance(0.3):
            name = d.one("fstp qword", "fstp dword", "fistp dword", "fistp qword", "fstp tbyte")
            lines.append(f"{name} ptr [{d.address()}]")
            depth -= 1
        else:
            lines.append(d.one(*X87, *([] if d.start.portable else ["frndint"]), f"fst qword ptr [{d.address()}]"))
    at = d.address()
    return [*lines, f"fnstsw word ptr [{at}]", f"and word ptr [{at}], 0x7900", *define(d)]


def fault(d: Draw) -> list[str]:
    """A fault in the middle of a block: a page that comes, one that does not, #DE, #UD, #GP."""
    way = d.number_of(0, 8)
    size = d.size()
    if way <= 2:
        at = world.DEMAND + d.number_of(0, 0x7FF0)
        if d.chance(0.3):
            at = at & -0x1000 | 0xFFC + d.number_of(0, 3)
        d.fixed.add("bx")
        name = d.one("add", "mov", "xor", "cmp", "adc")
        text = f"{name} {POINTER[size]} ptr [{d.r}bx], {d.register(size)}"
        return [f"mov {d.r}bx, {at:#x}", *statement(d), text, *statement(d)]
    if way == 3:
        at = d.one(world.READ_ONLY, world.KERNEL_ONLY, world.END, 0x10, 0x3FF000, 0x90000000) + d.number_of(0, 0xFFF)
        d.fixed.add("bx")
        return [f"mov {d.r}bx, {at:#x}", f"{d.one('inc', 'not')} {POINTER[size]} ptr [{d.r}bx]", *statement(d)]
    if way == 4:
        return ["ud2", *statement(d)]
    if way == 5:
        return ["xor ebx, ebx", f"div {d.one('bl', 'bx', 'ebx')}", *define(d)]
    if way == 6:
        back = d.label()
        where = d.one(world.END + 0x2000, 0x90000000 - 1, world.END + 0x123, 0x300)
        return [f"mov ecx, {back}", f"mov dword ptr [{d.absolute(world.RESUME)}], ecx", f"mov ecx, {where:#x}",
                f"jmp {d.r}cx", f"{back}:"]
    if way == 7 and d.bits == 64:
        return ["mov rbx, 0x7fffffffffff", "inc rbx", d.one("mov rax, [rbx]", "mov [rbx], rax", "add byte ptr [rbx + 8], 1")]
    if d.start.ring == 3:
        return [d.one("cli", "hlt", f"mov {d.r}ax, cr0", "lmsw ax", "in al, 0x71", "wbinvd")]
    return ["mov ebx, 0x158", "mov fs, ebx", "push " + d.r + "ax", f"pop {d.r}cx"]


def interrupt(d: Draw) -> list[str]:
    """Software interrupts, which only count; and single steps."""
    if d.chance(0.6):
        return [*statement(d), d.one("int 0x31", "int 0x32", "int 0x33", "int3"), *statement(d)]
    word, q = POINTER[d.word], "q" if d.bits == 64 else "d"
    step = [text for _ in range(2) for text in statement(d) if "push" not in text and "pop" not in text]
    if d.chance(0.4):
        step += [f"mov {d.r}di, {world.DATA + 0x1000:#x}", f"mov {d.r}si, {world.DATA + 0x1004:#x}", "mov ecx, 3",
                 encode("rep ", d.one("movs", "stos"), 1)]
    return ["cld", f"pushf{q}", f"or {word} ptr [{d.r}sp], 0x100", f"popf{q}", *step, f"pushf{q}",
            f"and {word} ptr [{d.r}sp], 0x8d5", f"popf{q}"]


def port(d: Draw) -> list[str]:
    """Ports that answer, and string input; not on QEMU, whose ports are other ones."""
    d.fixed |= {"dx", "di"}
    return [f"mov {d.r}di, {world.DATA + d.number_of(0, 0x6000):#x}", "cld",
            d.one("in al, 0x71", "out 0xE9, al", "in al, 0x33"), *statement(d),
            "mov edx, 0x170", f"mov ecx, {d.number_of(0, 5)}", ".byte 0x66, 0xF3, 0x6D",    # rep insw
            f"in eax, {d.number_of(0, 255)}"]


def time(d: Draw) -> list[str]:
    """The time-stamp counter; not on QEMU, whose time is another."""
    return ["rdtsc", *statement(d), f"add [{d.address()}], eax", "rdtsc", f"xor [{d.address()}], edx"]


DATA: dict[str, Fragment] = {
    "string": string, "string2": string, "rewrite": rewrite, "ahead": ahead, "patch": patch, "sse": sse, "sse2": sse,
    "x87": x87, "beside": beside, "beside2": beside, "fault": fault, "fault2": fault, "interrupt": interrupt,
}
OURS_ONLY: dict[str, Fragment] = {"port": port, "time": time}
