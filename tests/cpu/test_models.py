"""Every CPU model starts and says what it is; what this machine does not have is not advertised."""

from __future__ import annotations

import pytest

from emu.cpu.unicorn.models import MODELS, NO_LONG_MODE
from tests.cpu.guest import DATA, HALTED, LONG, PM32

APIC, MONITOR, RDRAND, HYPERVISOR, SVM, LM = 1 << 9, 1 << 3, 1 << 30, 1 << 31, 1 << 2, 1 << 29
CPUID = """
    mov edi, 0xA000
again:
    mov eax, [edi]
    cpuid
    mov [edi + 4], eax
    mov [edi + 8], ebx
    mov [edi + 12], ecx
    mov [edi + 16], edx
    add edi, 32
    cmp dword ptr [edi], 0xEEEEEEEE
    jne again
    hlt
"""


def cpuid(guest, model, *leaves):
    one = guest(PM32, CPUID, model=model)
    for i, leaf in enumerate((*leaves, 0xEEEEEEEE)):
        one.poke(DATA + 32 * i, leaf)
    assert one.run() in HALTED
    return [[one.peek(DATA + 32 * i + 4 * j) for j in range(1, 5)] for i in range(len(leaves))]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_runs_CPUID_and_hides_what_is_absent(guest, model):
    zero, one, seven, top, extended = cpuid(guest, model, 0, 1, 7, 0x80000000, 0x80000001)
    vendor = b"".join(zero[i].to_bytes(4, "little") for i in (1, 3, 2))
    assert vendor in (b"GenuineIntel", b"AuthenticAMD", b"HygonGenuine")
    assert not one[3] & APIC
    assert not one[2] & (MONITOR | RDRAND | HYPERVISOR)
    assert zero[0] < 7 or not seven[1] & 1 << 18
    if top[0] >= 0x80000001:
        assert not extended[2] & SVM
        assert bool(extended[3] & LM) == (model not in NO_LONG_MODE)


@pytest.mark.parametrize("model", ["qemu64", "haswell", "epyc", "core2duo", "phenom"])
def test_a_model_of_64_bits_runs_long_mode(guest, model):
    one = guest(LONG, "mov rax, 0x123456789ABCDEF0; .byte 0x0F, 0x0B", model=model)
    assert one.exception() == 6
    assert one.r.rax == 0x123456789ABCDEF0


@pytest.mark.parametrize("model", ["486", "pentium", "pentium3", "qemu32"])
def test_a_model_of_32_bits_cannot_set_LME(guest, model):
    one = guest(PM32, ".byte 0x0F, 0x30; hlt", model=model)
    one.r.rcx, one.r.rax, one.r.rdx = 0xC0000080, 0x100, 0
    one.run()
    assert not one.r.efer & 0x100


@pytest.mark.parametrize("model, source, vector", [
    ("486", ".byte 0x0F, 0x40, 0xC0", 6), ("pentium", ".byte 0x0F, 0x40, 0xC0", 6),
    ("pentium3", ".byte 0x0F, 0x40, 0xC0; ud2", 6), ("qemu64", ".byte 0x0F, 0xC7, 0xF0", 6),
    ("haswell", ".byte 0x0F, 0xC7, 0xF0", 6),
], ids=["486 CMOV", "Pentium CMOV", "Pentium III CMOV", "qemu64 RDRAND", "Haswell RDRAND"])
def test_an_instruction_that_a_model_lacks_is_UD(guest, model, source, vector):
    frame = guest(PM32, source, model=model).frame()
    assert (frame.vector, frame.ip) == (vector, 0x9000 + (3 if "ud2" in source else 0))
