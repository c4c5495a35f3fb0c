"""The language machines, each in a process of its own: JVM, Ruby, WebAssembly.  (CPython is in forms.py.)"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from emu.cost import jvm, jvmcalls, translate
from emu.cost.children import Session
from emu.cost.forms import Language, Missing, need


class Java(Language):
    name, what = "JVM -Xint", "Java byte code, interpreted"
    options: tuple[str, ...] = ("-Xint",)
    path = "java"
    shares = {"": 16, "cpu": 32, "memory": 8, "float": 2, "syscall": 8, "io": 4}
    worth = {"syscall": 2}
    note = CALLS = ("syscall: Java has none that is trivial; what counts as two is RandomAccessFile's seek and "
                    "getFilePointer, an lseek(2) each; irq: a thread of a ScheduledThreadPoolExecutor, beside the work, not "
                    "in it")

    def find(self) -> None:
        self.path = need("java", "default-jre-headless")
        for name, content in jvm.classes().items():
            (self.directory / name).write_bytes(content)
        self.session = self.fresh()

    def command(self) -> list[str]:
        return [self.path, *self.options, "-Xmx256m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-cp", str(self.directory),
                jvmcalls.NAME]


class JavaCompiled(Java):
    name, what, options, warm = "JVM compiled", "Java byte code, compiled while it runs", (), 8
    shares = {"": 1, "syscall": 8}
    note = "warmed up with an eighth of the work; the compiler's threads count; " + Java.CALLS


class Ruby(Language):
    name, what = "Ruby YARV", "Ruby's interpreter of byte code"
    options: tuple[str, ...] = ("--disable-gems",)
    path = "ruby"
    shares = {"": 32, "calls": 8, "float": 4, "syscall": 2, "io": 2}
    note = IRQ = "irq: a signal of setitimer(2), which Ruby's library has not: by Fiddle"

    def find(self) -> None:
        self.path = need("ruby", "ruby")
        (self.directory / "work.rb").write_text(translate.ruby())
        self.check()
        self.session = self.fresh()

    def check(self) -> None:
        """Raises Missing."""

    def command(self) -> list[str]:
        return [self.path, *self.options, str(self.directory / "work.rb")]


class RubyJit(Ruby):
    name, what, options, warm = "Ruby YJIT", "the same, compiled while it runs", ("--disable-gems", "--yjit"), 4
    note = "warmed up with a quarter of the work; " + Ruby.IRQ

    def check(self) -> None:
        said = subprocess.run([self.path, "--yjit", "--version"], capture_output=True, text=True, timeout=20)
        if said.returncode or "YJIT" not in said.stdout:
            raise Missing("this ruby has no YJIT: a Ruby from 3.1 on that was built with it would provide it")


class WebAssembly(Language):
    name, what = "WebAssembly", "wasmtime: a module of bytes, compiled before it runs"
    shares = {"": 1, "io": 8, "syscall": 4}
    note = ("compiled before it starts: that is its start-up, and it needs no warm-up; syscall: fd_seek of WASI, a call of "
            "the machine's host, which answers it without the kernel; irq: wasmtime's epochs, which the code looks at in "
            "each loop, and whose callback counts")

    def command(self) -> list[str]:
        return [sys.executable, "-m", "emu.cost.wasmguest", str(self.directory)]

    def fresh(self) -> Session:
        return Session(self.command())

    def find(self) -> None:
        if importlib.util.find_spec("wasmtime") is None:
            raise Missing("wasmtime is not here: pip install wasmtime")
