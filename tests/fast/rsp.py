"""QEMU's gdb port: as much of gdb's remote serial protocol as it takes to read the registers at a breakpoint.

Packets and replies are those of the GDB manual, appendix E; the registers, their order and sizes come from the target
description that QEMU sends (E.18, "target.xml" and what it includes).
"""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path


class RSPError(RuntimeError):
    """The other side has gone, or says something else than the protocol has it."""


class Gdb:
    """A connection to the gdb port at a Unix socket; the machine is stopped when it begins."""

    def __init__(self, path: Path, timeout: float) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.received = bytearray()
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise RSPError("the gdb port does not open") from None
                time.sleep(0.01)
        self.socket.settimeout(timeout)
        try:
            self.ask("qSupported:xmlRegisters=i386")
            self.registers = self._description("target.xml")
        except OSError as error:
            raise RSPError(str(error)) from None

    def _byte(self) -> int:
        while not self.received:
            data = self.socket.recv(1 << 16)
            if not data:
                raise RSPError("the connection has ended")
            self.received += data
        return self.received.pop(0)

    def ask(self, packet: str) -> str:
        """Send a packet; the reply, or "" for none that is known."""
        self.socket.sendall(f"${packet}#{sum(packet.encode()) & 0xFF:02x}".encode())
        if (answer := self._byte()) != ord("+"):
            raise RSPError(f"{packet} is answered with {answer:#x}")
        return self.reply()

    def reply(self) -> str:
        """The next packet from the other side, its escapes and runs undone."""
        while self._byte() != ord("$"):
            pass
        data = bytearray()
        while (byte := self._byte()) != ord("#"):
            if byte == ord("}"):
                data.append(self._byte() ^ 0x20)
            elif byte == ord("*"):
                data += data[-1:] * (self._byte() - 29)
            else:
                data.append(byte)
        self._byte(), self._byte()
        self.socket.sendall(b"+")
        return data.decode("latin-1")

    def _description(self, name: str) -> list[tuple[str, int]]:
        """(name, bytes) of each register, in the order of the packet `g`."""
        text, part = "", "m"
        while part.startswith("m"):
            part = self.ask(f"qXfer:features:read:{name}:{len(text):x},800")
            text += part[1:]
        text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
        found: list[tuple[str, int]] = []
        for include, register, bits in re.findall(r'<xi:include href="([^"]+)"|<reg name="([^"]+)" bitsize="(\d+)"', text):
            found += self._description(include) if include else [(register, int(bits) // 8)]
        return found

    def read(self) -> dict[str, int]:
        """Every register."""
        data, at, values = bytes.fromhex(self.ask("g").replace("x", "0")), 0, {}
        for name, size in self.registers:
            values[name] = int.from_bytes(data[at:at + size], "little")
            at += size
        return values

    def write(self, name: str, value: int) -> None:
        """Set one register."""
        number = [name for name, _ in self.registers].index(name)
        self._ok(f"P{number:x}={value.to_bytes(self.registers[number][1], 'little').hex()}")

    def breakpoint(self, address: int) -> None:
        """Stop before the instruction at a linear address."""
        self._ok(f"Z1,{address:x},1")

    def _ok(self, packet: str) -> None:
        if (answer := self.ask(packet)) != "OK":
            raise RSPError(f"{packet} is answered with {answer}")

    def go(self) -> bool:
        """Let the machine run to a breakpoint; False: it has ended."""
        try:
            return self.ask("c")[:1] in ("S", "T")
        except (RSPError, ConnectionError):
            return False

    def close(self) -> None:
        """Leave; the machine goes on."""
        self.socket.close()
