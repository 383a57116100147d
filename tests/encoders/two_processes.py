"""Two processes joined by gloo, of which this one is the first: only the second has to start."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

import torch
from torch import distributed, multiprocessing

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)  # so long only on a machine that is busy with much else


def in_two(root: Path, work: Callable[..., T], *arguments: Any) -> T:
    """Do `work(rank, *arguments)` in two processes, and return what it gives in this one.

    `work` is a function of a module, which the second process imports.
    """
    address, threads = f"file://{mkdtemp(dir=root)}/meet", torch.get_num_threads()
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    second = context.Process(target=_second, args=(ready, address, work, arguments))
    second.start()
    try:
        while not ready.wait(0.2):
            assert second.is_alive(), "the second process ended before it began"
        found = _joined(0, address, work, arguments)
        second.join(PATIENCE.total_seconds())
        assert second.exitcode == 0
    finally:
        second.kill()
        torch.set_num_threads(threads)
    return found


def _second(ready: Event, address: str, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    ready.set()
    _joined(1, address, work, arguments)


def _joined(rank: int, address: str, work: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2, timeout=PATIENCE)
    try:
        found = work(rank, *arguments)
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
    return found
