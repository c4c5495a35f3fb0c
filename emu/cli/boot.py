"""emu boot: from the options to a machine, through its run, to what is said and written at its end."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emu import report, script, snapshot
from emu.boards.board import MIB, BadBoard, Board
from emu.boards.pc import START
from emu.cli.options import UsageError
from emu.cli.session import Limits, Session
from emu.cli.signals import Signals
from emu.engine import Costs, EngineError
from emu.firmware import build
from emu.host import fetch
from emu.host.display import Display
from emu.host.files import check_writable
from emu.host.progress import ProgressLine
from emu.host.serial import Channel, Stdio, open_channel, open_sink
from emu.host.terminal import say

DEFAULT_MEMORY = 256 * MIB
STATUS = {"until": 0, "script": 0, "left": 0, "poweroff": 0, "shutdown": 3, "halted": 3, "timeout": 4, "host-timeout": 4,
          "error": 2}


@dataclass
class Boot:
    """What a machine boots."""

    name: str
    kernel: Path | bytes
    initrd: str | None = None
    append: str = ""
    memory: int = DEFAULT_MEMORY


def boot(options: argparse.Namespace, signals: Signals) -> int:
    """The whole command; returns the exit status."""
    steps = script.read(options.script) if options.script else None
    for option in ("save", "report"):
        _check_writable(option, getattr(options, option))
    for step in steps or ():
        if step.verb == "screenshot":
            _check_writable("script", step.words[0])
    line = _serial(options)
    started = time.monotonic()
    machine = _restored(options) if options.restore else _built(options)
    with machine:
        began = machine.now
        limits = Limits(options.until, steps, options.timeout, options.host_timeout)
        stop, failure, session = "error", None, None
        try:
            both = options.debugcon == line == "stdio"
            with (_debug(None if both else options.debugcon) as debug, _channel(line, steps is not None, signals) as channel,
                  _display(options, machine) as display, _flag_only(signals)):
                session = Session(machine, channel, limits, signals, _realtime(options), channel if both else debug, display)
                gc.freeze()                             # what lives now lives to the end: look at it no more
                stop = session.run()
        except KeyboardInterrupt:                       # while a client was waited for
            stop = _signal_name(signals)
        except EngineError as error:
            failure = str(error)
        with _flag_only(signals):                       # what is asked for is written, whatever comes now
            status = _status(stop, machine)
            said = failure or _sentence(stop, machine, options, machine.now - began)
            status = _write(options, machine, stop, status, time.monotonic() - started)
            _tell(options, machine, said, session)
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
    """A new machine with its kernel in."""
    what = _what(options)
    if options.machine == "tiny" and options.rtc:
        raise UsageError("--rtc: the machine tiny has no real-time clock")
    made = snapshot.Configuration(options.machine or "pc", options.memory or what.memory, options.cpu or "qemu64", Costs(),
                                  None if options.machine == "tiny" else options.rtc or START)
    try:
        machine = made.build()
    except BadBoard as error:
        raise UsageError(f"--memory: {error}") from None
    try:
        machine.load(what.kernel, initrd=what.initrd, append=what.append, name=what.name)
    except BaseException:
        machine.close()
        raise
    return machine


def _what(options: argparse.Namespace) -> Boot:
    what = _image(options)
    if options.kernel:
        what.name, what.kernel = options.kernel, Path(options.kernel)
    if options.initrd:
        what.initrd = options.initrd
    if options.append is not None:
        what.append = options.append
    return what


def _image(options: argparse.Namespace) -> Boot:
    """What IMAGE stands for: a name of the manifest, one of our own kernels, a file."""
    name = options.image
    if name is None:
        return Boot("default", b"" if options.kernel else build.kernel("default"))
    if not name:
        raise UsageError("IMAGE is empty")
    known = {listed.entry.name: listed.entry for listed in fetch.listing()}
    if name in known:
        return _fetched(name, options)
    if options.kernel:
        raise UsageError(f"both IMAGE and --kernel name a kernel: {name}, {options.kernel}")
    if name in build.names():
        return Boot(name, build.kernel(name))
    if os.sep not in name and not os.path.exists(name):
        raise UsageError(f"{name}: no such file, and no image is called so; "
                         f"there are {', '.join([*known, *build.names()])}")
    return Boot(name, Path(name))


def _fetched(name: str, options: argparse.Namespace) -> Boot:
    with ProgressLine() as progress:
        image = fetch.fetch(name, progress)
    if image.warning:
        say(f"warning: {image.warning}")
    if image.kernel is None and not options.kernel:
        raise UsageError(f"{name} is a {image.kind}, and only kernels can be booted so far")
    if options.memory and options.memory < image.minimum:
        say(f"warning: {name} was never seen to boot with less than {image.minimum // MIB}M of memory")
    initrd = None if image.initrd is None else str(image.initrd)
    return Boot(name, image.kernel or b"", initrd, image.append, max(image.memory, DEFAULT_MEMORY))


def _restored(options: argparse.Namespace) -> Board:
    """A machine out of a snapshot; what an option says of it must be so."""
    for given, option in ((options.image, "IMAGE"), (options.kernel, "--kernel"), (options.initrd, "--initrd"),
                          (options.append, "--append"), (options.rtc, "--rtc")):
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
    why = "with no timer armed and no input attached" if registers.rflags & 0x200 else "with interrupts disabled"
    until = json.dumps(options.until, ensure_ascii=False)
    sentence = {
        "until": f"{until} has appeared, {when}",
        "script": f"the script is done, {when}",
        "left": f"left by Ctrl-A x, {when}",
        "exit": f"the guest left with status {machine.exit_code}, {when}",
        "poweroff": f"the guest switched the power off, {when}",
        "shutdown": f"the guest died: triple fault {where}, {when}",
        "halted": f"the guest died: halted for good {where}, {why}, {when}",
        "timeout": f"out of time: --timeout {options.timeout}, {when}",
        "host-timeout": f"out of time: --host-timeout {options.host_timeout}, {when}",
    }.get(stop, f"ended by {stop}, {when}")
    if options.until is not None and stop not in ("until", "left"):
        sentence += f"; {until} has not appeared"
    return sentence


def _write(options: argparse.Namespace, machine: Board, stop: str, status: int, host_seconds: float) -> int:
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
                "host_seconds": round(host_seconds, 3), **report.report(machine)})
        except OSError as error:
            say(f"--report {options.report}: cannot be written: {error.strerror or error}")
            failed = True
    return 2 if failed and not status else status


def _tell(options: argparse.Namespace, machine: Board, said: str, session: Session | None) -> None:
    step = session.player.step if session is not None and session.player is not None else None
    if step is None:
        say(said)
    else:
        say(f"{options.script}:{step.line}: this step was not met: {step.source}")
        say(said)
        for line in script.last_lines(machine.console.kept) or ["(the console has shown nothing)"]:
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
