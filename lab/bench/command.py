"""`longvid bench …`: time longvid and other libraries in alternation, on a named machine."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, cast, get_args

import typer

from evals import console
from evals.benchmark_app import DATA, MODEL, OPTIONS
from evals.engines import ADDRESS, GPUS, Engine, build_encoder_model, pool_of
from lab.bench.result import COMPARED, Facts, Result, compared
from lab.bench.sizing import EXAMPLE as SIZING_EXAMPLE
from lab.bench.sizing import sizing

app = typer.Typer(
    help="Measure speed side by side with other libraries, as far as they are installed: pip install 'longvid[peers]'.",
    no_args_is_help=True,
    add_completion=False,
    # What stands in square brackets is no markup.
    rich_markup_mode=None,
)

REPEATS = Annotated[int, typer.Option(min=1, help="Rounds; each runs every variant once, and the median is reported.")]
JSON = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the whole result here; - prints it instead of the tables."),
]
SIZES = Annotated[
    list[str] | None,
    typer.Option("--size", help="Encoder size: tiny, b or l; repeatable. Default: b and l; on a CPU, b."),
]
FRAMES = Annotated[
    list[int] | None,
    typer.Option("--frames", help="Frames per video; repeatable. Default: 16, 128 and 256; on a CPU, 16."),
]
COMPILED = Annotated[
    bool,
    typer.Option("--compile", help="Apply torch.compile to the timed forward passes, those of other libraries too."),
]
STANDARD_OUTPUT = Path("-")


@app.command(epilog="Example: longvid bench encode --device cuda --json encode.json --plot memory.png")
def encode(
    device: Annotated[
        str, typer.Option(help="cpu or cuda; with meta, only count (nothing is computed or timed).")
    ] = "cpu",
    size: SIZES = None,
    frames: FRAMES = None,
    methods: Annotated[
        list[str] | None,
        typer.Option("--method", help="A method's name; repeatable. Default: all; on a CPU, jst-mask0 and jst-mask75."),
    ] = None,
    compiled: COMPILED = False,
    repeats: REPEATS = 5,
    json: JSON = None,
    plot: Annotated[Path | None, typer.Option(help="Write a plot of the methods' training memory here.")] = None,
) -> None:
    """Time forward passes against ViViT and open_clip; list each method's parameters, tokens, FLOPs, memory and time.

    On a machine that has torch and little else: python -m lab.bench.suite --device cuda --json FILE.
    """
    from lab.bench.result import report_of, table, write_plot
    from lab.bench.suite import Asked, bench_encode

    asked = Asked(device, tuple(size or ()), tuple(frames or ()), tuple(methods or ()), repeats, compiled)
    result = bench_encode(asked, console.note)
    report = report_of(result)
    if report.skipped:
        console.warn(f"left out, peft is not installed: {', '.join(report.skipped)}")
    if plot:
        write_plot(report, plot)
    show(result, json, table(report))


@app.command("train-step", epilog="Example: longvid bench train-step --size b --frames 16")
def train_step(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    size: SIZES = None,
    frames: FRAMES = None,
    repeats: REPEATS = 5,
    json: JSON = None,
) -> None:
    """Time a training step on one video against ViViT and open_clip, and measure the activations that it keeps."""
    from lab.bench.suite import Asked, bench_train_step

    result = bench_train_step(Asked(device, tuple(size or ()), tuple(frames or ()), repeats=repeats), console.note)
    show(result, json)


@app.command(epilog="Example: longvid bench recipe --stage short --stage long-full")
def recipe(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="A TOML file of stages, or a shipped one's name.")
    ] = Path("kitchen-tiny"),
    stages: Annotated[list[str] | None, typer.Option("--stage", help="Repeatable. Default: all of the file.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps in a round, at most.")] = 12,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    repeats: REPEATS = 3,
    json: JSON = None,
) -> None:
    """Time training steps of a recipe's stages against the same models written plainly, and making their data.

    Stages need no weights of earlier ones here. "making the data alone" says what share of a training step it takes.
    """
    from encoders.shipped import CONFIGS
    from lab.bench.recipe import bench_recipe
    from tasks.resources import file_or_shipped

    config = file_or_shipped(config, CONFIGS, "training configuration")
    result = bench_recipe(config, stages or (), steps=steps, repeats=repeats, device=device, done=console.note)
    show(result, json)


@app.command("video-to-text", epilog="Example: longvid bench video-to-text --model longvivit-tiny --llm smollm2")
def video_to_text(
    model: Annotated[
        str, typer.Option(help="Encoder, as listed by 'longvid models'; its weights are random.")
    ] = "longvivit-tiny",
    llm: Annotated[str, typer.Option(help="Language model: smollm2 or transformers:NAME_OR_PATH.")] = "smollm2",
    frames: FRAMES = None,
    masks: Annotated[
        list[float] | None, typer.Option("--mask", help="Share of tokens masked; repeatable. Default: 0 and 0.3.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    repeats: REPEATS = 3,
    json: JSON = None,
) -> None:
    """Measure seconds and peak tensor memory of encoding a video and captioning it, by number of frames and masking."""
    from dataclasses import asdict

    from encoders.v2t.task_model import untrained
    from lab.bench.video_to_text import bench_video_to_text
    from tasks.machine import machine_facts

    built, tokenizer = untrained(model, llm, device)
    costs = list(
        bench_video_to_text(
            built, tokenizer, frames=frames or (16, 128, 256), masks=masks or (0.0, 0.3), repeats=repeats
        )
    )
    settings: Facts = {"model": model, "llm": llm, "repeats": repeats}
    details: Facts = {"costs": [asdict(cost) for cost in costs]}
    show(Result("video-to-text", machine_facts(str(built.lm.device)), settings, (), details), json)
    if json == STANDARD_OUTPUT:
        return
    rows = [
        (
            str(cost.frames),
            f"{cost.mask:.0%}",
            str(cost.tokens),
            f"{cost.look_seconds:.3f}",
            f"{cost.look_bytes / 1e6:.1f}",
            str(cost.pooled),
            f"{cost.answer_seconds:.3f}",
            f"{cost.answer_bytes / 1e6:.1f}",
        )
        for cost in costs
    ]
    columns = ("frames", "masked", "tokens", "look s", "look MB", "after the pool", "answer s", "answer MB")
    console.show_table(f"{model} with {llm}, one video, a caption of 16 tokens", columns, rows, numeric=columns)


@app.command(epilog="Example: longvid bench decode video.mp4 --frames 16 --frames 256 --material hevc-1080p")
def decode(
    video: Annotated[Path, typer.Argument(help="A video of constant frame rate; any with --material.")],
    materials: Annotated[
        list[str] | None,
        typer.Option(
            "--material",
            metavar="KIND",
            help="Read it recoded by ffmpeg: h264-12, h264-30 or h264-250 (a key frame every so many), hevc-1080p, vp9 "
            "or av1; repeatable.",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Length of recoded material.")] = 40.0,
    fps: Annotated[float, typer.Option(help="Frames per second to take.")] = 1.0,
    counts: Annotated[
        list[int] | None, typer.Option("--frames", min=1, help="Also take this many frames, evenly spaced; repeatable.")
    ] = None,
    size: Annotated[int, typer.Option(min=1, help="Side of the square frames, in pixels.")] = 256,
    threads: Annotated[int, typer.Option(min=1, help="Decoder threads, the same for every library.")] = 2,
    repeats: REPEATS = 3,
    json: JSON = None,
) -> None:
    """Time frame sampling with longvid, decord, TorchCodec, OpenCV, ffmpeg and plain PyAV."""
    from lab.bench.decode import MATERIALS, bench_decode, make_material

    if unknown := set(materials or ()) - set(MATERIALS):
        raise typer.BadParameter(f"{unknown.pop()}: one of {', '.join(MATERIALS)}", param_hint="--material")
    counts = counts or []
    rounds = repeats * (1 + len(counts)) * max(1, len(materials or ()))
    with TemporaryDirectory() as folder:
        made = []
        for kind in materials or ():
            console.note(f"recoding {seconds:g} s of {video.name} as {kind}")
            made.append(make_material(kind, [video], Path(folder), seconds))
        with console.progress("reading", rounds, 0) as tick:
            bench = partial(
                bench_decode, fps=fps, counts=counts, size=size, threads=threads, repeats=repeats, done=tick
            )
            found = [bench(path) for path in made or [video]]
    comparisons = tuple(one for result in found for one in result.comparisons)
    show(replace(found[0], settings={**found[0].settings, "video": video.name}, comparisons=comparisons), json)


@app.command(epilog="Example: longvid bench metrics --repeats 5")
def metrics(
    data: DATA = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Only the first N segments.")] = None,
    repeats: REPEATS = 5,
    json: JSON = None,
) -> None:
    """Time the scoring of YouCook2's 3,492 validation captions with longvid and with pycocoevalcap."""
    from evals.benchmarks import benchmark_folder
    from lab.bench.metrics import bench_metrics, shifted
    from tasks.registry import benchmarks
    from tasks.youcook2 import load_clip_captioning

    items = shifted(load_clip_captioning(benchmark_folder(benchmarks().entries["youcook2-captioning"], data)))[:limit]
    with console.progress("scoring", 2 * repeats, 0) as tick:
        result = bench_metrics(items, repeats, tick)
    show(result, json)


@app.command(epilog="Example: longvid bench ranks --compare 10000 --pairs 100000")
def ranks(
    compare: Annotated[
        int, typer.Option(min=0, help="Size of the comparison, in text-video pairs; 0 skips it.")
    ] = 10_000,
    pairs: Annotated[
        int, typer.Option(min=0, help="Also run blockwise ranking alone once, on this many pairs; 0 skips it.")
    ] = 0,
    dimensions: Annotated[int, typer.Option(min=1, help="Length of a vector.")] = 512,
    both: Annotated[bool, typer.Option(help="Rank in both directions, or only from text to video.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of the random vectors.")] = 0,
    repeats: REPEATS = 3,
    json: JSON = None,
) -> None:
    """Compare seconds and peak memory of ranking in blocks and of ranking by the whole matrix, on random vectors."""
    from lab.bench.ranks import bench_ranks

    with console.progress("ranking", repeats * bool(compare) + bool(pairs), 0) as tick:
        result = bench_ranks(pairs, compare, dimensions, both=both, seed=seed, repeats=repeats, done=tick)
    show(result, json)


@app.command(epilog="Example: longvid bench aggregate egoschema_lavila_1s.json --questions 6")
def aggregate(
    captions: Annotated[Path, typer.Argument(help="Captions of EgoSchema's videos, as for -M captions=.")],
    llm: Annotated[str, typer.Option(help="A language model, as for -M llm=.")] = "smollm2",
    questions: Annotated[int, typer.Option(min=1, help="Number of questions, spread over the benchmark.")] = 6,
    llama_cpp: Annotated[
        Path | None,
        typer.Option("--llama-cpp", help="A GGUF file: compare with llama.cpp on it (pip install llama-cpp-python)."),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LLM",
            help="Compare with another one, e.g. vllm:smollm2, which gets all questions at once; repeatable.",
        ),
    ] = None,
    context: Annotated[int | None, typer.Option(min=64, help="Thin the captions out to this many tokens.")] = None,
    dtype: Annotated[
        str, typer.Option(help="Weights of a model loaded here: bfloat16, float16 or float32.")
    ] = "bfloat16",
    data: DATA = None,
    repeats: REPEATS = 1,
    json: JSON = None,
) -> None:
    """Time the scoring of answer options: one pass over the prompt for all of them, against one call for each.

    A served model is asked concurrently and one request at a time. With --beside or --llama-cpp the same questions are
    scored by other engines, in processor time that counts only what runs in this process.
    """
    from baselines.llm.load import load_language_model
    from baselines.llm.options import Dtype
    from lab.bench.aggregate import bench_aggregate, egoschema_options

    if dtype not in get_args(Dtype):
        raise typer.BadParameter(f"{dtype}: one of {', '.join(get_args(Dtype))}", param_hint="--dtype")
    load = partial(load_language_model, context=context, dtype=cast("Dtype", dtype))
    model = load(llm)
    others = {name: load(name) for name in beside or ()}
    chats, options = egoschema_options(model, captions, questions, data)
    with console.progress("asking", repeats, 0) as tick:
        result = bench_aggregate(model, chats, options, repeats, tick, gguf=llama_cpp, beside=others)
    show(result, json)


@app.command(
    "end-to-end",
    epilog="Example: longvid bench end-to-end -m longvivit-tiny -M weights=kitchen -M frames=128 --videos 12",
)
def end_to_end(
    model: MODEL,
    model_option: OPTIONS = None,
    benchmark: Annotated[str, typer.Option(help="A benchmark whose videos are on this machine.")] = "kitchen-qa",
    data: DATA = None,
    videos: Annotated[int, typer.Option(min=2, help="Number of clips; all of their items are used.")] = 12,
    repeats: REPEATS = 3,
    json: JSON = None,
) -> None:
    """Time a whole run against decoding alone, encoding alone, and one clip after the other."""
    from evals.benchmarks import load_task
    from lab.bench.end_to_end import bench_end_to_end
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


@app.command(epilog="Example: longvid bench scaling videos -m longvivit-l -M weights=FILE --workers 1 --workers 2")
def scaling(
    folder: Annotated[Path, typer.Argument(help="A folder of videos; a few dozen per worker.")],
    model: MODEL,
    model_option: OPTIONS = None,
    workers: Annotated[
        list[int] | None, typer.Option("--workers", help="Number of workers; repeatable. Default: 1 and 2.")
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Videos handed to a worker at a time.")] = 4,
    gpus_per_worker: GPUS = None,
    address: ADDRESS = None,
    json: JSON = None,
) -> None:
    """Time the embedding of a folder with each number of Ray workers in turn; no vectors are written."""
    from dataclasses import asdict

    from encoders.embed import find_videos
    from lab.bench.end_to_end import embed_with, scaling_rows
    from tasks.machine import machine_facts
    from tasks.registry import parse_options

    videos = find_videos(folder)
    build = partial(build_encoder_model, model, parse_options(model_option or []))
    machine = machine_facts("cpu" if not gpus_per_worker else "cuda")
    found = []
    for count in workers or [1, 2]:
        pool = pool_of(Engine.RAY, count, gpus_per_worker, address)
        with console.progress(f"{count} workers", len(videos), 0) as tick:
            found.append(embed_with(build, pool, videos, at_once, tick))
    settings: Facts = {"model": model, "options": list(model_option or []), "at_once": at_once}
    details: Facts = {"scaling": [asdict(one) for one in found]}
    show(Result("scaling", machine, settings, (), details), json)
    if json == STANDARD_OUTPUT:
        return
    columns = ("workers", "videos", "seconds in all", "videos/s once running", "against the first")
    console.show_table(f"{folder.name} embedded by {model}", columns, scaling_rows(found), numeric=columns)


app.command(epilog=SIZING_EXAMPLE)(sizing)


def show(result: Result, json: Path | None, extra: str = "") -> None:
    """Print tables, with the machine below; `extra` is a bench's own text."""
    if json == STANDARD_OUTPUT:
        console.emit(result.to_json())
        return
    if json is not None:
        json.write_text(result.to_json(), encoding="utf-8")
    if extra:
        console.emit(extra)
    for comparison in result.comparisons:
        console.show_table(comparison.work, COMPARED, [compared(row) for row in comparison.rows], COMPARED[1:5])
    for name, value in result.details.items():
        if isinstance(value, str | int | float):
            console.say(f"{name.replace('_', ' ')}: {value:.3g}" if isinstance(value, float) else f"{name}: {value}")
    machine = result.machine
    threads = "" if machine.threads is None else f", {machine.threads} torch threads"
    busy = "" if machine.busy is None else f", load {machine.busy:.2f} a core before measuring"
    console.say(f"{machine.device}; {machine.processor}, {machine.cores} cores{threads}{busy}")
