"""CMPXCHG of 32 bits (SDM vol. 2A): only the destination or the accumulator is written, and what is not keeps its upper half.

The library writes both: EAX when the comparison holds, which clears bits 63-32 of RAX, and a destination register when it
does not.  Here its translator gets, for 32-bit operands, conditional moves in place of these writes.

Not modelled: in a build of the library that we do not know, nothing of this is changed.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn.layout import CPU_ENV, CPU_OPAQUE, symbol

TCG_REGS = 0x9998               # of TCGContext: the TCGv of each general register
I64, EQUAL, MO_32 = 1, 8, 2     # TCG_TYPE_I64, TCG_COND_EQ, MO_32
MEMORY = bytes.fromhex("4c89e1 31d2 4489fe 4889df e80d16ffff")
REGISTER = bytes.fromhex("488b3c24 4c89e1 31d2 4489fe e8f499feff")


def _call(name: str) -> str:
    return f"""
        mov rax, {symbol(name):#x}
        call rax
    """


def _widened(value: str, moves: str) -> str:
    """`moves` with RBX = TCGContext, RBP = a temporary with the lower half of `value`; then on behind CMPXCHG's writes.

    In the decoder's frame R12, R13 and R14 are the old value, the accumulator and the new value, R15D is the operands' size;
    on top lie DisasContext, env and TCGContext.
    """
    return f"""
        mov rdi, [rsp + 0x8]
        cmp qword ptr [rdi + {CPU_OPAQUE - CPU_ENV:#x}], 0x0
        je usual
        cmp r15d, {MO_32:#x}
        jne usual
        push rbp
        push rbx
        mov rcx, rbx
        mov rbx, [rsp + 0x20]
        sub rsp, 0x8
        push rcx
        mov rdi, rbx
        mov esi, {I64:#x}
        xor edx, edx
        {_call("tcg_temp_new_internal_x86_64")}
        sub rax, rbx
        mov rbp, rax
        mov rdi, rbx
        mov rsi, rbp
        mov rdx, {value}
        {_call("tcg_gen_ext32u_i64_x86_64")}
        {moves}
        mov rdi, rbx
        lea rsi, [rbx + rbp]
        {_call("tcg_temp_free_internal_x86_64")}
        add rsp, 0x10
        pop rbx
        pop rbp
        mov r11, {symbol("cmpxchg_memory") + len(MEMORY):#x}
        jmp r11
    usual:
    """


def _move(where: str, accumulator: str, equal: str, other: str) -> str:
    """The register whose TCGv is at `where` := old value = `accumulator` ? `equal` : `other`."""
    return f"""
        mov rdx, {where}
        sub rsp, 0x8
        push {other}
        mov rdi, rbx
        mov esi, {EQUAL:#x}
        mov rcx, r12
        mov r8, {accumulator}
        mov r9, {equal}
        {_call("tcg_gen_movcond_i64_x86_64")}
        add rsp, 0x10
    """


def _accumulator(accumulator: str) -> str:
    return _move(f"[rbx + {TCG_REGS:#x}]", accumulator, "rdx", "r12")


def with_memory(_: int) -> str:
    """Where EAX gets the old value.  With LOCK the accumulator is all of RAX."""
    return f"""
        {_widened("r13", _accumulator("rbp"))}
        mov rcx, r12
        xor edx, edx
        mov esi, r15d
        mov rdi, rbx
        {_call("gen_op_mov_reg_v")}
        mov r11, {symbol("cmpxchg_memory") + len(MEMORY):#x}
        jmp r11
    """


def with_register(_: int) -> str:
    """Where EAX gets the old value, and then the destination, whose number is in EBX, the new one."""
    destination = f"""
        mov eax, [rsp]
        {_move(f"[rbx + rax * 8 + {TCG_REGS:#x}]", "r13", "rbp", "rdx")}
    """
    return f"""
        {_widened("r14", _accumulator("r13") + destination)}
        mov rdi, [rsp]
        mov rcx, r12
        xor edx, edx
        mov esi, r15d
        {_call("gen_op_mov_reg_v")}
        mov r11, {symbol("cmpxchg_register") + len(REGISTER):#x}
        jmp r11
    """


# Both entries end in a relative call, so their trampolines are not used.
ENTRIES: dict[str, tuple[bytes, Callable[[int], str]]] = {
    "cmpxchg_memory": (MEMORY, with_memory), "cmpxchg_register": (REGISTER, with_register)}
