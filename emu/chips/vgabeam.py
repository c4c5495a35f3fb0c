"""Where the beam of a VGA's monitor is, by the CRTC's registers and the time.

Source: [I] IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem", 1992: CRT controller registers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CLOCKS = 25_175_000, 28_322_000, 25_175_000, 25_175_000            # Hz, by MISC; 2 and 3 are the feature connector's
SECOND = 10**9
DARK, RETRACE = 1, 8            # as IS1 has them: DD and VR


class Beam:
    """`set` when the registers have changed; then `look` tells for a time what is to be seen, and until when.

    Frames are counted from power-on.  Lengths are in characters.  `known`: the registers are those of the last `set`.
    """

    known = False

    def set(self, r: Mapping[str, Any]) -> None:
        """MISC, SR1, CR00, CR01, CR06, CR07, CR10-CR12."""
        over = r["cr07"]
        self.hz = CLOCKS[r["misc"] >> 2 & 3]
        self.dots = (8 if r["sr1"] & 1 else 9) * (2 if r["sr1"] & 8 else 1) * SECOND
        wide, lines = r["cr00"] + 5, (r["cr06"] | (over & 1) << 8 | (over & 0x20) << 4) + 2
        retrace = min(r["cr10"] | (over & 4) << 6 | (over & 0x80) << 2, lines)
        end = min(retrace + ((r["cr11"] - retrace - 1) & 15) + 1, lines)        # [I] CR11: its low four bits are compared
        shown = min((r["cr12"] | (over & 2) << 7 | (over & 0x40) << 3) + 1, lines)
        self.wide, self.frame, self.columns = wide, wide * lines, min(r["cr01"] + 1, wide)
        self.shown, self.retrace, self.end = wide * shown, wide * retrace, wide * end
        self.known = True

    def look(self, now: int) -> tuple[int, int]:
        """(DARK and RETRACE, the time from which on it may be another)."""
        at = now * self.hz // self.dots
        place = at % self.frame
        retraces = self.retrace <= place < self.end
        if place < self.shown:
            column = place % self.wide
            lit = column < self.columns
            edge = place - column + (self.columns if lit else self.wide)
            if place < self.end:                    # a retrace in the picture
                edge = min(edge, self.end if retraces else max(self.retrace, place + 1))
        else:
            lit = False
            edge = self.end if retraces else self.retrace if place < self.retrace else self.frame
        return (0 if lit else DARK) | (RETRACE if retraces else 0), -(-(at - place + edge) * self.dots // self.hz)
