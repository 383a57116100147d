"""`longvid bench scaling`: the same folder embedded by one worker, by two, …: videos a second, and what each adds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from evals import console
from evals.bench.options import JSON
from evals.benchmark_app import MODEL, OPTIONS
from evals.engines import ADDRESS, GPUS, Engine, build_encoder_model, pool_of

if TYPE_CHECKING:
    from encoders.embed_on_ray import BuildEncoder
    from encoders.ray_pool import Pool

EXAMPLE = "Example: longvid bench scaling videos -m longvivit-l -M weights=FILE --workers 1 --workers 2"


@dataclass(frozen=True, slots=True)
class Scaling:
    """One number of workers: all videos' seconds, the start of workers and models included, and those after it.

    `steady_rate` is videos a second between the first result and the last.
    """

    workers: int
    videos: int
    seconds: float
    steady_rate: float


def scaling(
    folder: Annotated[Path, typer.Argument(help="A folder of videos; some dozens for each worker.")],
    model: MODEL,
    model_option: OPTIONS = None,
    workers: Annotated[list[int] | None, typer.Option("--workers", help="Repeatable. Default: 1 and 2.")] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Videos handed to a worker at a time.")] = 4,
    gpus_per_worker: GPUS = None,
    address: ADDRESS = None,
    json: JSON = None,
) -> None:
    """Embed a folder with each number of Ray workers in turn; no vectors are written."""
    from encoders.bench.machine import machine_facts
    from encoders.bench.result import Facts, Result
    from encoders.embed_folder import find_videos
    from evals.bench.show import STANDARD_OUTPUT, show
    from tasks.registry import parse_options

    videos = find_videos(folder)
    build = partial(build_encoder_model, model, parse_options(model_option or []))
    machine = machine_facts("cpu" if not gpus_per_worker else "cuda")
    found = []
    for count in workers or [1, 2]:
        pool = pool_of(Engine.RAY, count, gpus_per_worker, address)
        with console.progress(f"{count} workers", len(videos), 0) as tick:
            found.append(measure(build, pool, videos, at_once, tick))
    settings: Facts = {"model": model, "options": list(model_option or []), "at_once": at_once}
    details: Facts = {"scaling": [asdict(one) for one in found]}
    show(Result("scaling", machine, settings, (), details), json)
    if json == STANDARD_OUTPUT:
        return
    columns = ("workers", "videos", "seconds in all", "videos/s once running", "against the first")
    console.show_table(f"{folder.name} embedded by {model}", columns, rows_of(found), numeric=columns)


def measure(
    build: BuildEncoder, pool: Pool | None, videos: Mapping[str, Path], at_once: int, tick: Callable[[str], None]
) -> Scaling:
    """Embed all videos on a pool and look at the clock."""
    from dataclasses import replace

    from encoders.embed_on_ray import RayEmbedder, embedder_of

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


def rows_of(found: Sequence[Scaling]) -> list[tuple[str, ...]]:
    """A row for each number of workers."""
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
