"""Time a whole encoder run against its parts, to show overlap and overhead; and a folder on several workers.

On the same clips, alternately: the run as on the command line, decoding alone, encoding alone, and the plain loop that
decodes and encodes one clip after the other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from encoders.decode_ahead import DecodedClip, decode_ahead
from encoders.task_model import EncoderModel
from encoders.v2t.task_model import VideoToTextModel
from evals.new_run import describe_run
from evals.record import Results, Sample
from evals.runner import RunSettings, run_task
from lab.bench.result import Facts, Measured, Result, Timing, Way, clocked, in_turn
from tasks.errors import DataError, ModelError
from tasks.machine import machine_facts
from tasks.task import Item, Task

if TYPE_CHECKING:
    from encoders.embed import BuildEncoder
    from encoders.ray_pool import Pool


OURS, DECODE, ENCODE, LOOP = "end to end", "decode only", "encode only", "one clip after the other"
NOT_MODEL = frozenset({"decode", "total"})
Encoder = EncoderModel | VideoToTextModel


def bench_end_to_end(task: Task[Any], model: object, videos: int, repeats: int, done: Callable[[str], None]) -> Result:
    """Time all questions about the task's first `videos` clips.

    `over_slower_part` is the run's time over that of the slower of its parts, `over_processor_bound` that over the
    processor time of both parts shared by all cores (on a CPU no run is faster), both medians of rounds; `overhead`
    is the share of the run spent neither waiting for frames nor in the model. Raises ModelError for a model that
    reads no frames by itself, DataError for fewer than two clips.
    """
    if not isinstance(model, EncoderModel | VideoToTextModel):
        raise ModelError("only an encoder's run has a decoding part: take one of the presets, openclip or v2t")
    items = first_items(task, videos)
    clips = list(dict.fromkeys(item.clip for item in items))
    decoded = decode_all(model, [item.clip for item in items])
    task.predict(model, items[-1:])  # to warm up

    def encode() -> None:
        with model.frames.holding(decoded):
            predict_all(task, model, items)

    def anew(way: Way) -> Way:
        """Time a way without the vectors that the one before left in the model."""

        def forgetful() -> Measured:
            model.forget()
            return way()

        return forgetful

    ways: dict[str, Way] = {
        OURS: anew(lambda: whole_run(task, model, len(items))),
        DECODE: clocked(lambda: decode_all(model, clips)),
        ENCODE: anew(clocked(encode)),
        LOOP: anew(clocked(lambda: predict_all(task, model, items))),
    }
    work = f"{len(items)} items of {task.info.name} about {len(clips)} clips"
    comparison = in_turn(work, ways, repeats, done, warm_up=False)
    settings: Facts = {
        "model": model.info.name,
        "dtype": model.info.dtype,
        "clips": len(clips),
        "items": len(items),
        "workers": model.frames.reading.workers,
        "repeats": repeats,
    }
    machine = machine_facts(model.info.device)
    return Result("end-to-end", machine, settings, (comparison,), summary(comparison.rows, machine.cores))


def first_items(task: Task[Any], videos: int) -> list[Item]:
    """Return the items about the first clips, in the task's order."""
    clips = list(dict.fromkeys(item.clip for item in task.items()))[:videos]
    if len(clips) < 2:
        raise DataError(f"{task.info.name} has {len(clips)} clips to measure with: nothing can overlap")
    wanted = set(clips)
    items = list(task.items())
    return items[: next((at for at, item in enumerate(items) if item.clip not in wanted), len(items))]


def decode_all(model: Encoder, clips: Sequence[Any]) -> list[DecodedClip]:
    """Decode every clip once, as in a run."""
    distinct = list(dict.fromkeys(clips))
    with closing(decode_ahead(distinct, model.policy, model.frames.reading.ahead)) as stream:
        return list(stream)


def predict_all(task: Task[Any], model: Encoder, items: Sequence[Item]) -> None:
    """Predict the items batch by batch, without a runner."""
    for batch in batches(items, model.batch_hint.batch):
        task.predict(model, batch)


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield consecutive batches of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


def whole_run(task: Task[Any], model: Encoder, items: int) -> Measured:
    """Time a run into a temporary folder, including record and results; its own timings are in the facts."""
    found: list[Results] = []
    with tempfile.TemporaryDirectory() as folder:
        record = describe_run(task, model, "bench", {}, [], limit=items)
        settings = RunSettings(Path(folder) / "run")
        measured = clocked(lambda: found.append(run_task(task, model, record, settings, _nothing)))()
    cost = found[0].cost
    known = sum(seconds for stage, seconds in cost.seconds_by_stage.items() if stage not in NOT_MODEL)
    facts: Facts = {
        "seconds_by_stage": cost.seconds_by_stage,
        "frames_wait_share": cost.frames_wait_share,
        "overhead": 1 - known / measured.seconds,
    }
    return replace(measured, facts=facts)


def summary(rows: Sequence[Timing], cores: int) -> Facts:
    """Compute the summary figures of the rows."""
    seconds = {row.name: row.seconds for row in rows}
    slower = [max(pair) for pair in zip(seconds[DECODE], seconds[ENCODE], strict=True)]
    ours = rows[0]
    spent = {row.name: row.cpu_seconds for row in rows}
    bound = [sum(pair) / cores for pair in zip(spent[DECODE], spent[ENCODE], strict=True)]
    return {
        "over_slower_part": median(run / part for run, part in zip(ours.seconds, slower, strict=True)),
        "over_processor_bound": median(run / least for run, least in zip(ours.seconds, bound, strict=True)),
        "overhead": ours.facts["overhead"],
        "frames_wait_share": ours.facts["frames_wait_share"],
    }


def _nothing(sample: Sample) -> None:
    """Show no progress."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """The result for a number of workers: total seconds, including the start of workers and models, and those after it.

    `steady_rate` is videos per second between the first result and the last.
    """

    workers: int
    videos: int
    seconds: float
    steady_rate: float


def embed_with(
    build: BuildEncoder, pool: Pool | None, videos: Mapping[str, Path], at_once: int, tick: Callable[[str], None]
) -> Scaling:
    """Embed all videos on a pool and time it."""
    from encoders.embed import RayEmbedder, embedder_of

    with embedder_of(build, pool) as embedder:
        spread = replace(embedder, at_once=at_once) if isinstance(embedder, RayEmbedder) else embedder
        began = perf_counter()
        times = list(_times(spread.embed(videos), tick))
    steady = sum(time > times[0] for time in times)
    rate = steady / (times[-1] - times[0]) if times[-1] > times[0] else 0.0
    return Scaling(pool.workers if pool else 1, len(times), times[-1] - began, rate)


def _times(outcomes: Iterator[object], tick: Callable[[str], None]) -> Iterator[float]:
    for _ in outcomes:
        tick("")
        yield perf_counter()


def scaling_rows(found: Sequence[Scaling]) -> list[tuple[str, ...]]:
    """Return a row for each number of workers."""
    first = found[0].steady_rate
    return [
        (
            str(one.workers),
            str(one.videos),
            f"{one.seconds:.1f}",
            f"{one.steady_rate:.2f}",
            f"{one.steady_rate / first:.2f}" if first else "–",
        )
        for one in found
    ]
