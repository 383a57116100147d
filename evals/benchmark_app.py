"""The verbs every benchmark has: prepare, plan, run, score, import, report.

Each imports what it needs when it is called.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals import console
from evals.benchmarks import OWN_TASKS, command_of, load_task, place_of, with_variant, with_videos
from evals.generate_verb import add_generate
from evals.run_verb import RunChoices, carry_out, fail_without_answers, saying_what_is_kept
from tasks.data_roots import looking_in
from tasks.registry import Benchmark, commands, resolved, split_variant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from evals.record import Results
    from tasks.family import Predictions, PredictionsFile
    from tasks.task import Metric, Task

DATA = Annotated[
    Path | None,
    typer.Option("--data", help="Data root; default: $LONGVID_DATA, ./data, ../shared/data.", show_default=False),
]
POOL = Annotated[str, typer.Option("--pool", help="Which item set; it is part of the task's name.")]
MODEL = Annotated[str, typer.Option("--model", "-m", help="A model's name; 'longvid models' lists them.")]
OPTIONS = Annotated[
    list[str] | None,
    typer.Option("--model-option", "-M", metavar="KEY=VALUE", help="An option of the model; repeatable."),
]
VIDEOS = Annotated[
    Path | None, typer.Option("--videos", help="Where the videos of your own benchmark are; default: in its folder.")
]
OUT = Annotated[Path | None, typer.Option("--out", "-o", help="Run directory; default: runs/<task>/<model>-….")]
ROTATIONS = Annotated[
    str | None,
    typer.Option(
        metavar="N|all",
        help="Ask each question N times, rotating its options by one position; for routes that list them.",
    ),
]
REPEATS = Annotated[
    int | None,
    typer.Option(min=2, max=99, metavar="N", help="Ask each question N times; for models that sample their answers."),
]
LIMIT = Annotated[int | None, typer.Option(min=1, help="Only the first N items: a partial run, not a result.")]
WIDE = Annotated[bool, typer.Option("--wide", help="Show all columns, however wide the table gets.")]
MISSING_SHOWN = 10
RUN_FOLDER = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]


def task_of_run(benchmark: Benchmark, folder: Path, data: Path | None, videos: Path | None = None) -> Task[Any]:
    """Load the task that a run directory belongs to."""
    from evals.benchmarks import task_of_run as own_task_of_run
    from evals.store import read_run
    from tasks.errors import RecordError

    run = read_run(folder)
    name = run.task.name
    pool = benchmark.pool_of(name)
    is_own = run.place is not None or name.startswith(OWN_TASKS)
    if is_own and (benchmark.place is not None or pool is not None):
        return own_task_of_run(run, data, videos)
    if pool is None:
        raise RecordError(f"{folder} is a run of {name}: use 'longvid {command_of(name)} …'")
    return load_task(with_videos(benchmark, videos), pool, data)


def benchmark_app(benchmark: Benchmark) -> typer.Typer:
    """Build the benchmark's command group."""
    app = typer.Typer(help=benchmark.title, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
    if benchmark.generated:
        add_generate(app, benchmark, benchmark.generated)
    elif benchmark.place is not None:
        add_prepare_own(app, benchmark)
    else:
        add_prepare(app, benchmark)
    add_plan(app, benchmark)
    add_run(app, benchmark)
    add_score(app, benchmark)
    add_import(app, benchmark)
    add_report(app, benchmark)
    for entry in commands().entries.values():
        group, _, verb = entry.name.partition(" ")
        if verb and group == benchmark.name:
            app.command(verb, epilog=f"Example: {entry.example}")(resolved(entry.target))
    return app


def called(benchmark: Benchmark, verb: str) -> str:
    """Return the command that calls a verb on a benchmark."""
    return f"longvid {benchmark.name} {verb}" if benchmark.place is None else f"longvid {verb} {benchmark.place}"


def called_on_runs(benchmark: Benchmark, verb: str) -> str:
    """Return the command that calls a verb on a benchmark's runs; runs of a user's own benchmark identify it."""
    return f"longvid {benchmark.name} {verb}" if benchmark.place is None else f"longvid {verb}"


def example_folder(benchmark: Benchmark) -> str:
    """Return the folder with the runs of the benchmark's first pool."""
    return f"runs/{benchmark.names()[benchmark.pools[0]]}"


def add_prepare(app: typer.Typer, benchmark: Benchmark) -> None:
    """Add the verb `prepare`."""

    @app.command(epilog=f"Example: longvid {benchmark.name} prepare --data data --mirror hf:OWNER/DATASET")
    def prepare(
        data: Annotated[Path, typer.Option("--data", help="Data root; files go into its own sub-folder.")] = Path(
            "data"
        ),
        source: Annotated[str | None, typer.Option(help="Base URL of a mirror of the official files.")] = None,
        videos: Annotated[bool, typer.Option("--videos", help="Fetch missing videos from the official place.")] = False,
        mirror: Annotated[
            list[str] | None,
            typer.Option(
                help="Fetch missing videos from a folder, .zip or .tar, https://….zip or hf:OWNER/DATASET; repeatable."
            ),
        ] = None,
    ) -> None:
        """Fetch the official files, checked against pinned digests; works offline where they are already there."""
        from evals.fetch import fetch, video_sources

        folder = data / benchmark.data_folder
        sources = video_sources(benchmark, official=videos, mirrors=mirror or [])
        for fetched in fetch(benchmark, folder, source):
            console.say(f"{'downloaded' if fetched.downloaded else 'verified  '}  {fetched.path}")
        tasks = [load_task(benchmark, pool, data) for pool in benchmark.pools_in(folder)]
        ids = list(dict.fromkeys(item.clip.video_id for task in tasks for item in task.items()))
        missing, is_failed = get_videos(ids, folder, sources)
        for task in tasks:
            there = sum(item.clip.video_id not in missing for item in task.items())
            console.say(f"{task.info.name}: {len(task.items())} items, {there} with their video")
        console.say(benchmark.videos.format(folder=folder))
        if missing and (benchmark.video_url or sources):
            where = f" ({benchmark.video_url})" if benchmark.video_url else ""
            console.say(f"{len(missing)} of {len(ids)} videos are missing{where}: {' '.join(missing)}")
        if is_failed:
            console.fail("videos are missing because their sources failed or have none of them; see the lines above")
            raise typer.Exit(1)


def get_videos(ids: list[str], folder: Path, sources: list[str]) -> tuple[list[str], bool]:
    """Fetch the videos that the folder lacks, reporting what goes wrong.

    Returns:
        The videos still missing, in order, and whether a fault is why: a source failed, or no source had any of them.
    """
    from evals.fetch import fetch_videos
    from tasks.video_files import video_path

    missing = [key for key in ids if video_path(folder, key) is None]
    if not missing or not sources:
        return missing, False
    with console.progress("videos", len(missing), 0) as tick:
        report = fetch_videos(missing, folder, sources, tick)
    for what, fault in report.faults.items():
        console.warn(f"{what}: {fault}")
    console.say(f"{len(report.fetched)} videos fetched into {folder / 'videos'}")
    return list(report.missing), bool(report.missing) and (bool(report.faults) or not report.fetched)


def add_prepare_own(app: typer.Typer, benchmark: Benchmark) -> None:
    """Add the verb `prepare` for a user's own benchmark, whose rows exist and whose videos may be missing."""

    @app.command(epilog=f"Example: longvid prepare {benchmark.place} --mirror hf:OWNER/DATASET")
    def prepare(
        videos: VIDEOS = None,
        mirror: Annotated[
            list[str] | None,
            typer.Option(
                help="Fetch missing videos from a folder, .zip or .tar, https://….zip or hf:OWNER/DATASET; repeatable."
            ),
        ] = None,
    ) -> None:
        """Check the rows, count the videos, and fetch missing ones from mirrors."""
        from evals.fetch import video_sources

        sources = video_sources(benchmark, official=False, mirrors=mirror or [])
        place = benchmark.place or Path()
        tasks = own_tasks(benchmark, videos)
        stems = list(dict.fromkeys(Path(name).stem for task in tasks for name in without_video(task)))
        failed = get_videos(stems, place if place.is_dir() else place.parent, sources)[1] if sources else False
        tasks = own_tasks(benchmark, videos) if sources else tasks
        for task in tasks:
            there = sum(item.clip.path is not None for item in task.items())
            console.say(f"{task.info.name}: {len(task.items())} items, {there} with their video")
        missing = list(dict.fromkeys(name for task in tasks for name in without_video(task)))
        if missing:
            console.say(benchmark.videos)
            named = " ".join(missing[:MISSING_SHOWN]) + " …" * (len(missing) > MISSING_SHOWN)
            console.say(f"{len(missing)} videos are missing: {named}")
        if failed:
            console.fail("videos are missing because their sources failed or have none of them; see the lines above")
            raise typer.Exit(1)


def own_tasks(benchmark: Benchmark, videos: Path | None) -> list[Task[Any]]:
    """Load the tasks of all pools of a user's own benchmark."""
    found = with_videos(benchmark, videos)
    return [load_task(found, pool, None) for pool in found.pools]


def without_video(task: Task[Any]) -> list[str]:
    """Return the names of the missing videos."""
    return list(dict.fromkeys(item.clip.video_id for item in task.items() if item.clip.path is None))


def add_plan(app: typer.Typer, benchmark: Benchmark) -> None:
    """Add the verb `plan`."""

    @app.command(epilog=f"Example: {called(benchmark, 'plan')} {benchmark.example}")
    def plan(
        model: MODEL,
        model_option: OPTIONS = None,
        pool: POOL = benchmark.pools[0],
        data: DATA = None,
        videos: VIDEOS = None,
        limit: LIMIT = None,
        probe: Annotated[int, typer.Option(min=1, help="Items to try, after one that warms up.")] = 3,
        json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Estimate a run's items, tokens, time, memory and disk space from a short probe."""
        from dataclasses import asdict
        from json import dumps
        from shutil import disk_usage

        from evals.planning import make_plan, plan_lines
        from tasks.registry import build_model, parse_options

        with console.working(f"reading {benchmark.name}"):
            task = load_task(with_videos(benchmark, videos), pool, data, to_ask=True)
        with console.working(f"loading {model} and asking {probe + 1} items"), looking_in(data):
            estimate = make_plan(task, build_model(model, parse_options(model_option or [])), probe, limit)
        if json:
            console.emit(dumps({**asdict(estimate), "cost": estimate.cost.model_dump(mode="json")}, indent=2))
            return
        rows = plan_lines(estimate, task.info.cluster, disk_usage(Path.cwd()).free)
        console.show_table(estimate.task, ("", "estimate"), rows)


def add_run(app: typer.Typer, benchmark: Benchmark) -> None:
    """Add the verb `run`."""
    example = f"{benchmark.example} {benchmark.run_example}".rstrip()

    @app.command(epilog=f"Example: {called(benchmark, 'run')} {example}")
    def run(
        model: MODEL,
        model_option: OPTIONS = None,
        pool: POOL = benchmark.pools[0],
        data: DATA = None,
        videos: VIDEOS = None,
        rotations: ROTATIONS = None,
        repeats: REPEATS = None,
        out: OUT = None,
        name: Annotated[str | None, typer.Option(help="The run's name in reports; default: its folder's.")] = None,
        limit: LIMIT = None,
        batch_size: Annotated[
            int | None, typer.Option(min=1, help="Items handed to the model at once; default: the model's choice.")
        ] = None,
        max_failures: Annotated[int, typer.Option(min=0, help="Stop after more failed items than this.")] = 25,
        retry_failed: Annotated[bool, typer.Option(help="On resuming, try failed items again.")] = True,
        seed: Annotated[int, typer.Option(help="Seed of the intervals and of the chance floor.")] = 0,
        wide: WIDE = False,
    ) -> None:
        """Answer every item, keep the record, print the result beside its floors. Resumes by default."""
        from tasks.registry import parse_options

        found = with_videos(benchmark, videos)
        choices = RunChoices(out, name, limit, batch_size, max_failures, retry_failed, seed, place_of(found))
        with console.working(f"reading {found.name}"):
            task = load_task(found, with_variant(pool, rotations, repeats), data, to_ask=True)
        with looking_in(data):
            folder, results = carry_out(task, model, parse_options(model_option or []), choices)
        show_results([folder], [results], wide=wide)
        fail_without_answers(folder, results)


def add_score(app: typer.Typer, benchmark: Benchmark) -> None:
    """Add the verb `score`."""

    @app.command(epilog=f"Example: {called_on_runs(benchmark, 'score')} {example_folder(benchmark)}/my-run")
    def score(folder: RUN_FOLDER, data: DATA = None, videos: VIDEOS = None, wide: WIDE = False) -> None:
        """Score a record again with the current parser and metrics; needs no model."""
        from evals.runner import rescore

        show_results([folder], [rescore(task_of_run(benchmark, folder, data, videos), folder)], wide=wide)


def add_import(app: typer.Typer, benchmark: Benchmark) -> None:
    """Add the verb `import`."""

    @app.command(
        "import",
        epilog=f"Example: {called(benchmark, 'import')} {benchmark.predictions} --name gpt4o --out runs/gpt4o",
    )
    def import_file(
        file: Annotated[
            Path,
            typer.Argument(help="Ids with choices by index or letter (JSON, CSV), texts (JSON) or vectors (.npz)."),
        ],
        name: Annotated[str, typer.Option(help="The run's name in reports.")],
        out: Annotated[Path, typer.Option("--out", "-o", help="Run directory to write.")],
        pool: POOL = benchmark.pools[0],
        data: DATA = None,
        videos: VIDEOS = None,
        route: Annotated[str, typer.Option(help="How the answers were obtained, if known.")] = "unknown",
        field: Annotated[
            str | None, typer.Option(help="The field of each row that holds the model's choice, if several could.")
        ] = None,
        count_invalid_as_wrong: Annotated[
            bool,
            typer.Option(
                "--count-invalid-as-wrong",
                help="Count missing, null and impossible choices as wrong instead of refusing the file.",
            ),
        ] = False,
        allow_missing: Annotated[
            bool,
            typer.Option(
                "--allow-missing",
                help="Texts and vectors: accept a file that leaves items out (otherwise the exit code is 1).",
            ),
        ] = False,
        wide: WIDE = False,
    ) -> None:
        """Turn predictions made elsewhere into a record. Those of ids outside the pool are reported and left out."""
        from evals.imports import import_run
        from evals.new_run import describe_import
        from tasks.digests import file_sha256
        from tasks.errors import DataError
        from tasks.family import PredictionsFile

        found = with_videos(benchmark, videos)
        task = load_task(found, pool, data)
        if not file.is_file():
            raise DataError(f"predictions file {file} can't be read (there is no such file)")
        protocol = {"route": route, **({"field": field} if field else {})}
        if count_invalid_as_wrong:
            protocol["invalid"] = "counted as wrong"
        record = describe_import(task, name, protocol, file_sha256(file), sys.argv, place_of(found))
        alone = pool == found.widest_pool or split_variant(pool)[1]
        everything = task if alone else load_task(found, found.widest_pool, data)
        given = PredictionsFile(file, field, count_invalid_as_wrong, allow_missing)
        answers = read_predictions(given, task, everything).answers
        with saying_what_is_kept(out):
            results = import_run(task, record, out, answers)
        show_results([out], [results], wide=wide)
        say_left_out(results, file, out, allowed=allow_missing)


def read_predictions(file: PredictionsFile, task: Task[Any], everything: Task[Any]) -> Predictions:
    """Read a file as the task's family does, reporting what was left out and what its reader noticed."""
    from tasks.registry import family_of

    predictions = family_of(task.info.family).read_predictions(file, task, everything)
    if predictions.outside:
        count, first = len(predictions.outside), predictions.outside[0]
        console.say(f"{count} predictions are outside {task.info.name}: not imported (the first: {first})")
    for note in predictions.notes:
        console.warn(note)
    return predictions


def say_left_out(results: Results, file: Path, out: Path, *, allowed: bool) -> None:
    """Say how many items a file has no prediction for; exits with 1 unless that is allowed, as with failed items."""
    if not results.counts.failed:
        return
    told = (
        f"{results.counts.failed} of {results.counts.asked} items have no prediction in {file}, so the record is "
        f"{results.status}; {out}/samples.jsonl names them"
    )
    if allowed:
        console.warn(told)
        return
    console.fail(f"{told} (--allow-missing accepts that)")
    raise typer.Exit(1)


def add_report(app: typer.Typer, benchmark: Benchmark) -> None:
    """Add the verb `report`."""

    @app.command(epilog=f"Example: {called_on_runs(benchmark, 'report')} {example_folder(benchmark)}/*")
    def report(
        folders: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Run directories of one task.")],
        form: Annotated[
            str, typer.Option("--format", help="table, markdown, json, or html (a page on one run).")
        ] = "table",
        out: Annotated[Path | None, typer.Option("--out", "-o", help="The page; default: RUN/report.html.")] = None,
        data: DATA = None,
        videos: VIDEOS = None,
        captions: Annotated[
            Path | None, typer.Option(help="The caption file that the run read, to be shown on its page.")
        ] = None,
        flags: Annotated[
            Path | None,
            typer.Option(
                help="A file made by 'longvid flags', or a shipped one's name: also show figures without the questions "
                "that blind runs answer."
            ),
        ] = None,
        media: Annotated[bool, typer.Option("--media", help="Let the page play the videos on this machine.")] = False,
        wide: WIDE = False,
    ) -> None:
        """Set runs beside their floors: blind runs found next to them, the best constant, chance."""
        from evals.store import read_results
        from tasks.errors import RecordError

        if form != "html" and (out or captions or media):
            raise RecordError("--out, --captions and --media are for --format html")
        runs = [read_results(folder) for folder in folders]
        # Without a benchmark.toml the name comes from the rows; runs of different tasks are refused below.
        strangers = [] if benchmark.place else [run.name for run in runs if benchmark.pool_of(run.task.name) is None]
        if strangers:
            raise RecordError(f"not {benchmark.name} runs: {', '.join(strangers)}")
        if form == "html":
            from evals.html_report.run_page import make_page

            def load() -> Task[Any]:
                return task_of_run(benchmark, folders[0], data, videos)

            make_page(folders, out, captions, load, media=media, flags=flags)
        else:
            show_results(folders, runs, form, flags, wide=wide)


def show_results(
    folders: list[Path],
    runs: list[Results],
    form: str = "table",
    flags: Path | None = None,
    *,
    wide: bool = False,
) -> None:
    """Print a report of runs with all that a reader needs beside the number; `flags` is made by `longvid flags`."""
    from dataclasses import asdict
    from json import dumps

    from evals.report import BLIND, cells, make_report, markdown, neighbour_folders
    from tasks.errors import RecordError

    if form not in ("table", "markdown", "json"):
        raise RecordError(f"unknown format '{form}'; formats are table, markdown, json, html")
    beside = neighbour_folders(folders, runs)
    blind = {folder: run for folder, run in beside.items() if run.model.name == BLIND}
    report = make_report(runs, blind.values())
    if form == "json":
        rows = [{**asdict(row), "beside": [asdict(other) for other in row.beside if other]} for row in report.rows]
        console.emit(dumps({"task": report.task, "rows": rows, "notes": report.notes}, indent=2))
        return
    if form == "markdown":
        console.emit(markdown(report))
        return
    lines = [cells(row, report.family) for row in report.rows]
    console.show_table(report.title, report.columns, lines, report.numeric, least=report.least, wide=wide)
    if flags is not None:
        show_by_need(folders, runs, flags)
    for run in runs:
        for told in sayings(run):
            console.say(f"{run.name}: {told}")
    for note in report.notes:
        console.warn(note)
    for folder in folders:
        console.say(f"record: {folder}")
    say_end(folders, runs, blind)


def say_end(folders: list[Path], runs: list[Results], blind: Mapping[Path, Results]) -> None:
    """Print a sentence on what each run shows, their page, and the next command."""
    from shlex import quote

    from evals.findings import run_finding
    from evals.store import PAGE

    for run in runs:
        console.say(run_finding(run, list(blind.values())))
    if len(folders) == 1:
        page = folders[0] / PAGE
        console.say(f"page: {page if page.exists() else f'longvid report {quote(str(folders[0]))} --format html'}")
    console.say(f"next: {next_command(folders, runs, blind)}")


BLIND_OPTIONS = {
    "repeats": " -M route=generate+parse -M temperature=0.7 -M seed=1",
    "rotations": " -M route=letter-logprob",
}
"""What a blind run needs on questions that are asked several times: answers that differ, options that are listed."""


def next_command(folders: list[Path], runs: list[Results], blind: Mapping[Path, Results]) -> str:
    """Suggest the next command: complete the runs, run a blind baseline, or compare them with others."""
    from shlex import join, quote

    from evals.report import BLIND
    from evals.store import read_run
    from tasks.registry import family_of

    run, folder = runs[0], folders[0]
    if run.status != "complete" and not run.imported:
        what = f"all {run.counts.task_items:,} items" if run.limit else "what is missing"
        return f"the same command{' without --limit' if run.limit else ''} answers {what}"
    if len(folders) > 1:
        return join(["longvid", "compare", *map(str, folders)])
    if family_of(run.task.family).needs_blind and run.model.name != BLIND:
        if blind:
            return join(["longvid", "compare", console.path_text(next(iter(blind))), str(folder)])
        place = read_run(folder).place
        target = run.task.name
        if place:
            is_folder = Path(place.path).is_dir()
            target = console.path_text(Path(place.path)) + (f"@{target.partition('@')[2]}" if is_folder else "")
        asked = split_variant(target)[1]
        needed = next((options for variant, options in BLIND_OPTIONS.items() if variant in asked), "")
        return f"longvid run {quote(target)} -m blind -M llm=smollm2{needed}"
    return join(["longvid", "leaderboard", str(folder.parent)])


def sayings(run: Results) -> Iterator[str]:
    """What is said of a run of multiple choice below the table: options chosen, rotations, repeats."""
    chosen, truth = run.details.get("chosen_counts"), run.details.get("answer_counts")
    if chosen:
        yield f"options chosen {chosen}, right answers {truth}"
    if rotated := next((metric for metric in run.metrics if metric.name == "right_in_all_rotations"), None):
        yield f"right in all {run.protocol.get('rotations', '')} rotations: {in_words(rotated)}"
    if told := repeats_in_words(run):
        yield told


def repeats_in_words(run: Results) -> str:
    """What asking again showed: the majority's figure, how often two answers are the same, how repeats differ."""
    by_name = {metric.name: metric for metric in run.metrics}
    majority, same = by_name.get("majority_accuracy"), by_name.get("same_answer")
    if majority is None or same is None:
        return ""
    deviation = run.details.get("deviation_between_repeats")
    spread = f"; repeats differ by ±{100 * deviation:.1f} points" if isinstance(deviation, float) else ""
    return (
        f"majority of {run.protocol.get('repeats', '')} answers: {in_words(majority)}; two answers to a question are "
        f"the same in {in_words(same)}{spread}"
    )


def in_words(metric: Metric) -> str:
    """Format a share with its interval and the number of items."""
    if metric.value is None:
        return "unknown"
    ends = "" if metric.interval is None else f" ({'–'.join(f'{100 * end:.1f}' for end in metric.interval)})"
    return f"{100 * metric.value:.1f} %{ends}, {metric.n} questions"


def show_by_need(folders: list[Path], runs: list[Results], flags: Path) -> None:
    """Print each run's score on the questions that need the video, and on those that blind runs answer."""
    from evals.flags import by_need, read_flags
    from tasks.registry import family_of

    made = read_flags(flags)
    for folder, run in zip(folders, runs, strict=True):
        figures, groups = by_need(folder, run.task.name, made)
        unit = family_of(run.task.family).unit(figures.name)
        for part in groups:
            ends = "–".join(unit.number(end) for end in part.interval) if part.interval else "no interval"
            console.say(f"{run.name}: {part.label}: {unit.text(part.value)} ({ends}), {part.n} items")
