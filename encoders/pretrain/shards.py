"""Parameters, gradients and optimiser state shared out over the processes (FSDP2), and whole again to be written.

Files know nothing of it: a checkpoint holds whole tensors, so any number of processes, sharded or not, goes on from it.
torch's own state-dict helpers step an optimiser once to fill its state, which a parameter that no batch has reached
yet must not have; so tensors are gathered and shared out one by one here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from encoders.pretrain.step import trainable
from encoders.pretrain.world import World


def shard(step: nn.Module, units: Sequence[nn.Module], world: World, *, bfloat16: bool) -> None:
    """Share the parameters of `step` out in place; each of `units` is whole only while it computes.

    In bfloat16 the units' weights travel and compute so, their gradients are summed in float32. What is in no unit is
    whole from a step's beginning to its end, and stays in float32 for autocast to see to.
    """
    mesh = init_device_mesh(world.device.type, (world.size,))
    # Autocast decides what tokens are between the layers, here as anywhere.
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    for unit in units:
        fully_shard(unit, mesh=mesh, mp_policy=policy if bfloat16 else MixedPrecisionPolicy())
    fully_shard(step, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; where it is shared out, every process must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_tensors(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """All of each tensor, on the CPU where it was shared out; nothing without `keep`, but every process must ask."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        full = whole(tensor.detach())
        if keep:
            out[name] = full.cpu() if isinstance(tensor, DTensor) else full
    return out


def share_like(value: Tensor, parameter: Tensor) -> Tensor:
    """This process's share of `value` where `parameter` is shared out, else all of it; on the parameter's device."""
    value = value.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return value
    # Every process has read the whole: none needs to be sent its share.
    shared: Tensor = distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
    return shared


def refresh(twin: nn.Module | None, step: nn.Module) -> None:
    """Bring a whole copy of a shared-out step up to date. Every process must call it, with or without a copy."""
    tensors = whole_tensors(trainable(step), keep=twin is not None)
    if twin is not None:
        with torch.no_grad():
            for name, parameter in trainable(twin).items():
                parameter.copy_(tensors[name])
