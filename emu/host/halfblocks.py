"""Pixels as characters: the upper half block, whose two colours are two pixels, one above the other."""

from __future__ import annotations

from typing import Any


def fit(aspect: float, wide: int, high: int) -> tuple[int, int]:
    """The most pixels, (width, height), of a picture that is `aspect` times as wide as high, in a terminal of that size."""
    width = min(wide, max(round(2 * high * aspect), 1))
    return width, min(max(round(width / aspect), 1), 2 * high)


def scaled(width: int, height: int, rgb: bytes, to: tuple[int, int]) -> Any:
    """The picture with other dimensions: each pixel is the mean of those that it stands for.  An array of rows."""
    import numpy as np

    picture: Any = np.frombuffer(rgb, dtype=np.uint8).reshape(height, width, 3).astype(np.uint32)
    for axis, (old, new) in enumerate(((height, to[1]), (width, to[0]))):
        edges = np.arange(new + 1) * old // new
        counts = np.maximum(np.diff(edges), 1)
        picture = np.add.reduceat(picture, np.minimum(edges[:-1], old - 1), axis=axis)
        picture //= counts.astype(np.uint32).reshape([-1 if i == axis else 1 for i in range(3)])
    return picture.astype(np.uint8)


def blocks(width: int, height: int, rgb: bytes, aspect: float, wide: int, high: int) -> list[list[tuple[str, str]]]:
    """Rows of (SGR sequence, character) for a terminal of `wide` columns and `high` rows."""
    to = fit(aspect, wide, high)
    rows = scaled(width, height, rgb, to).tolist()
    if len(rows) % 2:
        rows.append([[0, 0, 0]] * to[0])
    return [[(f"\x1b[0;38;2;{a};{b};{c};48;2;{d};{e};{f}m", "▀") for (a, b, c), (d, e, f) in zip(upper, lower)]
            for upper, lower in zip(rows[::2], rows[1::2])]
