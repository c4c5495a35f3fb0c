"""A build of the library that we do not know runs on the plain core, if every proof holds, and is refused if one fails."""

from __future__ import annotations

import ctypes
import random

import capstone
import pytest

from emu.cpu.unicorn import build, helpers, layout, stores
from emu.cpu.unicorn.prologue import JUMP, whole
from tests.cpu import builds

OTHER = bytes.fromhex(build.BUILD_ID), bytes.fromhex("c0ffee") + bytes(17)
HELLO = "-m", "emu", "boot", "hello"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """This very library with another build id: what is found must be what is known."""
    return builds.changed(tmp_path_factory.mktemp("other"), OTHER)


def test_another_build_runs_on_the_plain_core_and_says_so_once_with_v(other):
    quiet, verbose = builds.run(other, *HELLO), builds.run(other, *HELLO, "-v")
    assert quiet.returncode == verbose.returncode == 33
    assert "plain core" not in quiet.stderr
    assert verbose.stderr.count("the plain core runs") == 1 and "build c0ffee" in verbose.stderr
    assert quiet.stdout == verbose.stdout == builds.run(builds.PACKAGE.parent, *HELLO).stdout


def test_what_is_found_is_what_is_known(other):
    found = builds.run(other, "-c", "from emu.cpu.unicorn import build; print(build.KNOWN, build.places())")
    assert found.stdout.strip() == f"False {build.Places()}", found.stderr


def test_another_build_gives_the_same_run(other):
    source = ("from tests.fast.ours import run_ours; from tests.fast.programs import program; import hashlib\n"
              "for seed in range(12):\n"
              "    one = run_ours(program(seed).image(), 'all')\n"
              "    print(hashlib.sha256(one.memory).hexdigest(), one.now, one.counters, one.ports)")
    theirs = builds.run(other, "-c", source)
    assert theirs.returncode == 0, theirs.stderr
    assert theirs.stdout == builds.run(builds.PACKAGE.parent, "-c", source).stdout


@pytest.mark.parametrize("function, offset, reason", [
    ("x86_cpu_do_interrupt_x86_64", layout.CPU_ENV + layout.OLD_EXCEPTION, "x86_cpu_do_interrupt"),
    ("x86_cpu_set_a20_x86_64", layout.CPU_ENV + layout.A20_MASK, "x86_cpu_set_a20"),
    ("uc_emu_stop", build.Places().no_exit_request + 1, "no_exit_request"),
])
def test_a_build_whose_structures_have_moved_is_refused_with_one_line(tmp_path, function, offset, reason):
    """Eight bytes further, as if a field had come before it."""
    code = ctypes.string_at(layout.symbol(function), 0x60)
    moved = code.replace(offset.to_bytes(4, "little"), (offset + 8).to_bytes(4, "little"))
    assert moved != code
    done = builds.run(builds.changed(tmp_path, OTHER, (code, moved)), *HELLO)
    assert done.returncode == 2 and done.stdout == ""
    assert reason in done.stderr and "this needs unicorn 2.1.4" in done.stderr and done.stderr.count("\n") == 1


def test_an_entry_that_cannot_be_moved_is_refused_with_one_line(tmp_path):
    entry, _ = helpers.PATCHES["helper_ltr_x86_64"]                     # in this process it may be patched
    code = entry + ctypes.string_at(layout.symbol("helper_ltr_x86_64") + len(entry), 0x40)
    done = builds.run(builds.changed(tmp_path, OTHER, (code, b"\xE8" + code[1:])), *HELLO)         # a call
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "helper_ltr_x86_64 does not start as it should" in done.stderr


def test_a_library_without_a_build_id_is_another_build(tmp_path):
    path = tmp_path / "library"
    assert build.build_id(str(path)) == "unknown (No such file or directory)"
    path.write_bytes(b"\x7FELF")
    assert build.build_id(str(path)) == "unknown"


def test_every_proof_fails_for_an_offset_that_is_wrong():
    """The proofs of another build, on this one, in a process that has patched nothing."""
    done = builds.run(builds.PACKAGE.parent, "-c", """if True:
        from emu.cpu.unicorn import proofs
        def refused():
            proofs.check_library.cache_clear()
            try:
                proofs.check_library()
            except proofs.EngineError as error:
                return str(error)
        proofs.KNOWN = False
        assert not refused()
        for table in proofs.REGISTERS, proofs.TABLES, proofs.MSRS, proofs.MENTIONED:
            for name, offset in table.items():
                table[name] = offset + 8 if isinstance(offset, int) else (*offset[:-1], 0x12348)
                assert "not where they were (" in (refused() or ""), name
                table[name] = offset
        assert not refused()
    """)
    assert done.returncode == 0, done.stderr


# -- what a jump may overwrite

def test_the_entries_that_we_know_are_understood():
    for entry, _ in {**helpers.PATCHES, **stores.PATCHES}.values():
        assert whole(entry + b"\x90" * JUMP) >= JUMP
        assert whole(entry) in (0, len(entry))


@pytest.mark.parametrize("code", ["e800000000", "eb00", "7400", "c3", "488b0500000000", "ff2500000000", "0f05", "f4"])
def test_what_does_not_mean_the_same_elsewhere_is_not_understood(code):
    assert whole(bytes.fromhex(code) + b"\x90" * 20) == 0
    assert whole(b"\x55" + bytes.fromhex(code) + b"\x90" * 20) == 0


def test_lengths_are_those_of_a_disassembler():
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    rng, understood, usual = random.Random(1), 0, bytes.fromhex("48 41 55 89 8b 83 0f 66 81 24 b8 b6 4c")
    for _ in range(20_000):
        code = bytes(rng.choice((*usual, rng.randrange(256))) for _ in range(40))
        if length := whole(code):
            understood += 1
            ends, at = [], 0
            for instruction in disassembler.disasm(code, 0):
                at += instruction.size
                ends.append(at)
            assert length in ends or not ends or ends[-1] < length, code.hex()
    assert understood > 300
