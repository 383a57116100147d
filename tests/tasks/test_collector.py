"""The collector of cyclic garbage waits, and goes on as before."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tasks.collector import waiting


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    yield
    gc.enable()


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_waits_and_is_afterwards_as_before_also_after_an_error(was_enabled: bool) -> None:
    if not was_enabled:
        gc.disable()

    @waiting()
    def fails() -> None:
        assert not gc.isenabled()
        with waiting():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise ValueError("as expected")

    for _ in range(2):
        with pytest.raises(ValueError, match="as expected"):
            fails()
        assert gc.isenabled() is was_enabled
