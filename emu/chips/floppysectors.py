"""The execution phase of an 82077AA's commands that meet sectors: read, write, verify, format.

[I] Intel 82077AA data sheet, order 290166-007, May 1994.  `fdc82077` says what is not modelled, this part of it included.

Not modelled: see `fdc82077`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from emu.chips.floppy import SECTOR, Format, Unit
from emu.chips.media import Medium

STEP, SECTOR_TIME, LOST = 20_000, 100_000, 20_000_000                   # ns

IC_ABNORMAL, IC_INVALID, IC_READY, SE, EC = 0x40, 0x80, 0xC0, 0x20, 0x10                    # [I] ST0
EN, DE, OR, ND, NW, MA = 0x80, 0x20, 0x10, 0x04, 0x02, 0x01                                 # [I] ST1
DD, WC, BC = 0x20, 0x10, 0x02                                                               # [I] ST2
EIS, EFIFO, POLL = 0x40, 0x20, 0x10                                                         # [I] CONFIGURE


class DMA(Protocol):
    """The DMA channel."""

    def put(self, data: bytes) -> tuple[int, bool]: ...
    def get(self, length: int) -> tuple[bytes, bool]: ...


class Transfer(TypedDict):
    """A command in its execution phase: the address of the next sector, and how it goes on."""

    name: str
    drive: int
    head: int               # HDS: the surface; h is only compared with the ID fields
    c: int
    h: int
    r: int
    n: int
    eot: int
    mt: int
    mfm: int
    dma: int
    left: int               # VERIFY with EC, READ TRACK, FORMAT TRACK: sectors to go; otherwise -1
    fill: int               # FORMAT TRACK
    st0: int
    st1: int                # READ TRACK goes on after an error
    buffer: int             # without DMA: bytes that the processor owes, or has not read yet


class Sectors:
    """The part of the controller that meets the medium."""

    units: list[Unit]
    dma: DMA

    if TYPE_CHECKING:
        transfer: Any
        phase: str
        spin: int

        def __getattr__(self, key: str) -> Any: ...
        def __setattr__(self, key: str, value: Any) -> None: ...

    def _begin(self, name: str, first: int, which: int, address: tuple[int, int, int, int], eot: int,
               left: int = -1, fill: int = 0) -> None:
        c, h, r, n = address
        drive, st0, delay = which & 3, which & 7, SECTOR_TIME
        if self.config & EIS and name not in ("read_id", "format_track") and self.pcn[drive] != c:
            delay += STEP * self._step(drive, c - self.pcn[drive])
            self.pcn[drive] = c
            st0 |= SE
        self.phase, self.last = "execution", eot
        dma = name in ("verify", "read_id") or not self.specified[1] & 1
        self.transfer = Transfer(
            name=name, drive=drive, head=which >> 2 & 1, c=c, h=h, r=r, n=n, eot=eot, mt=first >> 7, mfm=first >> 6 & 1,
            dma=int(dma), left=left, fill=fill, st0=st0, st1=0, buffer=0)
        lost = self._format() is None
        self.next.at(self.clock.now + (LOST if lost else delay))

    def _read(self, first: int, which: int, c: int, h: int, r: int, n: int, eot: int, _gpl: int, _dtl: int) -> None:
        self._begin("read", first, which, (c, h, r, n), eot)

    def _write(self, first: int, which: int, c: int, h: int, r: int, n: int, eot: int, _gpl: int, _dtl: int) -> None:
        self._begin("write", first, which, (c, h, r, n), eot)

    def _verify(self, first: int, which: int, c: int, h: int, r: int, n: int, eot: int, _gpl: int, sc: int) -> None:
        self._begin("verify", first, which, (c, h, r, n), eot, (sc or 256) if which & 0x80 else -1)

    def _read_track(self, first: int, which: int, c: int, h: int, r: int, n: int, eot: int, _gpl: int, _dtl: int) -> None:
        self._begin("read_track", first & 0x7F, which, (c, h, r, n), eot, eot)

    def _format_track(self, first: int, which: int, n: int, sc: int, _gpl: int, fill: int) -> None:
        self._begin("format_track", first & 0x7F, which, (self.pcn[which & 3], which >> 2 & 1, 1, n), sc, sc, fill)

    def _read_id(self, first: int, which: int) -> None:
        self._begin("read_id", first & 0x7F, which, (self.pcn[which & 3], which >> 2 & 1, 1, 2), self.last)

    def _format(self) -> Format | None:
        """The format of the track under the head, if one can be read there."""
        t = self.transfer
        form = self.units[t["drive"]].format(self.ccr) if t["mfm"] and self.dor >> 4 + t["drive"] & 1 else None
        on = form and self.head[t["drive"]] < form.cylinders and t["head"] < form.heads
        return form if on else None

    def _end(self, st0: int = 0, st1: int = 0, st2: int = 0) -> None:
        """To the result phase."""
        t = self.transfer
        if t["name"] in ("write", "format_track") and not st0 and not self._try(lambda: self._medium().flush()):
            st0 = IC_ABNORMAL | EC
        self.transfer, self.data = None, b""
        self.next.off()
        self._results(t["st0"] & ~4 | t["head"] << 2 | st0, st1 | t["st1"], st2, t["c"], t["h"], t["r"], t["n"])
        self.pending = 1

    def _medium(self) -> Medium:
        medium: Medium | None = self.units[self.transfer["drive"]].medium
        assert medium is not None
        return medium

    def _try(self, action: Callable[[], Any]) -> bool:
        """Whether the host's disk did what it was asked."""
        try:
            action()
        except OSError:
            return False
        return True

    def on_NEXT(self) -> None:
        t, form = self.transfer, self._format()
        if form is None:
            self._end(IC_ABNORMAL, MA)
        elif t["name"] == "read_id":
            self.spin = self.spin % form.sectors + 1
            t.update(c=self.head[t["drive"]], h=t["head"], r=self.spin, n=2)
            self._end()
        elif t["name"] in ("write", "format_track") and self._medium().readonly:
            self._end(IC_ABNORMAL, NW)
        elif t["name"] == "format_track":
            self._fetch(4)
        else:
            self._sector(form)
        self.update()

    def _sector(self, form: Format) -> None:
        """The next sector is under the head, if it is on this track at all."""
        t, track = self.transfer, self.head[self.transfer["drive"]]
        r = t["eot"] - t["left"] + 1 if t["name"] == "read_track" else t["r"]
        same = (t["c"], t["h"], t["n"]) == (track, t["head"], 2)
        if t["name"] == "read_track":
            if not same:
                t["st1"] |= ND
            if not 1 <= r <= form.sectors:
                self._end(IC_ABNORMAL, ND)
                return
        elif not same or not 1 <= r <= form.sectors:
            wrong = t["c"] != track
            self._end(IC_ABNORMAL, ND, (BC if t["c"] == 0xFF else WC) if wrong else 0)
            return
        if t["name"] == "write":
            self._fetch(SECTOR)
            return
        found: list[bytes] = []
        unit, offset = self.units[t["drive"]], form.offset(track, t["head"], r)
        if not self._try(lambda: found.append(unit.read(offset))):
            self._end(IC_ABNORMAL, DE, DD)
        elif t["name"] == "verify":
            self._moved(False)
        elif t["dma"]:
            length, tc = self.dma.put(found[0]) if self.drq.level else (0, False)
            self._end(IC_ABNORMAL, OR) if length < SECTOR and not tc else self._moved(tc)
        else:
            self.data, t["buffer"], self.pending = found[0], SECTOR, 1

    def _fetch(self, length: int) -> None:
        """Get what the medium wants from the processor's side."""
        t = self.transfer
        if not t["dma"]:
            t["buffer"], self.pending = length, 1
            return
        data, tc = self.dma.get(length) if self.drq.level else (b"", False)
        if len(data) < length and not tc:
            self._end(IC_ABNORMAL, OR)
        else:
            self._store(data.ljust(length, b"\0"), tc)                      # [I] the rest of the sector is zeros

    def _store(self, data: bytes, tc: bool) -> None:
        """Write a sector, or format one."""
        t, form = self.transfer, self._format()
        if form is None:
            self._end(IC_ABNORMAL, MA)
            return
        track, r = self.head[t["drive"]], t["r"]
        if t["name"] == "format_track":
            c, h, r, n = data
            data = bytes([t["fill"]]) * SECTOR if (c, h, n) == (track, t["head"], 2) and 1 <= r <= form.sectors else b""
        unit = self.units[t["drive"]]
        if data and not self._try(lambda: unit.write(form.offset(track, t["head"], r), data)):
            self._end(IC_ABNORMAL | EC)
        else:
            self._moved(tc)

    def _moved(self, tc: bool) -> None:
        """A sector is done: [I] table 5-6 for the address of the next one, and whether there is one."""
        t = self.transfer
        t["left"] -= t["left"] > 0
        over = t["left"] == 0
        if t["name"] in ("read", "write", "verify"):
            if t["r"] != t["eot"]:
                t["r"] = t["r"] + 1 & 0xFF
            elif t["mt"] and not t["head"]:
                t.update(h=t["h"] ^ 1, head=1, r=1)
            else:
                at_end = not tc and not over
                t["r"] = 1
                t["c"], t["h"] = t["c"] + 1 & 0xFF, t["h"] ^ t["mt"]
                if at_end and t["name"] != "verify":                        # [I] ST1.EN: no TC before the last sector's end
                    self._end(IC_ABNORMAL, EN)
                    return
                over = True
        if tc or over:
            self._end(IC_ABNORMAL if t["st1"] else 0)
        else:
            self.next.at(self.clock.now + SECTOR_TIME)
