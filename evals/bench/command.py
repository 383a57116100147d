"""`longvid bench …`: what can be measured without a tower: readers, metrics, ranks, language models, whole runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evals import console
from evals.bench.encoder_commands import add_encoder_commands
from evals.bench.options import JSON, REPEATS
from evals.bench.scaling import EXAMPLE as SCALING_EXAMPLE
from evals.bench.scaling import scaling
from evals.bench.sizing import EXAMPLE as SIZING_EXAMPLE
from evals.bench.sizing import sizing
from evals.benchmark_app import DATA, MODEL, OPTIONS

app = typer.Typer(
    help="Measure speed side by side with the peers; what is not installed is named: pip install 'longvid[peers]'.",
    no_args_is_help=True,
)
add_encoder_commands(app)
app.command(epilog=SCALING_EXAMPLE)(scaling)
app.command(epilog=SIZING_EXAMPLE)(sizing)


@app.command(epilog="Example: longvid bench decode video.mp4 --repeats 3")
def decode(
    video: Annotated[Path, typer.Argument(help="A video of constant frame rate.")],
    fps: Annotated[float, typer.Option(help="Frames a second to take.")] = 1.0,
    size: Annotated[int, typer.Option(min=1, help="Side of the square handed on, in pixels.")] = 256,
    threads: Annotated[int, typer.Option(min=1, help="Decoder threads, for every reader alike.")] = 2,
    repeats: REPEATS = 3,
    json: JSON = None,
) -> None:
    """Sample frames with ours, decord, TorchCodec, OpenCV, ffmpeg and plain PyAV."""
    from encoders.bench.decode import bench_decode
    from evals.bench.show import show

    with console.progress("reading", repeats, 0) as tick:
        result = bench_decode(video, fps=fps, size=size, threads=threads, repeats=repeats, done=tick)
    show(result, json)


@app.command(epilog="Example: longvid bench metrics --repeats 5")
def metrics(
    data: DATA = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Only the first N segments.")] = None,
    repeats: REPEATS = 5,
    json: JSON = None,
) -> None:
    """Score YouCook2's validation segments with ours and with pycocoevalcap."""
    from evals.bench.metrics import bench_metrics, shifted
    from evals.bench.show import show
    from evals.benchmarks import benchmark_folder
    from tasks.registry import benchmarks
    from tasks.youcook2 import load_clip_captioning

    items = shifted(load_clip_captioning(benchmark_folder(benchmarks().entries["youcook2-captioning"], data)))[:limit]
    with console.progress("scoring", 2 * repeats, 0) as tick:
        result = bench_metrics(items, repeats, tick)
    show(result, json)


@app.command(epilog="Example: longvid bench ranks --compare 10000 --pairs 100000")
def ranks(
    compare: Annotated[int, typer.Option(min=0, help="Pairs for both ways; 0 leaves that out.")] = 10_000,
    pairs: Annotated[int, typer.Option(min=0, help="Pairs for ours alone, once; 0 leaves that out.")] = 0,
    dimensions: Annotated[int, typer.Option(min=1, help="Length of a vector.")] = 512,
    both: Annotated[bool, typer.Option(help="Both directions, or text to video alone.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of the random vectors.")] = 0,
    repeats: REPEATS = 3,
    json: JSON = None,
) -> None:
    """Rank random vectors in blocks and by the whole matrix, each in a process of its own for its peak memory."""
    from evals.bench.ranks import bench_ranks
    from evals.bench.show import show

    with console.progress("ranking", repeats * bool(compare) + bool(pairs), 0) as tick:
        result = bench_ranks(pairs, compare, dimensions, both=both, seed=seed, repeats=repeats, done=tick)
    show(result, json)


@app.command(epilog="Example: longvid bench aggregate ../shared/data/captions/egoschema_lavila_1s.json --questions 6")
def aggregate(
    captions: Annotated[Path, typer.Argument(help="Captions of EgoSchema's videos, as for -M captions=.")],
    llm: Annotated[str, typer.Option(help="A language model, as for -M llm=.")] = "smollm2",
    questions: Annotated[int, typer.Option(min=1, help="How many questions, spread over the benchmark.")] = 6,
    data: DATA = None,
    repeats: REPEATS = 1,
    json: JSON = None,
) -> None:
    """Weigh options from one reading of each prompt, and by a call each; a served model in lanes, and call by call."""
    from baselines.llm.load import load_language_model
    from evals.bench.aggregate import bench_aggregate
    from evals.bench.questions import egoschema_options
    from evals.bench.show import show

    model = load_language_model(llm)
    chats, options = egoschema_options(model, captions, questions, data)
    with console.progress("asking", repeats, 0) as tick:
        result = bench_aggregate(model, chats, options, repeats, tick)
    show(result, json)


@app.command(
    "end-to-end",
    epilog="Example: longvid bench end-to-end -m longvivit-tiny -M weights=kitchen -M frames=128 --videos 12",
)
def end_to_end(
    model: MODEL,
    model_option: OPTIONS = None,
    benchmark: Annotated[str, typer.Option(help="A benchmark whose videos are here.")] = "kitchen-qa",
    data: DATA = None,
    videos: Annotated[int, typer.Option(min=2, help="The first so many clips, all of their items.")] = 12,
    repeats: REPEATS = 3,
    json: JSON = None,
) -> None:
    """A whole run beside decoding alone, encoding alone, and the loop that does one after the other."""
    from evals.bench.end_to_end import bench_end_to_end
    from evals.bench.show import show
    from evals.benchmarks import load_task
    from tasks.errors import DataError
    from tasks.registry import benchmarks, build_model, parse_options

    chosen = benchmarks().entries.get(benchmark)
    if chosen is None:
        raise DataError(f"no benchmark '{benchmark}'; benchmarks are {', '.join(benchmarks().entries)}")
    task = load_task(chosen, chosen.pools[0], data)
    built = build_model(model, parse_options(model_option or []))
    with console.progress("running", repeats, 0) as tick:
        result = bench_end_to_end(task, built, videos, repeats, tick)
    show(result, json)
