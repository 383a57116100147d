"""The training loop of every stage, in one process or many.

A step is a pure function of the parameters, the optimiser's state and the step's number: its batch and random numbers
are drawn from (seed, step). An interrupted run therefore continues bit for bit on the same machine with the same number
of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from encoders.device import has_fast_bfloat16
from encoders.pretrain.checkpoint import (
    Journal,
    Plan,
    Progress,
    Row,
    build_optimiser,
    clamp_scales,
    load_checkpoint,
    save_checkpoint,
    set_rate,
)
from encoders.pretrain.step import Job, Loaded, seed_of, trainable
from encoders.pretrain.world import World, collect, refresh, shard, total, whole
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class Watch:
    """Callbacks for progress: `row` with each line of the record, `step` after each step; `memory` in bytes."""

    row: Callable[[Row], None] = lambda _row: None
    step: Callable[[int, float], None] = lambda _step, _loss: None
    memory: Callable[[], int] = lambda: 0


def train(
    job: Job, plan: Plan, run: Path, *, seed: int, world: World | None = None, watch: Watch | None = None
) -> Progress:
    """Train `job.step` to the plan's end, from the run's last checkpoint if there is one.

    Raises ModelError, naming the step, if the loss or a gradient is no longer finite.
    """
    world, watch = world or World(), watch or Watch()
    step = job.step.to(world.device).train()
    shared = plan.parallel == "fsdp" and world.size > 1
    module = _parallel(job, plan, world)
    optimiser = build_optimiser(step, plan)
    progress = load_checkpoint(run, step, optimiser)
    journal = Journal(run if world.first else None, progress.step)
    group = _Group(plan, world, watch)
    batches = job.batches(progress.step)
    while progress.step < plan.end:
        loaded = next(batches)
        torch.manual_seed(seed_of(seed, "step", progress.step, world.rank))
        rate = set_rate(optimiser, plan, progress.step)
        loss, values = update(module, loaded, optimiser, plan, world, progress.step)
        clamp_scales(step)
        bad = collect(loaded.bad, world)
        progress = Progress(progress.step + 1, progress.samples + loaded.samples * world.size, progress.bad + len(bad))
        journal.bad(progress.step, bad)
        group.add({**values, "loss": loss}, loaded.samples * world.size)
        watch.step(progress.step, float(loss))
        if progress.step % plan.log == 0 or progress.step == plan.end:
            row = group.row(progress, rate)
            journal.write(row)
            watch.row(row)
        last = progress.step == plan.end
        if last or (plan.evaluate and progress.step % plan.evaluate == 0):
            if shared:
                refresh(job.twin, step)
            _evaluate(job, progress, journal, watch)
        if last or progress.step % plan.save == 0:
            save_checkpoint(run, step, optimiser, progress, plan.keep, write=world.first)
    return progress


def autocast(device: torch.device, dtype: str) -> torch.autocast:
    """Autocast to bfloat16 if the plan or the device asks for it; parameters and optimiser stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16(device, dtype))


def in_bfloat16(device: torch.device, dtype: str) -> bool:
    """Whether a plan's `dtype` means bfloat16 on a device: `auto` does if that is fast."""
    return dtype == "bfloat16" or (dtype == "auto" and has_fast_bfloat16(device))


def _parallel(job: Job, plan: Plan, world: World) -> nn.Module:
    """Wrap the step for all processes. Raises ModelError for one that can't be sharded."""
    step = job.step
    if plan.parallel == "fsdp" and not job.units:
        raise ModelError("parallel = 'fsdp' is for stages that train an encoder; this one takes 'ddp'")
    if world.size == 1:
        return step
    if plan.parallel == "fsdp":
        shard(step, job.units, world, bfloat16=in_bfloat16(world.device, plan.dtype))
        return step
    ids = [world.device] if world.device.type == "cuda" else None
    # A batch of images leaves the 3D projection without gradients, one of videos the 2D projection.
    return DistributedDataParallel(step, device_ids=ids, find_unused_parameters=True)


def update(
    module: nn.Module, loaded: Loaded, optimiser: torch.optim.Optimizer, plan: Plan, world: World, at: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Make one optimiser step; return the loss and other metrics, detached.

    Raises ModelError, naming step `at`, if the loss or a gradient is no longer finite.
    """
    with autocast(world.device, plan.dtype):
        loss, metrics = module(loaded.batch.to(world.device))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = _clip([p for p in trainable(module).values() if p.grad is not None], plan.clip)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        found = f"loss {loss.detach().item()}, gradient norm {norm.detach().item()}"
        raise ModelError(f"training diverged at step {at}: {found}; lower lr")
    optimiser.step()
    return total(loss) / world.size, {**metrics, "gradient_norm": norm.detach()}


def _clip(parameters: Sequence[nn.Parameter], most: float) -> Tensor:
    """Clip the gradients to a global norm of `most`; return their norm before, over all shards."""
    norm = whole(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
    nn.utils.clip_grads_with_norm_(parameters, most, norm)
    return norm


def _evaluate(job: Job, progress: Progress, journal: Journal, watch: Watch) -> None:
    if job.evaluate is None:
        return
    began = perf_counter()
    looked_at = job.twin or job.step
    looked_at.eval()
    values = job.evaluate()
    looked_at.train()
    row: Row = {"step": progress.step, "kind": "evaluation", **values, "seconds": perf_counter() - began}
    journal.write(row)
    watch.row(row)


class _Group:
    """Means over the steps since the last row."""

    def __init__(self, plan: Plan, world: World, watch: Watch) -> None:
        self._plan, self._world, self._watch = plan, world, watch
        self._clear()

    def _clear(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._samples = 0
        self._began = perf_counter()

    def add(self, values: dict[str, Tensor], samples: int) -> None:
        """Add one step's values; a kind of batch need not have all of them."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
            self._counts[name] = self._counts.get(name, 0) + 1
        self._samples += samples

    def row(self, progress: Progress, rate: float) -> Row:
        """Return the row of this group and start the next."""
        seconds = perf_counter() - self._began
        row: Row = {"step": progress.step, "kind": "train"}
        row |= {name: value / self._counts[name] for name, value in self._sums.items()}
        row |= {"lr": rate, "samples": progress.samples, "bad": progress.bad, "seconds": seconds}
        row |= {"samples_per_second": self._samples / seconds, "memory_bytes": self._memory()}
        self._clear()
        return row

    def _memory(self) -> int:
        if self._world.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._world.device)
        return self._watch.memory()
