"""Machines and foreign Unicorns in one process, what close gives back, and a library that is not ours."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
import textwrap

import pytest
import unicorn
from unicorn import x86_const

from emu.cpu.unicorn import layout
from emu.cpu.unicorn.build import exported
from emu.cpu.unicorn.engine import UnicornEngine
from emu.cpu.unicorn.helpers import PATCHES
from emu.engine import EngineError, Stop
from tests.cpu.guest import DATA, HALTED, LONG, PM32, Guest
from tests.cpu.test_slices import outcome, whole, work


def foreign() -> list[object]:
    """What a stock Unicorn does with a loop, hooks, `count`, a stop in a hook, SYSCALL and PUSHF."""
    code = bytes.fromhex("b90a000000 ffc0 ffc9 75fa 9c 58 f4")  # mov ecx, 10; inc eax; dec ecx; jnz; pushf; pop rax; hlt
    seen: list[object] = []
    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    uc.mem_map(0, 0x10000)
    uc.mem_write(0x1000, code + b"\x90" * 16 + bytes.fromhex("0f05 f4"))
    uc.reg_write(x86_const.UC_X86_REG_RSP, 0x8000)
    uc.hook_add(unicorn.UC_HOOK_BLOCK, lambda uc, address, size, data: seen.append(("block", address, size)))
    uc.emu_start(0x1000, 0x100E)
    seen.append(uc.reg_read(x86_const.UC_X86_REG_RAX))
    uc.emu_start(0x1000, 0x2000, count=7)
    seen.append((uc.reg_read(x86_const.UC_X86_REG_RIP), uc.reg_read(x86_const.UC_X86_REG_RAX)))
    uc.hook_add(unicorn.UC_HOOK_INSN, lambda uc, data: seen.append("syscall"), aux1=x86_const.UC_X86_INS_SYSCALL)
    uc.emu_start(0x101D, 0x101F)
    seen.append(uc.reg_read(x86_const.UC_X86_REG_RIP))
    uc.hook_add(unicorn.UC_HOOK_CODE, lambda uc, address, size, data: uc.emu_stop() if address == 0x1007 else None)
    uc.emu_start(0x1000, 0x2000)
    seen.append(uc.reg_read(x86_const.UC_X86_REG_RIP))
    return seen


def run_python(source: str) -> str:
    """A new process: the tests here keep an engine open, and the library patched."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(source)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def stock() -> str:
    return run_python("from tests.cpu.test_process import foreign; print(foreign())").strip()


def test_a_foreign_unicorn_behaves_as_stock_while_a_machine_is_open(guest):
    guest(PM32).run()
    assert repr(foreign()) == stock()


def test_a_foreign_unicorn_runs_between_the_slices_of_two_machines(guest):
    first, second = work(guest, PM32), work(guest, LONG)
    stops = [Stop.DUE, Stop.DUE]
    for _ in range(10):
        stops = [one.run(20_000) for one in (first, second)]
        assert repr(foreign()) == stock()
    while Stop.DUE in stops:
        stops = [one.run(7_000) for one in (first, second)]
    assert outcome(first)[1:4] == whole(guest, PM32)[1:4]
    assert outcome(second)[1:4] == whole(guest, LONG)[1:4]


def test_after_the_last_close_the_library_is_as_it_was():
    assert run_python("""
        import ctypes
        from tests.cpu.test_process import PATCHES, Guest, LONG, foreign, layout, symbol_bytes
        before, stock = symbol_bytes(), foreign()
        one, two = Guest(LONG), Guest(LONG)
        one.run(); two.run()
        assert symbol_bytes() != before
        one.engine.close()
        assert symbol_bytes() != before and foreign() == stock
        two.engine.close()
        assert symbol_bytes() == before and foreign() == stock
        three = Guest(LONG)
        three.run(); three.engine.close(); three.engine.close()
        assert symbol_bytes() == before and foreign() == stock
        print("as it was")
    """) == "as it was\n"


def symbol_bytes() -> list[bytes]:
    return [ctypes.string_at(layout.symbol(name), 64) for name in PATCHES if exported(name)]


def test_fifty_machines_opened_and_closed_leave_no_memory_behind():
    used = run_python("""
        import gc
        from pathlib import Path
        from tests.cpu.test_process import Guest, PM32
        def state():
            gc.collect()
            rss = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
            return rss, Path("/proc/self/maps").read_text().count("\\n")
        def one():
            guest = Guest(PM32, "mov eax, 1; hlt")
            guest.run()
            guest.ram.release()
            guest.rom.release()
            guest.engine.close()
        for _ in range(5): one()
        before = state()
        for _ in range(50): one()
        after = state()
        print(after[0] - before[0], after[1] - before[1])
    """).split()
    assert int(used[0]) < 50 * 300_000, f"{int(used[0]) / 50:.0f} bytes a machine"
    assert int(used[1]) < 10


def test_use_after_close_is_an_error_and_no_crash():
    calls = ("run()", "save()", "reset()", "intr(1)", "nmi(1)", "a20(0)", "now()", "due(5)", "stop()", "wrote(0, 4096)",
             "counters()", "registers().rax", "registers().rflags", "close()")
    assert run_python(f"""
        from emu.engine import EngineError
        from tests.cpu.guest import Guest
        for call in {calls}:
            guest = Guest("pm32")
            guest.run()
            guest.engine.close()
            try:
                eval("guest.engine." + call)
                assert call == "close()"
            except EngineError as error:
                assert "closed" in str(error)
            print(call)
    """).splitlines() == list(calls)


def test_structures_that_moved_are_refused_by_name(monkeypatch):
    monkeypatch.setattr(layout, "UC_STOP_INTERRUPT", layout.UC_STOP_INTERRUPT + 8)
    with pytest.raises(EngineError, match=r"stop_interrupt.*unicorn 2\.1\.4"):
        UnicornEngine(1 << 20)


def test_an_unknown_model_and_an_impossible_memory_are_refused():
    with pytest.raises(EngineError, match="no CPU model named pentium9"):
        UnicornEngine(1 << 20, "pentium9")
    with pytest.raises(EngineError, match="address space"):
        UnicornEngine(1 << 60)


def test_what_a_callback_raises_comes_out_of_run_and_the_machine_goes_on(guest: type[Guest]):
    one = guest(PM32, "out 0xE9, al; in al, 0x71; inc dword ptr [0xA000]; jmp next; next: hlt")
    one.on_in(0x71, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        one.run()
    assert one.run() in HALTED
    assert one.peek(DATA) == 1
