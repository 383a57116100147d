"""From a benchmark's name or folder, a pool and data roots to its task; nothing is imported before it is asked for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.data_roots import DATA_VARIABLE, data_roots, looking_in
from tasks.errors import DataError
from tasks.registry import VARIANT, Benchmark, resolved, split_variant

if TYPE_CHECKING:
    from evals.record import Place, Run
    from tasks.task import Task

OWN_TASKS = "own-"
"""How the names of tasks begin that are made of rows without a benchmark.toml (tasks.folder)."""
LENGTHS = "video-seconds.v1"
"""The folder of the cache that holds videos' lengths; another number where `probe` comes to measure otherwise."""


def benchmark_folder(benchmark: Benchmark, data: Path | None) -> Path:
    """The benchmark's folder under the first data root that has it; one that needs no files has it anywhere.

    Raises DataError that says where was looked and how to fetch the files.
    """
    if benchmark.place is not None:
        return benchmark.place
    roots = data_roots(data)
    for root in roots:
        folder = root / benchmark.data_folder
        if benchmark.is_in(folder):
            return folder
    if not benchmark.markers:
        return roots[0] / benchmark.data_folder
    looked = ", ".join(str(root / benchmark.data_folder) for root in roots)
    if benchmark.needs:
        get = benchmark.videos.format(folder=roots[0] / benchmark.data_folder)
        raise DataError(f"no {benchmark.name} files in {looked} ({' or '.join(benchmark.needs)}). {get}")
    msg = (
        f"no {benchmark.name} files in {looked}: run 'longvid {benchmark.name} prepare', or name a folder with "
        f"--data or {DATA_VARIABLE}"
    )
    raise DataError(msg)


def load_task(benchmark: Benchmark, pool: str, data: Path | None, *, to_ask: bool = False) -> Task[Any]:
    """The benchmark's task for a pool. Raises DataError for an unknown pool or missing files.

    With `to_ask` rows of a folder are refused whose clip has no length because their video is missing. A pool whose
    name ends in `+rotations` or `+rotations-N` asks each question with its options in rotated order, one that ends in
    `+repeats-N` N times.
    """
    name, variant = split_variant(pool)
    if variant:
        return varied(load_task(benchmark, name, data, to_ask=to_ask), variant)
    check_pool(benchmark, pool)
    folder = benchmark_folder(benchmark, data)
    load = resolved(benchmark.load)
    if to_ask and benchmark.place:
        asked: Task[Any] = load(folder, pool, to_ask=True)
        return asked
    with looking_in(data):
        task: Task[Any] = load(folder, pool, seconds_of=seconds_of) if benchmark.measures else load(folder, pool)
    return task


def varied(task: Task[Any], variant: str) -> Task[Any]:
    """The task with its questions asked several times, as `split_variant` reads it off a name.

    Raises DataError for a family without options.
    """
    from tasks.multiple_choice import MultipleChoiceTask

    found = VARIANT.fullmatch(variant)
    if found and found["judged"]:
        raise DataError(f"{task.info.name} is judged by 'longvid judge RUN', which also scores such a record again")
    if not isinstance(task, MultipleChoiceTask):
        raise DataError(f"{task.info.name} has no options: --rotations and --repeats are for multiple choice")
    rotations, repeats = (found["rotations"], found["repeats"]) if found else (None, None)
    if rotations:
        count = rotations.partition("-")[2]
        task = task.rotated(int(count) if count else None)
    return task.repeated(int(repeats)) if repeats else task


def with_variant(pool: str, rotations: str | None, repeats: int | None = None) -> str:
    """The pool's name with what --rotations (N or `all`) and --repeats say. Raises DataError for anything else."""
    named = pool
    if rotations is not None:
        named += "+rotations" + ("" if rotations == "all" else f"-{rotations}")
        if split_variant(named) == (named, "") or split_variant(pool)[1]:
            raise DataError(f"--rotations must be 'all' or a number of 2 or more, not '{rotations}'")
    return named if repeats is None else f"{named}+repeats-{repeats}"


def check_pool(benchmark: Benchmark, pool: str) -> None:
    """Raise DataError for an unknown pool."""
    if pool not in benchmark.pools:
        raise DataError(f"{benchmark.name} has no pool '{pool}'; pools are {', '.join(benchmark.pools)}")


def find_target(target: str, videos: Path | None = None) -> tuple[Benchmark, str]:
    """Benchmark and pool of `egoschema@500`, `egoschema`, a task's own name, FOLDER, FOLDER@POOL or QUESTIONS.jsonl.

    The pool is empty where none is named. Raises DataError for an unknown one.
    """
    from tasks.registry import benchmark_of, benchmarks, find_benchmark

    owner = benchmark_of(target)
    if owner is not None:
        return owner, owner.pool_of(target) or ""
    name, _, pool = target.partition("@")
    if name in benchmarks().entries:
        return find_benchmark(name), pool
    if is_place(Path(target)):
        return own_benchmark(Path(target), videos), ""
    place, at, pool = target.rpartition("@")
    if at and is_place(Path(place)):
        return own_benchmark(Path(place), videos), pool
    return find_benchmark(name), pool


def with_videos(benchmark: Benchmark, videos: Path | None) -> Benchmark:
    """The benchmark with its videos where --videos says. Raises DataError for one that has a place for them."""
    if videos is None:
        return benchmark
    if benchmark.place is None:
        msg = f"--videos is for a folder of your own; {benchmark.name} has its videos in its data folder"
        raise DataError(msg)
    return own_benchmark(benchmark.place, videos)


def is_place(path: Path) -> bool:
    """Whether a path is a folder, or a file of JSON lines, which may hold a benchmark of one's own."""
    from tasks.files import is_file, is_json_lines

    return path.is_dir() or (is_json_lines(path) and is_file(path))


def holds_benchmark(path: Path) -> bool:
    """Whether a path is a folder with a benchmark's files, or a file of JSON lines."""
    from tasks.folder import is_benchmark_folder

    return is_place(path) and (not path.is_dir() or is_benchmark_folder(path))


def own_benchmark(place: Path, videos: Path | None = None) -> Benchmark:
    """The benchmark of a folder or a file of questions. Raises DataError where it holds none."""
    from tasks.folder import folder_benchmark

    if videos is not None and not videos.is_dir():
        raise DataError(f"--videos {videos} is not a folder")
    return folder_benchmark(place, seconds_of, videos)


def place_of(benchmark: Benchmark) -> Place | None:
    """What a run's record keeps of where a benchmark of one's own lies; None for those known by name."""
    from evals.record import Place
    from tasks.files import unicode_only

    if benchmark.place is None:
        return None
    at = benchmark.videos_at
    path, videos = (None if one is None else unicode_only(str(one.resolve())) for one in (benchmark.place, at))
    return Place(path=path or "", videos=videos)


def benchmark_of_run(run: Run, data: Path | None = None, videos: Path | None = None) -> tuple[Benchmark, str]:
    """The benchmark that a run belongs to, and the pool.

    One's own is looked for where the record says, or in `data`: its folder or its file. Where it is not to be found,
    loading the benchmark's task raises a DataError that says so. Raises DataError for a benchmark that is not known.
    """
    from tasks.registry import benchmark_of

    name = run.task.name
    if run.place is None and not name.startswith(OWN_TASKS):
        owner = benchmark_of(name)
        if owner is None:
            raise DataError(f"{name} is not a known benchmark; --plugin names one of your own")
        return owner, owner.pool_of(name) or owner.pools[0]
    told = Path(run.place.path) if run.place else None
    given = [] if data is None else [data, *([data / told.name] if told else [])]
    place = next((path for path in (*given, *([told] if told else [])) if holds_benchmark(path)), None)
    if place is None:
        lost = data or told
        where = (
            f"there are no files of a benchmark in {lost}"
            if lost
            else "the record doesn't tell where its questions are"
        )
        fault = DataError(f"{name}: {where}; name its folder or its questions file with --data")
        return faulty_benchmark(run, fault), pool_named(run)
    at = Path(run.place.videos) if run.place and run.place.videos else None
    try:
        return as_recorded(own_benchmark(place, videos or (at if at and at.is_dir() else None)), run)
    except DataError as error:
        return faulty_benchmark(run, error), pool_named(run)


def as_recorded(benchmark: Benchmark, run: Run) -> tuple[Benchmark, str]:
    """A benchmark of one's own and the pool of a run's task; its loader refuses other items than the run's."""
    pool, variant = split_variant(pool_named(run))
    pool = pool if pool in benchmark.pools else benchmark.pools[0]

    def load(folder: Path, named: str) -> Task[Any]:  # noqa: ARG001 - as every loader
        task: Task[Any] = resolved(benchmark.load)(folder, pool)
        task = varied(task, variant) if variant else task
        if (task.info.name, task.info.items_sha256) != (run.task.name, run.task.items_sha256):
            unseen = next((item.clip.video_id for item in task.items() if item.clip.end == inf), None)
            msg = (
                f"{benchmark.place} holds other items than those of {run.task.name} in the record: "
                f"{'a row, a pool or a video has changed' if unseen is None else f'there is no video {unseen}'}; name "
                f"the folder as it was with --data{'' if unseen is None else ', that of its videos with --videos'}"
            )
            raise DataError(msg)
        return task

    return replace(benchmark, load=load, pools=(pool,), task_names=(run.task.name,), everything=""), pool


def pool_named(run: Run) -> str:
    """The pool in a task's name."""
    return run.task.name.rpartition("@")[2]


def faulty_benchmark(run: Run, fault: DataError) -> Benchmark:
    """Stands for one whose files are missing or at fault: reports go without, what needs its task says why it can't."""

    def load(folder: Path, pool: str) -> Task[Any]:  # noqa: ARG001 - as every loader
        raise fault

    name = run.task.name.rpartition("@")[0]
    return Benchmark(name, name, (pool_named(run),), load, task_names=(run.task.name,))


def task_of_run(run: Run, data: Path | None = None, videos: Path | None = None) -> Task[Any]:
    """The task of a run, on the run's own items. Raises DataError where its files are missing or hold others."""
    benchmark, pool = benchmark_of_run(run, data, videos)
    return load_task(benchmark, pool, data)


def command_of(task_name: str) -> str:
    """The command that makes and scores runs of a task; the name without its pool where there is none of its own."""
    from tasks.registry import benchmark_of

    if task_name.startswith(OWN_TASKS):
        return "ask"
    benchmark = benchmark_of(task_name)
    return benchmark.name if benchmark else task_name.partition("@")[0]


def seconds_of(path: Path) -> float:
    """A video's length, measured once: that takes a second or more for hours of video, at each start of a run.

    Raises VideoError.
    """
    from encoders.video_file import probe
    from evals.store import write_atomic
    from tasks.digests import file_state_sha256
    from tasks.resources import cache_folder

    kept: Path | None = None
    # A cache that can't be read or written costs time and nothing else.
    with suppress(OSError, ValueError):
        kept = cache_folder() / LENGTHS / file_state_sha256(path)
        if 0 < (seconds := float(kept.read_text(encoding="utf-8"))) < float("inf"):
            return seconds
    seconds = probe(path).duration
    with suppress(OSError):
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(kept, repr(seconds))
    return seconds
