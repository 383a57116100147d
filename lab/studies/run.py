"""A study's methods, their costs, and their resumable training from the same image encoder.

The methods are those that the paper compares, as changes to one stage: what is masked, seen and trained.
Their costs are counted exactly, timed alternately, and checked against a separate process. Each gets the learning rate
that is best for it on other videos, from a seed of its own (ours).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from pydantic import JsonValue

from encoders.build import state_digest
from encoders.config import AdaptConfig, VisionConfig, read_dataclass
from encoders.pretrain.checkpoint import METRICS, read_rows
from encoders.pretrain.engine import Watch, autocast, train
from encoders.pretrain.evaluate import Outcomes
from encoders.pretrain.settings import StageSettings, read_settings
from encoders.pretrain.stages import Prepared, encoder_config, evaluation, prepare
from encoders.pretrain.world import World
from encoders.weights import LoadedEncoder, load_encoder
from evals.provenance import collect
from evals.runner import peak_memory_bytes
from evals.store import read_row, write_row
from evals.training import deciding, difference
from lab.bench.encode import Method, count_method, find_methods, seconds_side_by_side, training_bytes, vision_step
from lab.bench.ranks import in_its_own_process
from lab.studies.summary import (
    ROWS,
    RUN,
    TUNING,
    MethodCost,
    StudyCosts,
    StudyRun,
    Trained,
    append_trained,
    best_rates,
    read_trained,
)
from tasks.errors import ModelError, RecordError
from tasks.kitchen.plan import make_plan

COUNTED = (
    "jst-mask0",
    "jst-mask25",
    "jst-mask50",
    "jst-mask75",
    "fst",
    "frame-level",
    "adapters",
    "lora",
    "coarse-time",
    "coarse-space",
    "coarse-both",
    "tubevit",
)
"""Methods taken over from the bench as they are."""


def studied_methods(depth: int) -> tuple[Method, ...]:
    """Return all methods of the study for a vision tower of `depth` layers.

    Masked FST and frame-level represent the paper's curves of each over masking. Masking seven eighths (our choice)
    takes less memory than any coarse method, so that each of these lies between two masks. The last third of the layers
    corresponds to the paper's last four of ViT-B's twelve (our choice); `-patches` also trains the input layers.
    """
    last = AdaptConfig("last", last=max(1, round(depth / 3)))
    return (
        *find_methods(COUNTED),
        Method("jst-mask88", 0.875),
        Method("fst-mask75", 0.75, {"attention": "factorized"}),
        Method("frame-level-mask75", 0.75, {"attention": "frame", "patches": "image"}),
        Method("last-third", adapt=replace(last, tune_patches=False)),
        Method("last-third-patches", adapt=last),
    )


def choose_methods(names: tuple[str, ...], depth: int) -> tuple[Method, ...]:
    """Return the named methods, in the study's order; all if none is named. Raises ModelError for unknown names."""
    methods = studied_methods(depth)
    known = [method.name for method in methods]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ModelError(f"the study has no method '{unknown[0]}'; known are {', '.join(known)}")
    return tuple(method for method in methods if not names or method.name in names)


def as_method(stage: StageSettings, method: Method, rate: float | None = None) -> StageSettings:
    """Return the stage changed by a method and its learning rate; all else stays, including the order of data."""
    model = replace(stage.model, mask=method.mask, vision={**stage.model.vision, **method.changes}, adapt=method.adapt)
    training = replace(stage.training, lr=rate) if rate else stage.training
    return replace(stage, name=method.name, model=model, training=training)


ROUNDS = 5


def measure_costs(
    methods: tuple[Method, ...], vision: VisionConfig, batch: int, done: Callable[[str], None]
) -> StudyCosts:
    """Count and measure every method on batches of the study's shape, on CPU; `done` is called for each."""
    changed = {method.name: replace(vision, **method.changes) for method in methods}
    cast = autocast(torch.device("cpu"), "auto")
    steps = {method.name: vision_step(method, changed[method.name], batch, cast) for method in methods}
    seconds = seconds_side_by_side(steps, ROUNDS, done)
    costs = []
    for method in methods:
        row = count_method(method, changed[method.name])
        work = partial(resident_bytes, method, changed[method.name], batch)
        costs.append(
            MethodCost(
                method=method.name,
                mask=method.mask,
                tokens=row.tokens,
                parameters=row.parameters,
                trainable=row.trainable,
                activation_bytes=row.activation_bytes,
                training_bytes=training_bytes(row, batch),
                train_flops=row.train_flops,
                step_seconds=seconds[method.name],
                measured_bytes=in_its_own_process(work),
            )
        )
        done(f"memory of {method.name}")
    return StudyCosts(
        batch=batch,
        frames=vision.frames,
        size=vision.size,
        threads=torch.get_num_threads(),
        methods=tuple(costs),
    )


def ticks(methods: tuple[Method, ...]) -> int:
    """Return the number of callbacks of `measure_costs`."""
    return ROUNDS + 1 + len(methods)


def resident_bytes(method: Method, vision: VisionConfig, batch: int) -> int:
    """Measure how much a step of `batch` videos raises this process's peak memory over that of a step of one.

    Run this in a new process: its first step loads what every step needs.
    """
    torch.set_num_threads(1)
    cast = autocast(torch.device("cpu"), "auto")
    vision_step(method, vision, 1, cast)()
    before = peak_memory_bytes()
    vision_step(method, vision, batch, cast)()
    return peak_memory_bytes() - before


IMAGE, SHORT = "image", "short"
TUNING_SEED = 1000
"""The seed of the trainings that choose learning rates: none of the study's own."""
WORK = "work"
START, WEIGHTS = "start.safetensors", "encoder.safetensors"
SMOKE = (
    "model.vision = { width = 32, depth = 2, heads = 2, mlp = 64 }",
    "model.text = { width = 32, depth = 1, heads = 2, mlp = 64, vocabulary = 600 }",
    "data.batch = 8",
    "loss.views.circle = 8",
    "data.kitchen.videos = 64",
    "evaluation.videos = 12",
    "evaluation.data.kitchen.videos = 12",
    "training.steps = 2",
    "training.warmup = 1",
    "training.log = 2",
    "training.save = 2",
)
"""A smoke test: every method, two steps each."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A study to be run: a config with the stages `image` and `short`, and the options.

    `steps` overrides the config's for the methods; no `methods` means all. Of several `rates`, each method gets the one
    that is best for it; one alone, or the config's if there is none, serves all.
    """

    config: Path
    out: Path
    seeds: tuple[int, ...]
    methods: tuple[str, ...] = ()
    steps: int | None = None
    smoke: bool = False
    rates: tuple[float, ...] = ()

    def stage(self, name: str, seed: int) -> StageSettings:
        """Read the settings of a stage for a seed. Raises ModelError naming file and key."""
        changes = list(SMOKE) if self.smoke else []
        if self.steps is not None and name == SHORT:
            changes.append(f"training.steps = {self.steps}")
        return read_settings(self.config, name, seed=seed, changes=changes)

    def vision(self) -> VisionConfig:
        """The vision tower that the methods change."""
        stage = self.stage(SHORT, 0)
        found = encoder_config(stage, None, f"{self.config}: {SHORT}").vision
        return replace(found, frames=stage.data.frames)

    def chosen(self) -> tuple[Method, ...]:
        """Return the methods to be trained. Raises ModelError for unknown names."""
        return choose_methods(self.methods, self.vision().depth)

    def tried(self) -> tuple[float, ...]:
        """Return the learning rates to choose from; none if there is no choice."""
        return self.rates if len(self.rates) > 1 else ()


@dataclass(frozen=True, slots=True)
class Left:
    """What is still to be trained: seeds without an image encoder, rates to be tried, and rows; in steps as well."""

    images: tuple[int, ...]
    rates: tuple[tuple[Method, float], ...]
    rows: tuple[tuple[int, Method], ...]
    steps: int


def claim(plan: Plan, argv: Sequence[str]) -> StudyRun:
    """Write the record of a new study, or check that an existing one has the same settings.

    Seeds and methods are not part of it, so that a study can grow. Raises RecordError naming what differs.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    settings = asked(plan)
    path = plan.out / RUN
    if path.exists():
        before = read_row(path, StudyRun)
        rates: dict[str, JsonValue] = {"rates": list(plan.rates)}
        different = difference({"rates": list(before.rates)}, rates) or difference(completed(before, path), settings)
        if different:
            raise RecordError(f"{plan.out} was started with other settings: {different}; choose another --out")
        return before
    videos = held_out(plan.stage(SHORT, 0))
    run = StudyRun(
        settings=settings,
        smoke=plan.smoke,
        rates=plan.rates,
        videos=tuple(video for video, _ in videos),
        families=tuple(family for _, family in videos),
        torch_threads=torch.get_num_threads(),
        provenance=collect(argv),
    )
    write_row(path, run)
    return run


def asked(plan: Plan) -> dict[str, JsonValue]:
    """Return the settings of both stages as recorded, for seed 0."""
    return {name: deciding(plan.stage(name, 0)) for name in (IMAGE, SHORT)}


def completed(run: StudyRun, path: Path) -> dict[str, JsonValue]:
    """Return a record's settings, with defaults for those that did not exist when it was written."""
    return {
        name: deciding(read_dataclass(StageSettings, table, f"{path}: {name}")) for name, table in run.settings.items()
    }


def held_out(stage: StageSettings) -> list[tuple[str, str]]:
    """Return id and family of each held-out video. Raises ModelError unless they are kitchen's."""
    kitchen = stage.evaluation.data.kitchen if stage.evaluation else None
    if stage.evaluation is None or kitchen is None:
        raise ModelError(f"the study compares on videos of the kitchen: name them in [{SHORT}.evaluation]")
    count = min(stage.evaluation.videos, kitchen.videos)
    plans = [make_plan(kitchen.split, kitchen.first + index) for index in range(count)]
    return [(plan.id, plan.family) for plan in plans]


def left(plan: Plan) -> Left:
    """Return what is left of the plan."""
    done = {(row.seed, row.method) for row in read_trained(plan.out / ROWS)}
    rows = tuple((seed, m) for seed in plan.seeds for m in plan.chosen() if (seed, m.name) not in done)
    tried = {(row.method, row.rate) for row in read_trained(plan.out / TUNING)}
    rates = tuple((m, rate) for m in plan.chosen() for rate in plan.tried() if (m.name, rate) not in tried)
    needed = dict.fromkeys(([TUNING_SEED] if rates else []) + [seed for seed, _ in rows])
    images = tuple(seed for seed in needed if not image_weights(plan, seed).is_file())
    steps = len(images) * plan.stage(IMAGE, 0).training.steps
    return Left(images, rates, rows, steps + (len(rates) + len(rows)) * plan.stage(SHORT, 0).training.steps)


def run(plan: Plan, record: StudyRun, tick: Callable[[str], None]) -> None:
    """Train what is left; `tick` is called after each step. Each method's row is on disk before the next begins."""
    todo = left(plan)
    for seed in todo.images:
        train_image(plan, seed, tick)
    for method, rate in todo.rates:
        row = train_method(plan, tuning_videos(plan, method, rate), tick)
        append_trained(plan.out / TUNING, row)
    rates = best_rates(read_trained(plan.out / TUNING))
    for seed, method in todo.rows:
        chosen = rates[method.name] if plan.tried() else next(iter(plan.rates), None)
        settings = as_method(plan.stage(SHORT, seed), method, chosen)
        append_trained(plan.out / ROWS, train_method(plan, settings, tick, record.videos))


def tuning_videos(plan: Plan, method: Method, rate: float) -> StageSettings:
    """Return a method's stage with a learning rate, measured on as many other held-out videos."""
    settings = as_method(plan.stage(SHORT, TUNING_SEED), method, rate)
    asked = settings.evaluation
    if asked is None or asked.data.kitchen is None:
        raise ModelError(f"the study compares on videos of the kitchen: name them in [{SHORT}.evaluation]")
    kitchen = replace(asked.data.kitchen, first=asked.data.kitchen.first + asked.data.kitchen.videos)
    return replace(settings, evaluation=replace(asked, data=replace(asked.data, kitchen=kitchen)))


def image_weights(plan: Plan, seed: int) -> Path:
    """Return the path of the image encoder of a seed."""
    return plan.out / WORK / f"seed{seed}" / IMAGE / "image.safetensors"


def train_image(plan: Plan, seed: int, tick: Callable[[str], None]) -> None:
    """Train the image encoder that all methods of a seed start from."""
    path = image_weights(plan, seed)
    settings = plan.stage(IMAGE, seed)
    prepared = _prepared(plan, settings)
    _train(prepared, settings, path.parent, tick)
    prepared.save(path)
    shutil.rmtree(path.parent / "checkpoints")


def train_method(
    plan: Plan, settings: StageSettings, tick: Callable[[str], None], videos: tuple[str, ...] | None = None
) -> Trained:
    """Train one method from one seed and evaluate it, before its first step as well.

    Raises RecordError unless it was asked about `videos`, if given.
    """
    folder = plan.out / WORK / f"seed{settings.seed}" / f"{settings.name}-{settings.training.lr:g}"
    folder.mkdir(parents=True, exist_ok=True)
    prepared = _prepared(plan, settings)
    prepared.save(folder / START)
    start = outcomes(settings, load_encoder(folder / START))
    samples, seconds = _train(prepared, settings, folder, tick)
    prepared.save(folder / WEIGHTS)
    trained = load_encoder(folder / WEIGHTS)
    found = outcomes(settings, trained)
    if videos is not None and found.keys != videos:
        raise RecordError(f"{plan.out / RUN} names other videos than those found: tasks/kitchen was changed since")
    row = Trained(
        method=settings.name,
        seed=settings.seed,
        steps=settings.training.steps,
        samples=samples,
        rate=settings.training.lr,
        start=float(np.mean(start.text_to_video)),
        loss=_last_loss(folder),
        initial_weights_sha256=str(prepared.facts["initial_weights_sha256"]),
        weights_sha256=state_digest(trained.encoder),
        text_to_video=tuple(map(float, found.text_to_video)),
        video_to_text=tuple(map(float, found.video_to_text)),
        statements=shares(found),
        chances={"text_to_video_r1": 1 / len(found.keys), "video_to_text_r1": 1 / len(found.keys), **found.chances},
        seconds=seconds,
    )
    shutil.rmtree(folder / "checkpoints")
    return row


def _prepared(plan: Plan, settings: StageSettings) -> Prepared:
    return prepare(settings, lambda _: image_weights(plan, settings.seed), World(), settings.name)


def _train(prepared: Prepared, settings: StageSettings, folder: Path, tick: Callable[[str], None]) -> tuple[int, float]:
    """Train a stage to its end, from its last checkpoint if any; return samples and seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    began = perf_counter()
    note = f"seed {settings.seed}, {settings.name}, rate {settings.training.lr:g}"
    watch = Watch(step=lambda _, loss: tick(f"{note}, loss {loss:.2f}"))
    job = replace(prepared.job, evaluate=None)
    progress = train(job, settings.training, folder, seed=settings.seed, watch=watch)
    return progress.samples, perf_counter() - began


def outcomes(settings: StageSettings, trained: LoadedEncoder) -> Outcomes:
    """Evaluate all questions on every held-out video."""
    asked = evaluation(settings, trained.encoder, trained.tokenizer, World())
    if asked is None:
        raise ModelError(f"the study needs [{SHORT}.evaluation]")
    return asked.outcomes()


def shares(found: Outcomes) -> dict[str, tuple[float | None, ...]]:
    """Return, by kind, the share of each video's statements that were told from false ones."""
    out: dict[str, tuple[float | None, ...]] = {}
    for kind, asked in found.statements.items():
        by_video: list[list[bool]] = [[] for _ in found.keys]
        for video, right in asked:
            by_video[video].append(right)
        out[kind] = tuple(float(np.mean(hits)) if hits else None for hits in by_video)
    return out


def _last_loss(folder: Path) -> float:
    rows = [row for row in read_rows(folder / METRICS) if row["kind"] == "train"]
    return float(rows[-1]["loss"])
