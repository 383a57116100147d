"""The processes that train together: one, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from encoders.device import find_device
from encoders.dual import DualEncoder
from encoders.pretrain.step import trainable
from encoders.vit import Attention, Mlp

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """This process's rank among all of them."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """Join torchrun's other processes, if the environment names some; leave them at the end.

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
        # A process that leaves while others still communicate with it may abort.
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def gather(local: Tensor) -> Tensor:
    """Gather the rows of all processes in rank order, [B, …] → [size · B, …]; gradients flow back to their owners.

    Every process must give the same number of rows. With one process, this is the tensor itself.
    """
    if not distributed.is_initialized():
        return local
    rows: Tensor = _Gather.apply(local)
    return rows


def total(local: Tensor) -> Tensor:
    """Sum a tensor over all processes, without gradient."""
    out = local.detach().clone()
    if distributed.is_initialized():
        distributed.all_reduce(out)
    return out


def collect(local: Sequence[T], world: World) -> list[T]:
    """Collect the items of all processes in rank order, which should be few; usually only their number is sent."""
    if world.size == 1:
        return list(local)
    if not total(torch.tensor(len(local), device=world.device)).item():
        return []
    parts: list[list[T]] = [[] for _ in range(world.size)]
    distributed.all_gather_object(parts, list(local))
    return [item for part in parts for item in part]


class _Gather(torch.autograd.Function):
    """All-gather whose backward pass sums each row's gradients of all processes."""

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


def sharing_units(encoder: DualEncoder) -> tuple[nn.Module, ...]:
    """Return the units that FSDP shards: attention and feed-forward layers of the vision tower.

    Norms are not among them and stay in float32. Nor is the text tower: the number of texts, and so the number of its
    calls, differs between processes.
    """
    return tuple(module for module in encoder.vision.modules() if isinstance(module, Attention | Mlp))


def shard(step: nn.Module, units: Sequence[nn.Module], world: World, *, bfloat16: bool) -> None:
    """Shard the parameters of `step` in place; each of `units` is gathered only while it computes.

    In bfloat16 the units' weights are sent and used in that dtype, and gradients are summed in float32. Parameters
    in no unit are gathered for the whole step, and stay in float32 for autocast to handle.
    """
    mesh = init_device_mesh(world.device.type, (world.size,))
    # Autocast decides the dtype of activations between the layers, here as elsewhere.
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    for unit in units:
        fully_shard(unit, mesh=mesh, mp_policy=policy if bfloat16 else MixedPrecisionPolicy())
    fully_shard(step, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    """Return a full tensor; if it is sharded, every process must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_tensors(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Return full tensors, on the CPU if they were sharded; empty without `keep`, but every process must call this."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        full = whole(tensor.detach())
        if keep:
            out[name] = full.cpu() if isinstance(tensor, DTensor) else full
    return out


def share_like(value: Tensor, parameter: Tensor) -> Tensor:
    """Return this process's shard of `value` if `parameter` is sharded, else all of it; on the parameter's device."""
    value = value.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return value
    # Every process has read the whole tensor, so no shard needs to be sent.
    shared: Tensor = distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
    return shared


def refresh(twin: nn.Module | None, step: nn.Module) -> None:
    """Update the full copy of a sharded step. Every process must call it, with or without a copy."""
    tensors = whole_tensors(trainable(step), keep=twin is not None)
    if twin is not None:
        with torch.no_grad():
            for name, parameter in trainable(twin).items():
                parameter.copy_(tensors[name])
