"""A memory image of 256 KiB in which a random program runs: the same bytes on our engine and on QEMU.

The processor enters at ENTRY in flat 32-bit protected mode.  A preamble switches to paged 32-bit or to long mode, loads every
register, and enters the program in its ring.  Handlers log each exception; a page of DEMAND is mapped and tried again, any
other fault goes on with the next statement.  INT 30h ends the program: all of its state is written to memory, its registers
and flags are loaded once more, and the processor jumps to the address at EXIT.  So a program's outcome is in memory, and
what can be seen there in the registers is in them as well.
"""

from __future__ import annotations

import functools
import random
import struct
from dataclasses import dataclass

from emu.assembler import assemble
from emu.x86 import Gate, Segment, encode_gate, encode_segment, pushes_error_code

SIZE = 0x40000
GDT, TSS, IDT, HANDLERS, ENTRY, LEAVE, LEAVE_STACK, HALT = 0x1000, 0x1800, 0x2000, 0x3000, 0x4000, 0x4C00, 0x6000, 0x4F80
RESULT, FX_RESULT, FX_START, START, EXIT, LOGGED, DONE = 0x5000, 0x5200, 0x5400, 0x5600, 0x5800, 0x5804, 0x5808
TABLES, LOG, STATEMENTS, KERNEL_STACK = 0x6000, 0xB000, 0xD000, 0xF000
CODE, ROUTINES, STACK, CELLS, RESUME = 0x10000, 0x14000, 0x1A000, 0x1C000, 0x1CFF8
DATA, BASE, DEMAND, READ_ONLY, KERNEL_ONLY, END = 0x20000, 0x24000, 0x28000, 0x30000, 0x34000, 0x36000
ALIAS = 0x200000                    # linear: memory from CODE to DEMAND once more
LOG_ENTRIES = 200
VECTORS = 0x34                      # 30h ends; 31h to 33h are only logged
CODE32, CODE64, FLAT, USER32, USER64, TASK, BASED = 0x08, 0x10, 0x1B, 0x23, 0x2B, 0x30, 0x43
SHOWN = 0xCD7                       # CF PF AF ZF SF DF OF
BASED_AT = 0x1000                   # the base of the segment BASED


@dataclass(frozen=True)
class Start:
    """What a program begins with."""

    bits: int                       # 32 or 64
    ring: int                       # 0 or 3
    seed: int                       # of the registers and the memory
    mxcsr: int = 0x1F80
    protect: bool = True            # CR0.WP
    portable: bool = False          # only what every version of QEMU's translator does alike: see qemu.py

    @property
    def prefix(self) -> str:
        return "r" if self.bits == 64 else "e"


SINGLES = [0, 1 << 31, 0x3F800000, 0xBF800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC12345, 0x7F812345, 1, 0x807FFFFF,
           0x00800000, 0x7F7FFFFF, 0x33800000, 0x4B000001, 0xCF000000]
DOUBLES = [0, 1 << 63, 0x3FF << 52, 0xBFF << 52, 0x7FF << 52, 0xFFF << 52, 0x7FF8 << 48, 0xFFF8000000012345,
           0x7FF0000000012345, 1, 0x800FFFFFFFFFFFFF, 1 << 52, 0x7FEFFFFFFFFFFFFF, 0x3CA0000000000000,
           0x4330000000000001, 0xC3E0000000000000]


def image(start: Start, code: bytes, statements: list[int], leave: int = HALT) -> bytearray:
    """The memory at entry; `statements` are the addresses of all statements, `leave` goes to EXIT."""
    world = bytearray(_fixed(start.bits))
    rng = random.Random(start.seed)
    world[DATA:END] = rng.randbytes(END - DATA)
    for i in range(0, 0x1000, 256):                         # a quarter of a page of special numbers, then random ones
        world[BASE - 0x800 + i:BASE - 0x800 + i + 64] = struct.pack("<16I", *rng.sample(SINGLES, 16))
        world[BASE - 0x800 + i + 64:BASE - 0x800 + i + 192] = struct.pack("<16Q", *rng.sample(DOUBLES, 16))
    fx = bytearray(512)
    struct.pack_into("<H", fx, 0, rng.choice([0x37F, 0x37F, 0x27F, 0x07F, 0xF7F, 0xB7F, 0x77F]))
    struct.pack_into("<II", fx, 24, start.mxcsr, 0xFFFF)
    for at in range(160, 160 + 256, 16):
        fx[at:at + 16] = rng.choice([rng.randbytes(16), struct.pack("<4I", *rng.sample(SINGLES, 4)),
                                     struct.pack("<2Q", *rng.sample(DOUBLES, 2))])
    world[FX_START:FX_START + 512] = fx
    registers = [rng.choice([rng.getrandbits(64), rng.getrandbits(8), rng.getrandbits(31), 0, 2**64 - 1]) for _ in range(16)]
    registers[5] = BASE
    flags = rng.choice([0x2, 0x3, 0x8D7, 0x47, 0x93])
    selector = {(32, 0): CODE32, (64, 0): CODE64, (32, 3): USER32, (64, 3): USER64}[start.bits, start.ring]
    size = start.bits // 8
    frame = [CODE, selector, flags, STACK, FLAT if start.ring else 0]
    if start.bits == 32 and start.ring == 0:
        frame = frame[:3]
    words = [*registers[:4], *registers[5:8], *(registers[8:] if size == 8 else []), *frame]
    mask = (1 << start.bits) - 1
    world[START:START + size * len(words)] = b"".join((word & mask).to_bytes(size, "little") for word in words)
    world[CODE:CODE + len(code)] = code
    struct.pack_into(f"<{len(statements) + 1}I", world, STATEMENTS, *statements, 0xFFFFFFFF)
    struct.pack_into("<I", world, EXIT, leave)
    struct.pack_into("<I", world, EXIT + 12, 0x10000 if start.protect else 0)
    return world


@functools.cache
def _fixed(bits: int) -> bytes:
    """What is the same for every program."""
    world = bytearray(SIZE)

    def put(address: int, data: bytes) -> None:
        assert not any(world[address:address + len(data)])
        world[address:address + len(data)] = data

    code = CODE64 if bits == 64 else CODE32
    for selector, attributes, base in ((CODE32, 0xC09B, 0), (CODE64, 0xA09B, 0), (FLAT, 0xC0F3, 0), (USER32, 0xC0FB, 0),
                                       (USER64, 0xA0FB, 0), (BASED, 0xC0F3, BASED_AT)):
        put(GDT + (selector & ~7), encode_segment(Segment(0, base, 0xFFFFFFFF, attributes)))
    put(GDT + TASK, encode_segment(Segment(0, TSS, 0x67, 0x89), wide=bits == 64))
    put(TSS + 4, struct.pack("<Q", KERNEL_STACK) if bits == 64 else struct.pack("<II", KERNEL_STACK, 0x48))
    put(GDT + 0x48, encode_segment(Segment(0, 0, 0xFFFFFFFF, 0xC093)))
    put(TSS + 0x66, struct.pack("<H", 0xFFFF))
    common = HANDLERS + 16 * VECTORS
    for vector in range(VECTORS):
        dpl = 3 if vector in (3, 4) or vector >= 0x30 else 0
        gate = encode_gate(Gate("interrupt", bits, code, HANDLERS + 16 * vector, dpl))
        put(IDT + len(gate) * vector, gate)
        stub = (b"" if pushes_error_code(vector) else b"\x6A\0") + bytes((0x6A, vector, 0xE9))
        put(HANDLERS + 16 * vector, stub + struct.pack("<i", common - (HANDLERS + 16 * vector + len(stub) + 4)))
    put(common, assemble(_handler(bits), common, bits))
    put(ENTRY, assemble(_preamble(bits), ENTRY, 32))
    put(LEAVE, assemble(_leave(bits), LEAVE, bits))
    put(HALT, b"\xFA\xF4")
    _pages(put, bits)
    for offset, source in ROUTINE_CODE.items():
        put(ROUTINES + offset, assemble(source, ROUTINES + offset, bits))
    return bytes(world)


def _pages(put, bits: int) -> None:
    size = bits // 8
    if bits == 32:
        put(TABLES, struct.pack("<I", TABLES + 0x1007))
    else:
        for at, to in ((0, 0x1007), (0x1000, 0x2007), (0x2000, 0x3007), (0x2008, 0x4007)):
            put(TABLES + at, struct.pack("<Q", TABLES + to))
    for physical in range(0x1000, END, 0x1000):
        flags = 7 if physical >= CODE else 3
        if physical >= KERNEL_ONLY:
            flags = 3
        elif physical >= READ_ONLY:
            flags = 5
        if not DEMAND <= physical < READ_ONLY:
            put(entry(bits, physical), (physical | flags).to_bytes(size, "little"))
        if CODE <= physical < DEMAND:
            put(entry(bits, ALIAS + physical), (physical | 7).to_bytes(size, "little"))


def entry(bits: int, linear: int) -> int:
    """The address of a page's entry."""
    return TABLES + 0x3000 + 8 * (linear >> 12) if bits == 64 else TABLES + 0x1000 + 4 * (linear >> 12)


# Routines that programs call and patch, by their offset from ROUTINES; the flags and EAX, ECX, EDX are theirs.
ROUTINE_CODE = {
    0x00: "mov eax, 1; ret",
    0x20: "xor eax, eax; cmp cl, 3; .byte 0x72, 2; inc eax; inc eax; inc eax; inc eax; ret",     # jb over one INC EAX
    0x40: "add eax, 0x11111111; ret",
    0x60: "nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; ret",
    0x80: "lea edx, [ecx + ecx * 2 + 5]; rol eax, 3; ret",
    0xA0: "test al, 1; .byte 0x74, 1; ret; not eax; ret",
    0xFFD: "mov eax, 0x01020304; ret",                          # across two pages
    0x1FFE: "cmp ecx, 5; .byte 0x72, 3; add eax, 7; ret",       # a conditional jump at the start of a page
}


def _handler(bits: int) -> str:
    r, w = ("r", 8) if bits == 64 else ("e", 4)
    push = "; ".join(f"push {r}{x}" for x in ("ax", "cx", "dx", "bx", "si", "di"))
    pop = "; ".join(f"pop {r}{x}" for x in ("di", "si", "bx", "dx", "cx", "ax"))
    word = "qword" if bits == 64 else "dword"
    saved = "; ".join(f"mov [rbx + {8 * i}], r{i}" for i in range(8, 16)) if bits == 64 else ""
    popped = "; ".join(f"pop {word} ptr [{r}bx + {8 * i}]" for i in (7, 6, 3, 2, 1, 0))
    sp = f"mov {r}cx, [{r}sp + {5 * w}]" if bits == 64 else f"""
            lea ecx, [esp + {5 * w}]
            test byte ptr [esp + {3 * w}], 3
            je same_ring
            mov ecx, [esp + {5 * w}]
        same_ring:"""
    return f"""
        {push}
        cld
        mov ebx, {RESULT}
        mov eax, [{r}sp + {6 * w}]
        cmp eax, 0x30
        je finish
        mov ecx, [{r}bx + {LOGGED - RESULT}]
        cmp ecx, {LOG_ENTRIES}
        jae finish
        inc dword ptr [{r}bx + {LOGGED - RESULT}]
        shl ecx, 5
        mov [{r}cx + {LOG}], eax
        mov edx, [{r}sp + {7 * w}]
        mov [{r}cx + {LOG + 4}], edx
        mov {r}dx, [{r}sp + {8 * w}]
        mov [{r}cx + {LOG + 8}], {r}dx
        mov {r}dx, cr2
        mov [{r}cx + {LOG + 16}], {r}dx
        mov {r}dx, [{r}sp + {10 * w}]
        mov [{r}cx + {LOG + 24}], {r}dx
        mov esi, {CELLS}
        cmp dword ptr [{r}si + {RESUME - CELLS}], 0
        jne known
        cmp eax, 0x31
        jae resume
        cmp eax, 1
        je resume
        cmp eax, 3
        je resume
        cmp eax, 4
        je resume
        cmp eax, 14
        jne skip
        mov {r}dx, cr2
        test byte ptr [{r}sp + {7 * w}], 1
        jne skip
        cmp {r}dx, {DEMAND}
        jb skip
        cmp {r}dx, {READ_ONLY}
        jae skip
        mov ecx, edx
        and ecx, 0xfffff000
        shr edx, 12
        or ecx, 7
        mov [{r}dx * {w} + {entry(bits, 0)}], ecx
        jmp resume
    known:
        mov ecx, [{r}si + {RESUME - CELLS}]
        mov dword ptr [{r}si + {RESUME - CELLS}], 0
        mov [{r}sp + {8 * w}], {r}cx
        jmp resume
    skip:
        mov {r}dx, [{r}sp + {8 * w}]
        mov eax, edx
        and eax, {ALIAS - 1}
        and edx, {ALIAS}
        mov ecx, {STATEMENTS}
    again:
        mov esi, [{r}cx]
        add ecx, 4
        cmp esi, eax
        jbe again
        cmp esi, -1
        je finish
        or esi, edx
        mov [{r}sp + {8 * w}], {r}si
    resume:
        {pop}
        add {r}sp, {2 * w}
        iret{"q" if bits == 64 else "d"}
    finish:
        {popped}
        mov [{r}bx + 40], {r}bp
        {saved}
        {sp}
        mov [{r}bx + 32], {r}cx
        mov {r}cx, [{r}sp + {2 * w}]
        mov [{r}bx + 128], {r}cx
        mov {r}cx, [{r}sp + {4 * w}]
        mov [{r}bx + 136], {r}cx
        mov ecx, ds
        mov [{r}bx + 144], cx
        mov ecx, es
        mov [{r}bx + 146], cx
        mov ecx, fs
        mov [{r}bx + 148], cx
        mov {r}cx, cr2
        mov [{r}bx + 152], {r}cx
        fxsave [{r}bx + {FX_RESULT - RESULT}]
        mov dword ptr [{r}bx + {DONE - RESULT}], 1
        mov ecx, [{r}bx + {EXIT - RESULT}]
        mov [{r}bx + {EXIT + 24 - RESULT}], {r}cx
        push {word} ptr [{r}bx + 136]
        and dword ptr [{r}sp], {SHOWN}
        popf{"q" if bits == 64 else "d"}
        mov {r}cx, [{r}bx + 8]
        mov {r}sp, [{r}bx + 32]
        mov {r}bx, [{r}bx + 24]
        .byte 0xFF, {"0x24, 0x25" if bits == 64 else "0x25"}        # jmp [EXIT + 24]
        .long {EXIT + 24}
    """


def _preamble(bits: int) -> str:
    r, w = ("r", 8) if bits == 64 else ("e", 4)
    names = ["ax", "cx", "dx", "bx", "bp", "si", "di"]
    loads = "; ".join(f"pop {r}{name}" for name in names)
    if bits == 64:
        loads += "; " + "; ".join(f"pop r{i}" for i in range(8, 16))
    return f"""
        mov esp, {START}
        .byte 0x0F, 0x01, 0x15                              # lgdt [gdt]
        .long gdt
        .byte 0x0F, 0x01, 0x1D                              # lidt [idt]
        .long idt
        mov eax, {0x620 if bits == 64 else 0x600}
        mov cr4, eax
        mov eax, {TABLES}
        mov cr3, eax
        xor eax, eax
        mov cr2, eax
        mov ecx, 0xC0000080
        xor edx, edx
        mov eax, {0x900 if bits == 64 else 0}
        wrmsr
        mov eax, 0x80000033
        or eax, [{EXIT + 12}]
        mov cr0, eax
        .byte 0xEA
        .long inside
        .short {CODE64 if bits == 64 else CODE32}
    gdt:
        .short 0x4F
        .long {GDT}
    idt:
        .short {VECTORS * 2 * w - 1}
        .long {IDT}
    inside:
        .code{bits}
        mov eax, {FLAT}
        mov ds, eax
        mov es, eax
        mov fs, eax
        mov gs, eax
        mov eax, 0x48
        mov ss, eax
        mov eax, {TASK}
        ltr ax
        xor eax, eax
        lldt ax
        fninit
        mov ebx, {FX_START}
        fxrstor [{r}bx]
        {loads}
        iret{"q" if bits == 64 else "d"}
    """


def _leave(bits: int) -> str:
    """Back to flat protected mode, and to the driver whose address is at EXIT + 16."""
    compat = f"mov esp, {LEAVE_STACK}; push {CODE32}; mov eax, out; push rax; retfq; out: .code32" if bits == 64 else ""
    return f"""
        {compat}
        mov ebx, [{EXIT + 16}]
        mov eax, 0x11
        mov cr0, eax
        mov ecx, 0xC0000080
        xor eax, eax
        xor edx, edx
        wrmsr
        jmp ebx
    """
