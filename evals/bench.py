"""`longvid bench …`: ours beside the plain way, in one process, with the choices compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evals import console
from evals.bench_scaling import EXAMPLE as SCALING_EXAMPLE
from evals.bench_scaling import scaling
from evals.bench_sizing import EXAMPLE as SIZING_EXAMPLE
from evals.bench_sizing import sizing
from evals.benchmark_app import DATA

if TYPE_CHECKING:
    from baselines.llm.protocol import Chat, LanguageModel

app = typer.Typer(help="Measure speed side by side with the plain way.", no_args_is_help=True)
app.command(epilog=SCALING_EXAMPLE)(scaling)
app.command(epilog=SIZING_EXAMPLE)(sizing)


@app.command(epilog="Example: longvid bench scoring ../shared/data/captions/egoschema_lavila_1s.json --questions 6")
def scoring(
    captions: Annotated[Path, typer.Argument(help="Captions of EgoSchema's videos, as for -M captions=.")],
    llm: Annotated[str, typer.Option(help="A language model run by transformers.")] = "smollm2",
    questions: Annotated[int, typer.Option(min=1, help="How many questions, spread over the benchmark.")] = 6,
    data: DATA = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score options from the prompt's cache and from scratch: seconds, ratio, and whether the choices agree."""
    from dataclasses import asdict
    from json import dumps

    from baselines.llm.bench_scoring import compare_scoring
    from baselines.llm.load import load_language_model
    from baselines.llm.transformers_llm import TransformersLanguageModel
    from tasks.errors import ModelError

    model = load_language_model(llm)
    if not isinstance(model, TransformersLanguageModel):
        raise ModelError(f"llm '{llm}' has no from-scratch reference to compare with: use a transformers model")
    chats, options = egoschema_options(model, captions, questions, data)
    with console.progress("scoring both ways", 1, 0) as tick:
        result = compare_scoring(model, chats, options)
        tick("")
    facts = {**asdict(result), "speedup": result.speedup, "model": model.info.name, "device": model.info.device}
    if json:
        console.emit(dumps(facts, indent=2))
        return
    console.show_table(
        "options scored from the cache and from scratch", ("", ""), [(k, str(v)) for k, v in facts.items()]
    )


def egoschema_options(
    llm: LanguageModel, captions: Path, questions: int, data: Path | None
) -> tuple[list[Chat], list[tuple[str, ...]]]:
    """The aggregator's own chats for questions spread over egoschema@500, and the options to weigh."""
    from baselines.aggregator import CaptionComposer, SegmentRule
    from baselines.captions import load_captions
    from baselines.material import Thin
    from baselines.prompted import Ask
    from evals.benchmarks import BENCHMARKS, benchmark_folder
    from evals.planning import spread
    from tasks.egoschema import PROMPTS, load_egoschema
    from tasks.multiple_choice import loglik_request
    from tasks.prompt import load_prompt

    items = load_egoschema(benchmark_folder(BENCHMARKS["egoschema"], data)).items()
    prompt = load_prompt("tasks", PROMPTS.loglik)
    wording = load_prompt("baselines", "aggregator.v1")
    compose = CaptionComposer(load_captions(captions), wording, SegmentRule(), Thin(llm))
    requests = [loglik_request(item, prompt) for item in spread(items, questions)]
    composed = compose([Ask(r.clip, r.prompt, r.reply_start, 256) for r in requests])
    return [c.chat for c in composed], [r.options for r in requests]


@app.command(epilog="Example: longvid bench decode video.mp4 --repeats 3")
def decode(
    video: Annotated[Path, typer.Argument(help="A video of constant frame rate.")],
    fps: Annotated[float, typer.Option(help="Frames a second to take.")] = 1.0,
    size: Annotated[int, typer.Option(min=1, help="Side of the square handed on, in pixels.")] = 256,
    threads: Annotated[int, typer.Option(min=1, help="Decoder threads, for every reader alike.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; each runs every reader in turn.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Sample frames with ours and every reader that is installed, in turn: seconds, ratios, agreement."""
    from dataclasses import asdict
    from json import dumps

    from encoders.bench.decode import bench_decode

    result = bench_decode(video, fps=fps, size=size, threads=threads, repeats=repeats)
    if json:
        console.emit(dumps(asdict(result), indent=2, default=str))
        return
    rows = [
        (
            timing.name,
            number(timing.median_seconds, "{:.2f}"),
            number(timing.against_ours, "{:.2f}"),
            number(timing.cpu_against_ours, "{:.2f}"),
            timing.missing or number(timing.psnr, "{:.1f} dB"),
        )
        for timing in result.timings
    ]
    title = f"{result.frames} frames of {video.name} at {size} px, {threads} threads, median of {repeats}"
    console.show_table(title, ("reader", "seconds", "against ours", "CPU against ours", "agreement"), rows)


def number(value: float | None, form: str) -> str:
    """A figure, or a dash where there is none."""
    return "–" if value is None else form.format(value)


@app.command(epilog="Example: longvid bench ranks --pairs 100000 --compare 10000")
def ranks(
    pairs: Annotated[int, typer.Option(min=1, help="Texts and videos, one of each a pair.")] = 100_000,
    compare: Annotated[int, typer.Option(min=0, help="Pairs for the whole matrix at once; 0 leaves it out.")] = 10_000,
    dimensions: Annotated[int, typer.Option(min=1, help="Length of a vector.")] = 512,
    both: Annotated[bool, typer.Option(help="Both directions, or text to video alone.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of the random vectors.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rank random vectors in blocks and by the whole matrix: seconds and peak memory, each in its own process."""
    from dataclasses import asdict
    from json import dumps

    from evals.bench_ranks import bench_ranks

    with console.progress("ranking", 3 if compare else 1, 0) as tick:
        result = bench_ranks(pairs, compare, dimensions, both=both, seed=seed, done=tick)
    if json:
        console.emit(dumps(asdict(result), indent=2))
        return
    rows = [
        (
            cost.way,
            str(cost.pairs),
            " + ".join(f"{value:.1f}" for value in cost.seconds.values()),
            f"{cost.peak_memory_bytes / 1e9:.2f}",
            f"{cost.vector_bytes / 1e9:.2f}",
        )
        for cost in result.costs
    ]
    columns = ("way", "pairs", "seconds", "peak memory GB", "of it vectors GB")
    console.show_table(f"ranks of random vectors, {dimensions} dimensions", columns, rows)
    if result.equal_ranks is not None:
        console.say(f"ranks equal in {result.equal_ranks:.2%}, apart by at most {result.largest_difference}")


@app.command(epilog="Example: longvid bench metrics --repeats 5 --json")
def metrics(
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; each runs both ways in turn.")] = 5,
    data: DATA = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score YouCook2's validation segments with ours and with pycocoevalcap: seconds, ratio, agreement, intervals."""
    from dataclasses import asdict
    from json import dumps
    from statistics import median

    from evals.bench_metrics import bench_metrics, peer_scorer, shifted
    from evals.benchmarks import BENCHMARKS, benchmark_folder
    from tasks.youcook2 import load_clip_captioning

    peer_scorer()
    items = shifted(load_clip_captioning(benchmark_folder(BENCHMARKS["youcook2-captioning"], data)))
    with console.progress("scoring both ways", repeats, 0) as tick:
        result = bench_metrics(items, repeats, tick)
    if json:
        console.emit(dumps(asdict(result), indent=2))
        return
    rows = [
        (name, f"{median(times.seconds):.2f}", f"{median(times.cpu_seconds):.2f}")
        for name, times in (("longvid", result.ours), ("pycocoevalcap", result.theirs))
    ]
    title = f"BLEU, ROUGE-L and CIDEr-D of {result.captions} captions, median of {repeats}"
    console.show_table(title, ("", "seconds", "CPU seconds"), rows)
    console.say(
        f"{result.ratio:.1f} times as fast ({result.cpu_ratio:.1f} in processor time), figures apart by at most "
        f"{result.largest_difference:.1e}; {result.resamples} resamples over {result.videos} videos take "
        f"{result.interval_seconds:.2f} s more"
    )


@app.command(epilog="Example: longvid bench encoder --device cuda --json bench.json --plot bench.png")
def encoder(
    device: Annotated[str, typer.Option(help="meta counts without computing; cpu and cuda measure as well.")] = "meta",
    sizes: Annotated[list[str] | None, typer.Option("--size", help="tiny, b, l; repeatable. Default: b and l.")] = None,
    frames: Annotated[list[int] | None, typer.Option(help="Repeatable. Default: 16, 128, 256.")] = None,
    methods: Annotated[list[str] | None, typer.Option("--method", help="Repeatable. Default: all.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed runs, of which the median counts.")] = 5,
    compiled: Annotated[bool, typer.Option("--compile", help="torch.compile the timed forward pass.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the report here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the plot here.")] = None,
) -> None:
    """Count and measure the paper's methods: parameters, tokens, FLOPs, training memory, time."""
    from encoders.bench.report import table, write_json, write_plot
    from encoders.bench.run import BenchOptions, bench

    options = BenchOptions(
        tuple(sizes or ("b", "l")),
        tuple(frames or (16, 128, 256)),
        tuple(methods or ()),
        device,
        repeats,
        compiled,
    )
    report = bench(options, lambda row: console.note(f"{row.size}, {row.frames} frames, {row.method}"))
    if json:
        write_json(report, json)
    if plot:
        write_plot(report, plot)
    console.emit(table(report))


@app.command("video-to-text", epilog="Example: longvid bench video-to-text --model longvivit-tiny --llm smollm2")
def video_to_text(
    model: Annotated[str, typer.Option(help="An encoder preset, untrained.")] = "longvivit-tiny",
    llm: Annotated[str, typer.Option(help="smollm2 or transformers:NAME_OR_PATH.")] = "smollm2",
    frames: Annotated[list[int] | None, typer.Option(help="Repeatable. Default: 16, 128, 256.")] = None,
    masks: Annotated[list[float] | None, typer.Option("--mask", help="Repeatable. Default: 0 and 0.3.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="Timed runs, of which the median counts.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Seconds and peak tensor memory of looking at a video and of captioning it, by frame count and mask."""
    from dataclasses import asdict
    from json import dumps

    from encoders.bench.v2t import bench_video_to_text
    from encoders.v2t.build import untrained

    built, tokenizer = untrained(model, llm, device)
    costs = list(
        bench_video_to_text(
            built, tokenizer, frames=frames or (16, 128, 256), masks=masks or (0.0, 0.3), repeats=repeats
        )
    )
    if json:
        console.emit(dumps([asdict(cost) for cost in costs], indent=2))
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
