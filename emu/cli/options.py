"""What can be said on the command line, and what it means.  Every mistake is one line and status 2."""

from __future__ import annotations

import argparse
import math
import re
from datetime import UTC, datetime
from typing import Any, NoReturn

from emu.cli.costoptions import add_cost
from emu.cli.explainoptions import add_answers, add_explain
from emu.cli.traceoptions import add_reading, add_recording
from emu.host.serial import SPECS

_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

STATUS = """\
exit status:
  0    the text of --until has appeared, the script is done, Ctrl-A x, or the guest powered off
  n    the guest's own: it wrote v to port F4h, and n is v << 1 | 1 (as QEMU's isa-debug-exit has it)
  2    a usage error, or a file that cannot be used
  3    the guest died: a triple fault, or halted for good
  4    out of time: --timeout or --host-timeout
  129, 130, 143   ended by SIGHUP, SIGINT, SIGTERM
"""

BOOT = """\
IMAGE is, in this order: a name that `emu images` lists (it is fetched on first use), the name of one of our own kernels
(default, hello, ticks, ...), or a file, which goes by its content: a kernel of any kind (Linux, Multiboot, ELF, flat), a
disk, a disc or a diskette.  A file that is called as an image is written ./NAME.  Without anything to boot it is our
kernel `default`.

a script has one step a line; # starts a comment:
  expect "TEXT"    go on when the console has shown TEXT, after what the expect before it has seen
  send "TEXT\\n"    type TEXT, at the line's rate;  \\n \\r \\t \\e \\" \\\\ \\xHH \\uHHHH
  wait SECONDS     of guest time
  key NAME         press a key of the PC's keyboard, by QEMU's names: ret, f12, shift-a, ctrl-alt-delete
  type "TEXT\\n"    type TEXT on that keyboard
  mouse DX DY [BUTTONS]    move right and down; then hold the buttons: 1 left, 2 right, 4 middle
  screenshot FILE.png      write what the screen shows
  quit             end here; the end of the file does it, too
expect and --until look at the screen's text, too.

"""


class UsageError(Exception):
    """One line for the user; status 2."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def size(text: str) -> int:
    """Bytes of memory as QEMU reads them: 256 or 256M are MiB; K, G and T, and fractions, go as well."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)([BKMGT]?)i?B?", text, re.IGNORECASE | re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write it as 256M or 1G")
    value = float(match[1]) * _UNITS[match[2].upper() or "M"]
    if value % (1 << 20) or not value:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of MiB, from 1 on")
    return int(value)


def seconds(text: str) -> float:
    """A time span."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1e9:                   # not of a NaN either
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, such as 90 or 0.5")
    return value


def moment(text: str) -> datetime:
    """The host's time now, or a date and time of ISO 8601; it is UTC unless it says another zone."""
    if text == "host":
        return datetime.now(UTC)
    try:
        value = datetime.fromisoformat(text)
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write host, or it as 2026-01-01T00:00:00") from None
    if not 1970 <= value.year <= 2105:          # room for a run of any length, and for a guest's two digits of a year
        raise argparse.ArgumentTypeError(f"the year {value.year} is not in 1970 to 2105")
    return value


def boot_order(value: str) -> tuple[str, bool]:
    """order=LETTERS, menu=on or off, or both; or the letters alone."""
    from emu.boards.pc import LETTERS

    letters, menu = "", False
    for part in value.split(","):
        name, equals, word = part.partition("=")
        if name == "menu" and word in ("on", "off"):
            menu = word == "on"
        elif (name == "order" or not equals) and (word := word or name) and set(word) <= set(LETTERS) and not letters:
            letters = word
        else:
            raise argparse.ArgumentTypeError(f"{part!r} is no order=LETTERS (of {', '.join(LETTERS)}) and no menu=on or off")
    return letters, menu


def text(value: str) -> str:
    """A text that is not empty."""
    if not value:
        raise argparse.ArgumentTypeError("the text is empty")
    return value


def parser() -> Parser:
    """The whole command line."""
    raw = argparse.RawDescriptionHelpFormatter
    top = Parser(prog="emu", description="The PC that you can see through: an x86 PC in Python.", allow_abbrev=False)
    top.add_argument("--version", action=Version, nargs=0, help="show program's version number and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    boot = commands.add_parser("boot", help="start a machine", allow_abbrev=False, formatter_class=raw,
                               description="Start a machine.", epilog=BOOT + STATUS)
    boot.add_argument("image", nargs="?", metavar="IMAGE", help="what to boot, by name or by file; by default our own kernel")
    what = boot.add_argument_group("what to boot")
    what.add_argument("--kernel", type=text, metavar="FILE", help="Linux bzImage, Multiboot 1, ELF32 or flat binary")
    what.add_argument("--initrd", type=text, metavar="FILE",
                      help='the initial RAM disk; for Multiboot the modules, "file args,file"')
    what.add_argument("--append", metavar="TEXT", help="the kernel's command line, instead of the image's own")
    what.add_argument("--restore", type=text, metavar="FILE", help="go on with a machine that --save wrote")
    machine = boot.add_argument_group("the machine")
    machine.add_argument("--memory", type=size, metavar="SIZE", help="RAM, as 512M or 1G (default: the image's, or 256M)")
    machine.add_argument("--cpu", type=text, metavar="MODEL", help="CPU model (default: qemu64)")
    machine.add_argument("--machine", choices=("pc", "tiny"), help="the board (default: pc)")
    machine.add_argument("--rtc", type=moment, metavar="host|TIME",
                         help="what the clock says at power-on (default: 2026-01-01T00:00:00)")
    machine.add_argument("--serial", action="append", metavar="LINE",
                         help=f"the far end of COM1: {SPECS} (default: stdio; Ctrl-A h there shows its keys)")
    machine.add_argument("--display", choices=("none", "terminal"), default="none",
                         help="show the screen in this terminal, and type there (then --serial is none by default)")
    machine.add_argument("--debugcon", type=text, metavar="FILE|stdio",
                         help="where to write what the guest writes to port E9h, and its firmware to 402h (default: nowhere)")
    drives = boot.add_argument_group("drives and firmware")
    drives.add_argument("--disk", type=text, action="append", metavar="FILE",
                        help="a disk: raw, qcow2, VMDK, VDI, VHD or VHDX, told by its content; up to four times")
    drives.add_argument("--cdrom", type=text, action="append", metavar="FILE", help="a disc in the CD-ROM drive")
    drives.add_argument("--floppy", type=text, action="append", metavar="FILE", help="a diskette; up to twice")
    drives.add_argument("--overlay", type=text, action="append", metavar="FILE",
                        help="keep what is written on the disk in this file, a qcow2 image over it, made if there is none; "
                             "the second one is the second disk's (default: no image changes, what is written is gone at "
                             "the end)")
    drives.add_argument("--write", action="store_true", help="write into the images themselves: raw and qcow2")
    drives.add_argument("--boot", type=boot_order, metavar="order=cda,menu=on",
                        help="what is booted, in this order: a floppy, c disk, d CD-ROM, n network; and whether the firmware "
                             "asks (default: IMAGE, then acd)")
    drives.add_argument("--firmware", type=text, metavar="emu|FILE|none",
                        help="the machine's firmware: our own, another one's ROM, none (default: our own, but none with a "
                             "kernel, which then is started directly)")
    drives.add_argument("--vga-bios", type=text, metavar="emu|FILE|none",
                        help="the screen's firmware (default: our own with a firmware, otherwise none)")
    run = boot.add_argument_group("the run")
    run.add_argument("--until", type=text, metavar="TEXT", help="stop when TEXT has appeared on the console or the screen")
    run.add_argument("--script", type=text, metavar="FILE", help="expect, send, key, screenshot ...: see below")
    run.add_argument("--timeout", type=seconds, metavar="SECONDS", help="guest time that this run may take")
    run.add_argument("--host-timeout", type=seconds, metavar="SECONDS", help="host time that this run may take")
    run.add_argument("--realtime", action=argparse.BooleanOptionalAction,
                     help="let an idle guest wait as long as it means to, instead of jumping to its next event "
                          "(default: when standard input is a terminal, without --until and --script)")
    run.add_argument("--save", type=text, metavar="FILE", help="write a snapshot at the stop")
    run.add_argument("--report", type=text, metavar="FILE", help="write what happened, as JSON, at the stop")
    add_answers(boot)
    add_recording(boot, text)
    run.add_argument("-v", "--verbose", action="store_true", help="show what the machine noticed")

    images = commands.add_parser("images", help="what can be booted by name", allow_abbrev=False,
                                 description="What can be booted by name, from where, by which licence: all, without ACTION.")
    do = images.add_subparsers(dest="action", metavar="ACTION", parser_class=Parser)
    fetch = do.add_parser("fetch", help="fetch an image", allow_abbrev=False, description="Fetch an image into the cache.")
    fetch.add_argument("name", metavar="NAME")
    fetch.add_argument("--refresh", action="store_true", help="also when it is here already")

    disk = commands.add_parser("disk", help="what a disk image is", allow_abbrev=False, description="About disk images.")
    about = disk.add_subparsers(dest="action", metavar="ACTION", parser_class=Parser, required=True)
    info = about.add_parser("info", help="format, sizes, what lies below, snapshots", allow_abbrev=False,
                            description="What a disk image is: format, sizes, what lies below it, snapshots.")
    info.add_argument("file", metavar="FILE")
    info.add_argument("--json", action="store_true", help="for programs")

    add_reading(commands, text)
    profile = commands.add_parser("profile", help="where the time of a traced machine went", allow_abbrev=False,
                                  description="A flame graph of a trace (.html, one page by itself), pictures of time by "
                                              "function and of interrupts over time (.png, .svg), or folded stacks (.txt).")
    profile.add_argument("trace", metavar="DIR", help="a trace of the level blocks")
    profile.add_argument("-o", "--output", metavar="FILE", default="profile.html",
                         help="what to write (default: %(default)s)")
    profile.add_argument("--symbols", metavar="FILE", help="an ELF file or a System.map (default: what Linux knew itself)")
    profile.add_argument("--top", type=int, default=10, metavar="N", help="functions to print (default: %(default)s)")
    add_explain(commands, text)
    sheet = commands.add_parser("datasheet", help="the register map of a board", allow_abbrev=False,
                                description="The register map of a board, from the chips' own declarations.")
    sheet.add_argument("--machine", choices=("pc", "tiny"), default="pc", help="the board (default: pc)")
    add_cost(commands)
    return top


class Version(argparse.Action):
    """--version; who does not ask does not wait for it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib import metadata

        try:
            version = metadata.version("emu-pc")
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        print(f"emu {version}")
        parser.exit()
