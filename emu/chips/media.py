"""What a drive chip asks of the medium in it.

Not modelled: bad sectors, wear, seek times; a medium answers at once or with an error.
"""

from __future__ import annotations

from typing import Protocol


def read_into(medium: Medium, offset: int, place: memoryview) -> None:
    """Fill `place` from `offset` on.  A medium that can do so without a detour has a method of this name."""
    own = getattr(medium, "read_into", None)
    if own is not None:
        own(offset, place)
    else:
        place[:] = medium.read(offset, len(place))


class Medium(Protocol):
    """A disk, a disc or a diskette as bytes; the drive knows of sectors.

    Every method is synchronous and raises OSError when the host cannot; a chip makes its own error of that (ATA: UNC in ERR).
    A chip asks for nothing outside of `size`, and writes nothing where `readonly`.
    """

    @property
    def size(self) -> int:
        """Bytes; it does not change while the medium is in a drive."""

    @property
    def readonly(self) -> bool:
        """Writes are refused."""

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write `data` from `offset` on; a `read` shows it at once, the host's disk may have it later."""

    def flush(self) -> None:
        """When this returns, all that was written before is on the host's disk (fsync)."""
