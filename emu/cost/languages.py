"""The language machines, each in processes of its own: JVM, Ruby, WebAssembly.  (CPython is in forms.py.)"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from emu.cost import jvm, translate
from emu.cost.children import Sample, Session, once
from emu.cost.forms import LIMIT, Form, Missing, Ours, need
from emu.cost.workloads import Workload

NO_FILE = "not written for this form"
NO_CALL = "{} has no call that is one trivial system call"


class Java(Form):
    name, what = "JVM -Xint", "Java byte code, interpreted"
    options: tuple[str, ...] = ("-Xint",)
    warm = 0                                    # the divisor of the rounds that come before the work
    shares = {"": 16}
    lacks = {"syscall": NO_CALL.format("Java's library"), "io": NO_FILE, "irq": NO_FILE}

    def find(self) -> None:
        self.path = need("java", "default-jre-headless")
        for name, content in jvm.classes().items():
            (self.directory / name).write_bytes(content)

    def run(self, workload: Workload, rounds: int) -> Sample:
        warm = rounds // self.warm if self.warm else 0
        words = 8 << 20 if workload.name == "memory" else 0
        return once([self.path, *self.options, "-Xmx256m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-cp", str(self.directory),
                     jvm.NAME, *map(str, (workload.number, rounds, warm, words))], LIMIT)


class JavaCompiled(Java):
    name, what, options, warm = "JVM compiled", "Java byte code, compiled while it runs", (), 8
    shares = {"": 1}
    note = "warmed up with an eighth of the work; the compiler's threads count"


class Ruby(Form):
    name, what = "Ruby YARV", "Ruby's interpreter of byte code"
    options: tuple[str, ...] = ("--disable-gems",)
    shares = {"": 64, "syscall": 4, "io": 4}
    lacks = {"irq": NO_FILE}
    warm = 0

    def find(self) -> None:
        self.path = need("ruby", "ruby")
        (self.directory / "work.rb").write_text(translate.ruby())
        self.check()

    def check(self) -> None:
        """Raises Missing."""

    def run(self, workload: Workload, rounds: int) -> Sample:
        warm = rounds // self.warm if self.warm else 0
        return once([self.path, *self.options, str(self.directory / "work.rb"), *map(str, (workload.number, rounds, warm))],
                    LIMIT, own=True, cwd=self.directory)


class RubyJit(Ruby):
    name, what, options, warm = "Ruby YJIT", "the same, compiled while it runs", ("--disable-gems", "--yjit"), 4
    shares = {"": 32, "syscall": 4, "io": 4}
    note = "warmed up with a quarter of the work"

    def check(self) -> None:
        said = subprocess.run([self.path, "--yjit", "--version"], capture_output=True, text=True, timeout=20)
        if said.returncode or "YJIT" not in said.stdout:
            raise Missing("this ruby has no YJIT: a Ruby from 3.1 on that was built with it would provide it")


class WebAssembly(Ours):
    name, what = "WebAssembly", "wasmtime: a module of bytes, compiled before it runs"
    shares = {"": 1}
    lacks = {"syscall": NO_CALL.format("WebAssembly"), "io": NO_FILE, "irq": NO_FILE}
    note = "compiled before it starts: that is its start-up, and it needs no warm-up"

    def fresh(self) -> Session:
        return Session([sys.executable, "-m", "emu.cost.wasmguest"])

    def find(self) -> None:
        if importlib.util.find_spec("wasmtime") is None:
            raise Missing("wasmtime is not here: pip install wasmtime")
