"""What a guest has shown since power-on: its end as text, all of it as a digest, in bounded memory."""

from __future__ import annotations

import hashlib

LIMIT = 4 << 20             # bytes that are kept: fewer than so many
PIECE = 1 << 20             # bytes that are given up at once


class Console:
    """`write` adds; a position counts the bytes since power-on, `first` is that of the oldest byte that is kept.

    `kept` ends with the last byte.  As soon as it holds LIMIT bytes, its first PIECE is folded into `chain`, the SHA-256 of
    the chain before (at first empty) and the piece.  So the digest depends on nothing but the bytes, and, unlike the state
    of a hash function, it goes through a snapshot.
    """

    def __init__(self) -> None:
        self.kept = bytearray()
        self.first = 0
        self.chain = b""

    def write(self, data: bytes) -> None:
        self.kept += data
        while len(self.kept) >= LIMIT:
            self.chain = hashlib.sha256(self.chain + self.kept[:PIECE]).digest()
            self.first += PIECE
            del self.kept[:PIECE]

    @property
    def end(self) -> int:
        """How many bytes were written since power-on."""
        return self.first + len(self.kept)

    def find(self, text: bytes, start: int = 0) -> int:
        """The first position of `text`, from `start` on, as far as it is kept; -1 if there is none."""
        found = self.kept.find(text, max(start - self.first, 0))
        return found if found < 0 else self.first + found

    def sha256(self) -> str:
        """A digest of everything since power-on; the plain SHA-256 of it while nothing was given up."""
        return hashlib.sha256(self.chain + self.kept).hexdigest()
