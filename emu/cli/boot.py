"""emu boot: from the options to a machine, through its run, to what is said and written at its end."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from emu import report, script, snapshot
from emu.boards.board import MIB, BadBoard, Board
from emu.boards.pc import START
from emu.cli import choose, explaining, recording
from emu.cli.options import UsageError
from emu.cli.session import Limits, Session
from emu.cli.signals import Signals
from emu.debug.halt import reachable
from emu.engine import Costs, EngineError
from emu.host.display import Display
from emu.host.files import check_writable
from emu.host.serial import Channel, Stdio, open_channel, open_sink
from emu.host.terminal import say

STATUS = {"until": 0, "script": 0, "left": 0, "poweroff": 0, "shutdown": 3, "halted": 3, "panic": 3,
          "timeout": 4, "host-timeout": 4, "error": 2}


def boot(options: argparse.Namespace, signals: Signals) -> int:
    """The whole command; returns the exit status."""
    steps = script.read(options.script) if options.script else None
    for option in ("save", "report"):
        _check_writable(option, getattr(options, option))
    for step in steps or ():
        if step.verb == "screenshot":
            _check_writable("script", step.words[0])
    line = _serial(options)
    recording.check(options)
    started = time.monotonic()
    machine = _restored(options) if options.restore else _built(options)
    with machine:
        began = machine.now
        for _, image in machine.drives.opened:
            image.on_trouble = say
        limits = Limits(options.until, steps, options.timeout, options.host_timeout)
        stop, failure, session, recorded = "error", None, None, recording.Recorded(None)
        answers = explaining.Answers(options, machine)
        try:
            both = options.debugcon == line == "stdio"
            with (_debug(None if both else options.debugcon) as debug, _channel(line, steps is not None, signals) as channel,
                  recording.recording(options, machine) as recorded, _display(options, machine) as display,
                  _flag_only(signals)):
                session = Session(machine, channel, limits, signals, _realtime(options), channel if both else debug, display,
                                  (recorded.poll, answers.poll), answers.panicked)
                with _frozen():
                    stop = session.run()
                recorded.ended(stop, answers.ended(stop))
        except KeyboardInterrupt:                       # while a client was waited for
            stop = _signal_name(signals)
        except EngineError as error:
            failure = str(error)
        with _flag_only(signals):                       # what is asked for is written, whatever comes now
            status = _status(stop, machine) or 2 * recorded.failed
            said = failure or _sentence(stop, machine, options, machine.now - began)
            answers.complete()
            status = _write(options, machine, stop, status, time.monotonic() - started, answers.report())
            status = _close_drives(machine, status)
            _tell(options, machine, said, session)
            answers.tell()
    return status


# -- before the run

def _check_writable(option: str, path: str | None) -> None:
    if path is not None:
        try:
            check_writable(path)
        except (OSError, ValueError) as error:          # ValueError: a NUL in the name
            raise UsageError(f"--{option} {path}: cannot be written: {getattr(error, 'strerror', None) or error}") from None


def _serial(options: argparse.Namespace) -> str:
    lines = options.serial or ["none" if options.display == "terminal" else "stdio"]
    if len(lines) > 1:
        raise UsageError("--serial is given twice; the machine has one serial line, COM1")
    if options.display == "terminal" and "stdio" in (lines[0], options.debugcon):
        raise UsageError("--display terminal: the terminal is the screen's, and cannot be the serial line's or the debug "
                         "console's, too")
    return str(lines[0])


def _realtime(options: argparse.Namespace) -> bool:
    if options.realtime is not None:
        return bool(options.realtime)
    terminal = sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
    return terminal and options.until is None and options.script is None


def _built(options: argparse.Namespace) -> Board:
    """A new machine with its kernel in, if it has one, and its drives."""
    what = choose.chosen(options)
    tiny = options.machine == "tiny"
    for given, name in ((options.rtc, "--rtc: the machine tiny has no real-time clock"),
                        (what.drives, f"{what.drives and what.drives[0].path}: the machine tiny has no drives"),
                        (options.firmware, "--firmware: the machine tiny has no place for it"),
                        (options.vga_bios, "--vga-bios: the machine tiny has no screen")):
        if tiny and given:
            raise UsageError(name)
    made = snapshot.Configuration(options.machine or "pc", options.memory or what.memory, options.cpu or "qemu64", Costs())
    if not tiny:
        firmware, vga_bios = choose.firmware(what, options)
        made = dataclasses.replace(made, rtc=options.rtc or START, firmware=firmware, vga_bios=vga_bios,
                                   boot=choose.order(what, options), menu=bool(options.boot and options.boot[1]),
                                   drives=tuple(what.drives))
    try:
        machine = made.build()
    except BadBoard as error:
        raise UsageError(str(error)) from None
    try:
        if what.kernel is not None:
            machine.load(what.kernel, initrd=what.initrd, append=what.append, name=what.name)
        elif what.initrd or what.append:
            raise UsageError(f"--{'initrd' if what.initrd else 'append'}: there is no kernel that it could be for")
    except BaseException:
        machine.close()
        raise
    return machine


def _restored(options: argparse.Namespace) -> Board:
    """A machine out of a snapshot; what an option says of it must be so."""
    for given, option in ((options.image, "IMAGE"), (options.kernel, "--kernel"), (options.initrd, "--initrd"),
                          (options.append, "--append"), (options.rtc, "--rtc"), (options.disk, "--disk"),
                          (options.cdrom, "--cdrom"), (options.floppy, "--floppy"), (options.overlay, "--overlay"),
                          (options.write or None, "--write"), (options.firmware, "--firmware"),
                          (options.vga_bios, "--vga-bios"), (options.boot, "--boot")):
        if given is not None:
            raise UsageError(f"--restore goes on with a machine that has been started: {option} cannot be given with it")
    machine = snapshot.load(options.restore)
    made = snapshot.configuration(machine)
    for option, wanted, got in (
        ("memory", options.memory and f"{options.memory // MIB}M", f"{made.memory // MIB}M"),
        ("cpu", options.cpu, made.cpu), ("machine", options.machine, made.machine),
    ):
        if wanted and wanted != got:
            machine.close()
            raise UsageError(f"--{option} {wanted}: the machine in {options.restore} has {got}")
    return machine


@contextlib.contextmanager
def _channel(line: str, scripted: bool, signals: Signals) -> Iterator[Channel]:
    # A script types, and nothing else: then the terminal stays as it is, and Ctrl-C is a signal
    channel = Stdio(-1) if scripted and line == "stdio" else open_channel(line, lambda: signals.caught is not None)
    try:
        yield channel
    finally:
        channel.close()


@contextlib.contextmanager
def _display(options: argparse.Namespace, machine: Board) -> Iterator[Display | None]:
    if options.display == "none":
        yield None
        return
    if machine.screen is None:
        raise UsageError("--display terminal: this machine has no screen")
    if sys.stdout is None or sys.stdout.closed or not sys.stdout.isatty():
        raise UsageError("--display terminal: standard output is no terminal")
    display = Display()
    try:
        yield display
    finally:
        display.close()


@contextlib.contextmanager
def _debug(spec: str | None) -> Iterator[Channel | None]:
    channel = None if spec is None else open_sink(spec)
    try:
        yield channel
    finally:
        if channel is not None:
            channel.close()


@contextlib.contextmanager
def _flag_only(signals: Signals) -> Iterator[None]:
    signals.waiting = False
    try:
        yield
    finally:
        signals.waiting = True


@contextlib.contextmanager
def _frozen() -> Iterator[None]:
    """What lives now lives to the end of the run: until then the collector need not look at it."""
    free = not gc.get_freeze_count()
    if free:
        gc.freeze()
    try:
        yield
    finally:
        if free:
            gc.unfreeze()


# -- after the run

def _signal_name(signals: Signals) -> str:
    return signals.caught.name if signals.caught else "SIGINT"


def _status(stop: str, machine: Board) -> int:
    if stop == "exit":
        return (machine.exit_code or 0) & 0xFF          # a status has eight bits
    if stop in STATUS:
        return STATUS[stop]
    return {"SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143}[stop]


def _sentence(stop: str, machine: Board, options: argparse.Namespace, ran: int) -> str:
    registers = machine.registers
    where = f"at {registers.cs.selector:04x}:{registers.rip:08x}"
    when = f"after {ran / 1e9:.3f} s of guest time"
    why = ("with interrupts disabled" if not registers.rflags & 0x200 else
           "with no timer armed and no input attached" if reachable(machine) else
           "with no interrupt that its 8259As let through")
    until = json.dumps(options.until, ensure_ascii=False)
    sentence = {
        "until": f"{until} has appeared, {when}",
        "script": f"the script is done, {when}",
        "left": f"left by Ctrl-A x, {when}",
        "exit": f"the guest left with status {machine.exit_code}, {when}",
        "poweroff": f"the guest switched the power off, {when}",
        "shutdown": f"the guest died: triple fault {where}, {when}",
        "halted": f"the guest died: halted for good {where}, {why}, {when}",
        "panic": f"the guest died: its kernel has panicked, {when}",
        "timeout": f"out of time: --timeout {options.timeout}, {when}",
        "host-timeout": f"out of time: --host-timeout {options.host_timeout}, {when}",
    }.get(stop, f"ended by {stop}, {when}")
    if options.until is not None and stop not in ("until", "left"):
        sentence += f"; {until} has not appeared"
    return sentence


def _write(options: argparse.Namespace, machine: Board, stop: str, status: int, host_seconds: float,
           more: dict[str, Any]) -> int:
    """Snapshot and report.  The status, 2 if one of them could not be written."""
    failed = False
    if options.save:
        try:
            snapshot.save(machine, options.save)
        except OSError as error:
            say(f"--save {options.save}: cannot be written: {error.strerror or error}")
            failed = True
    if failed and not status:
        status = 2
    if options.report:
        made = snapshot.configuration(machine)
        try:
            report.write(options.report, {
                "stop": stop, "exit_code": status, "guest_exit": machine.exit_code,
                "machine": made.machine, "memory": made.memory, "cpu": made.cpu,
                "host_seconds": round(host_seconds, 3), **report.report(machine), **more})
        except OSError as error:
            say(f"--report {options.report}: cannot be written: {error.strerror or error}")
            failed = True
    return 2 if failed and not status else status


def _close_drives(machine: Board, status: int) -> int:
    """What the guest wrote is on the host's disks.  The status, 2 if it could not be."""
    try:
        machine.drives.close()
    except OSError as error:
        say(f"{error.filename}: what the guest wrote last cannot be kept: {error.strerror or error}")
        return status or 2
    return status


def _tell(options: argparse.Namespace, machine: Board, said: str, session: Session | None) -> None:
    step = session.player.step if session is not None and session.player is not None else None
    if step is None:
        say(said)
    else:
        say(f"{options.script}:{step.line}: this step was not met: {step.source}")
        say(said)
        screen = [] if machine.screen is None else script.last_lines(machine.screen.text.encode())
        for line in script.last_lines(machine.console.kept) or ([] if screen else ["(the console has shown nothing)"]):
            say(f"  | {line}")
        if screen:
            say("on the screen:")
        for line in screen:
            say(f"  | {line}")
    if options.verbose:
        for note in machine.notes:
            say(f"note: {note}")
        counters = machine.engine.counters()
        say(f"{counters['blocks']} blocks, {counters['port_reads']} port reads, {counters['port_writes']} port writes, "
            f"{sum(machine.irqs)} interrupts, {machine.resets} resets")
        techniques = machine.engine.techniques()
        say("techniques: " + (", ".join(name for name, on in techniques.items() if on and name != "plain core") or "none")
            + (f" (the plain core runs: {techniques['plain core']})" if "plain core" in techniques else ""))
