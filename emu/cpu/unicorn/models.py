"""The processor models of the library, and what of them this machine does not show."""

from __future__ import annotations

from unicorn import x86_const

from emu.cpu.unicorn import layout as at

MODELS = {
    name[len("UC_CPU_X86_"):].lower().replace("_", "-"): value
    for name, value in vars(x86_const).items() if name.startswith("UC_CPU_X86_") and not name.endswith("ENDING")
}

# CPUID bits that the translator offers and that this machine does not have, by word of env->features
HIDDEN = {
    0: 1 << 9,                      # 1.EDX APIC: there is none
    1: 1 << 3 | 1 << 30 | 1 << 31,  # 1.ECX MONITOR; RDRAND: the host's random numbers; hypervisor: this is a PC
    2: 1 << 18,                     # 7.EBX RDSEED
    7: 1 << 2,                      # 80000001.ECX SVM
}
LONG_MODE = 6, 1 << 29              # 80000001.EDX LM: UC_MODE_64 sets it for every model
NO_LONG_MODE = {"qemu32", "kvm32", "coreduo", "486", "pentium", "pentium2", "pentium3", "athlon", "n270"}


def hide_features(env: int, model: str) -> None:
    """Clear those bits; before the first block is translated, for the translator looks at them, too."""
    hidden = dict(HIDDEN)
    if model in NO_LONG_MODE:
        hidden[LONG_MODE[0]] = LONG_MODE[1]
    for word, bits in hidden.items():
        address = env + at.FEATURES + 8 * word
        at.write_u64(address, at.read_u64(address) & ~bits)
