"""AdamW with its parameter groups, and its state as named tensors."""

from __future__ import annotations

from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from encoders.adapt import matches
from encoders.dual import MAX_SCALE
from encoders.pretrain.plan import Plan, rate_at
from encoders.pretrain.shards import share_like
from encoders.pretrain.step import trainable
from tasks.errors import ModelError

NO_DECAY = (
    "*.positions.*",
    "*.positions",
    "*position_embeddings*",
    "*class_token",
    "*.query",
    "*log_scale",
    "*.latents",
)
"""Tables and single vectors that weight decay would pull towards nothing; vectors are spared anyway."""


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: to matrices, but not to norms, biases, positions and the temperature."""
    return parameter.ndim >= 2 and not matches(name, NO_DECAY)


def rate_of(name: str, plan: Plan) -> float:
    """The multiple of the learning rate at which a parameter trains: the first pattern that fits."""
    return next((rate for pattern, rate in (plan.rates or {}).items() if fnmatchcase(name, pattern)), 1.0)


def build_optimiser(module: nn.Module, plan: Plan) -> torch.optim.AdamW:
    """AdamW over the trainable parameters. Raises ModelError where there are none, or a pattern fits none."""
    parameters = trainable(module)
    if not parameters:
        raise ModelError("nothing to train: every parameter is frozen")
    for pattern in plan.rates or {}:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            raise ModelError(f"training plan: rates: '{pattern}' fits no trainable parameter")
    groups: dict[tuple[float, float], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in parameters.items():
        decay = plan.weight_decay if decays(name, parameter) else 0.0
        groups.setdefault((rate_of(name, plan), decay), []).append((name, parameter))
    return torch.optim.AdamW(
        [
            {"params": members, "weight_decay": decay, "rate": rate, "lr": plan.lr * rate}
            for (rate, decay), members in groups.items()
        ],
        betas=(plan.beta1, plan.beta2),
        eps=plan.eps,
        fused=True,
    )


@torch.no_grad()
def clamp_scales(module: nn.Module) -> None:
    """Bring every log-scale that trains back between 0 and its ceiling, as CLIP does after each step."""
    for name, parameter in trainable(module).items():
        if name.endswith("log_scale"):
            parameter.clamp_(0.0, MAX_SCALE)


def set_rate(optimiser: torch.optim.Optimizer, plan: Plan, step: int) -> float:
    """Give every group its learning rate of step `step`; the base rate."""
    base = rate_at(plan, step)
    for group in optimiser.param_groups:
        group["lr"] = base * group["rate"]
    return base


def optimiser_tensors(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as `KIND.PARAMETER` tensors; parameters that were never stepped have none."""
    return {
        f"{kind}.{name}": value
        for name, parameter in trainable(module).items()
        for kind, value in optimiser.state.get(parameter, {}).items()
    }


def load_optimiser(module: nn.Module, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` gave. Raises ModelError for tensors of other parameters."""
    left = dict(tensors)
    for name, parameter in trainable(module).items():
        found = {kind: left.pop(f"{kind}.{name}") for kind in KINDS if f"{kind}.{name}" in left}
        other = [kind for kind, value in found.items() if value.ndim and value.shape != parameter.shape]
        if other or (found and "step" not in found):
            raise ModelError(f"the optimiser's state is of another model: {other[0] if other else 'no step'} of {name}")
        if found:
            optimiser.state[parameter] = {
                kind: share_like(value, parameter) if value.ndim else value.to(parameter.device)
                for kind, value in found.items()
            }
    if left:
        raise ModelError(f"the optimiser's state is of another model: {next(iter(left))}")


KINDS = ("step", "exp_avg", "exp_avg_sq")
