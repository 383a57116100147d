"""Python's collector of cyclic garbage, which waits while hundreds of thousands of objects are made that all stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def waiting() -> Iterator[None]:
    """Keep the collector from going through objects that are being made; also a decorator of functions.

    It would go through all that are there again and again: a third of the time that reading a large benchmark takes.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
