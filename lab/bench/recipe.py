"""Time the training steps of a recipe's stages beside the same models written plainly (lab.bench.plain).

Stages start from one another's weights; here they are untrained, which takes as long. Both get the same batches: first
ready in memory, then made as they train, from other videos for each so that neither finds pictures that the other left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from encoders.device import find_device
from encoders.pretrain.checkpoint import Plan, build_optimiser, clamp_scales, rate_at, set_rate
from encoders.pretrain.engine import autocast, update
from encoders.pretrain.settings import StageSettings, read_settings, read_tables, weights_name
from encoders.pretrain.stages import mixed_in, prepare
from encoders.pretrain.step import Job, Loaded, trainable
from encoders.pretrain.world import World
from lab.bench.encode import drain, name_of
from lab.bench.plain import plain_of
from lab.bench.result import Comparison, Facts, Measured, Result, Way, clocked, in_turn
from tasks.machine import machine_facts

OURS, PLAIN = "ours", "written plainly"
OURS_MADE, PLAIN_MADE = "ours, data made as it trains", "written plainly, data made"
DATA = "making the data alone"
COMMON = "common"
APART = 1000
"""Periods between the batches that each way makes for itself: they are of other videos."""
Train = Callable[[Loaded, int], None]


def bench_recipe(
    config: Path,
    stages: Sequence[str] = (),
    *,
    steps: int = 12,
    repeats: int = 3,
    device: str = "cpu",
    done: Callable[[str], None] = lambda _note: None,
) -> Result:
    """Compare the stages of a config file, all of them unless named, `steps` training steps a round.

    Ratios below 1 of "making the data alone" say what share of a step's time it takes to make a batch. Raises
    ModelError for unknown stages, and for models that are not written plainly.
    """
    names = stages or stages_of(config)
    world = World(device=find_device(device))
    with TemporaryDirectory() as folder:
        comparisons = tuple(compare_stage(config, name, Path(folder), world, steps, repeats, done) for name in names)
    settings: Facts = {"config": config.stem, "stages": list(names), "steps": steps, "repeats": repeats}
    return Result("recipe", machine_facts(name_of(world.device)), settings, comparisons)


def stages_of(config: Path) -> tuple[str, ...]:
    """Return the stages of a config file, in its order."""
    return tuple(name for name in read_tables(config) if name != COMMON)


def compare_stage(
    config: Path, stage: str, folder: Path, world: World, steps: int, repeats: int, done: Callable[[str], None]
) -> Comparison:
    """Compare a stage's training steps; weights that it starts from are made in `folder`."""
    settings = bare(read_settings(config, stage, seed=0), steps)
    job = prepare(settings, partial(untrained, config, folder, world), world, f"{config}: {stage}").job
    plan, count = settings.training, min(steps, period(settings))
    ways = {OURS: train_ours(job, plan, world), PLAIN: train_plainly(job, plan, world)}
    ready = list(islice(job.batches(0), count))
    far = APART * period(settings)
    timed = {
        OURS: rounds(ways[OURS], lambda: iter(ready), world),
        PLAIN: rounds(ways[PLAIN], lambda: iter(ready), world),
        OURS_MADE: rounds(ways[OURS], made(job, far, count), world),
        PLAIN_MADE: rounds(ways[PLAIN], made(job, 2 * far, count), world),
        DATA: rounds(lambda _loaded, _at: None, made(job, 3 * far, count), world),
    }
    facts: Facts = {"steps": count, "samples": sum(loaded.samples for loaded in ready)}
    return in_turn(f"{stage}: {count} training steps", timed, repeats, done, facts=facts)


def untrained(config: Path, folder: Path, world: World, stage: str) -> Path:
    """Return the weights file of a stage, made without training if it is not there."""
    path = folder / stage / weights_name(config, stage)
    if not path.exists() and not path.with_suffix("").exists():  # a language model is a folder
        path.parent.mkdir(parents=True, exist_ok=True)
        settings = bare(read_settings(config, stage, seed=0), 1)
        prepare(settings, partial(untrained, config, folder, world), world, f"{config}: {stage}").save(path)
    return path


def bare(settings: StageSettings, steps: int) -> StageSettings:
    """Leave out evaluation and, where videos are watched before training, all but those of `steps` batches."""
    settings = replace(settings, evaluation=None)
    kitchen = settings.data.kitchen
    if settings.stage != "captions" or not settings.v2t.draws or kitchen is None:
        return settings
    watched = replace(kitchen, videos=min(kitchen.videos, steps * settings.data.batch))
    return replace(settings, data=replace(settings.data, kitchen=watched))


def period(settings: StageSettings) -> int:
    """Return after how many steps the kinds of a stage's batches come again in the same order; 12 if all are alike."""
    return math.lcm(*(one.every for one in mixed_in(settings).values())) if mixed_in(settings) else 12


def made(job: Job, first: int, count: int) -> Callable[[], Iterator[Loaded]]:
    """Return what makes the next `count` batches of a stream at each call, from step `first` on."""
    stream = job.batches(first)
    return lambda: islice(stream, count)


def rounds(train: Train, batches: Callable[[], Iterator[Loaded]], world: World) -> Way:
    """Return a way that trains on a round's batches; its facts are the samples a second."""
    done = 0

    def once() -> int:
        nonlocal done
        samples = 0
        for loaded in batches():
            train(loaded, done)
            done += 1
            samples += loaded.samples
        return samples

    def measured() -> Measured:
        found: list[int] = []
        taken = clocked(lambda: found.append(once()), partial(drain, world.device))()
        return replace(taken, facts={"samples_per_second": found[0] / taken.seconds})

    return measured


def train_ours(job: Job, plan: Plan, world: World) -> Train:
    """Return a training step as the engine makes it."""
    step = job.step.to(world.device).train()
    optimiser = build_optimiser(step, plan)

    def train(loaded: Loaded, at: int) -> None:
        set_rate(optimiser, plan, at)
        update(step, loaded, optimiser, plan, world, at)
        clamp_scales(step)

    return train


def train_plainly(job: Job, plan: Plan, world: World) -> Train:
    """Return a training step as a textbook has it."""
    model = plain_of(job.step).to(world.device).train()
    parameters = list(trainable(model).values())
    optimiser = torch.optim.AdamW(
        parameters, plan.lr, betas=(plan.beta1, plan.beta2), eps=plan.eps, weight_decay=plan.weight_decay
    )

    def train(loaded: Loaded, at: int) -> None:
        for group in optimiser.param_groups:
            group["lr"] = rate_at(plan, at)
        optimiser.zero_grad()
        with autocast(world.device, plan.dtype):
            loss = model(loaded.batch.to(world.device))
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, plan.clip)
        optimiser.step()
        loss.item()

    return train
