"""What tests of forms share."""

from __future__ import annotations

import contextlib

import pytest

from emu.cost.forms import Missing


@contextlib.contextmanager
def there(kind, directory):
    """A form of this kind, found; where it is not here, the test is skipped."""
    form = kind(directory)
    try:
        form.find()
        yield form
    except Missing as missing:
        pytest.skip(str(missing))
    finally:
        form.close()
