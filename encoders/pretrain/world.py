"""The processes that train together: one, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from encoders.device import find_device

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """This process's place among all of them."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """Join torchrun's other processes, where the environment names some; leave them at the end.

    Each process takes its own GPU when `device` is `auto` or `cuda`.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = find_device(device)
    if size == 1:
        yield World(device=chosen)
        return
    if chosen == torch.device("cuda"):
        chosen = find_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield World(distributed.get_rank(), size, chosen)
    finally:
        distributed.destroy_process_group()


def gather(local: Tensor) -> Tensor:
    """Rows of all processes in rank order, [B, …] → [size · B, …]; gradients flow back to their owners.

    Every process must give as many rows. The tensor itself where there is one process only.
    """
    if not distributed.is_initialized():
        return local
    rows: Tensor = _Gather.apply(local)
    return rows


def total(local: Tensor) -> Tensor:
    """The sum of a tensor over all processes, without gradient."""
    out = local.detach().clone()
    if distributed.is_initialized():
        distributed.all_reduce(out)
    return out


def collect(local: Sequence[T], world: World) -> list[T]:
    """The items of all processes in rank order; they should be few, as only their number travels always."""
    if world.size == 1:
        return list(local)
    if not total(torch.tensor(len(local), device=world.device)).item():
        return []
    parts: list[list[T]] = [[] for _ in range(world.size)]
    distributed.all_gather_object(parts, list(local))
    return [item for part in parts for item in part]


class _Gather(torch.autograd.Function):
    """All-gather whose backward pass sums the gradients that all processes have for each row."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:  # noqa: ANN401 - torch's context has no public type
        parts = [torch.empty_like(local) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, local.contiguous())
        ctx.rows = len(local)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401 - as above
        whole = gradients[0].contiguous().clone()
        distributed.all_reduce(whole)
        first = distributed.get_rank() * ctx.rows
        return whole[first : first + ctx.rows]
