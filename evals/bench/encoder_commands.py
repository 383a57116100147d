"""`longvid bench encode | train-step | video-to-text`: what needs an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evals import console
from evals.bench.options import JSON, REPEATS

SIZES = Annotated[
    list[str] | None, typer.Option("--size", help="tiny, b, l; repeatable. Default: b and l, on a CPU b.")
]
FRAMES = Annotated[
    list[int] | None, typer.Option("--frames", help="Repeatable. Default: 16, 128 and 256, on a CPU 16.")
]
COMPILED = Annotated[bool, typer.Option("--compile", help="torch.compile the timed forward passes, the peers' too.")]


def add_encoder_commands(app: typer.Typer) -> None:
    """Add the three."""
    app.command(epilog="Example: longvid bench encode --device cuda --json encode.json --plot memory.png")(encode)
    app.command("train-step", epilog="Example: longvid bench train-step --size b --frames 16")(train_step)
    app.command("video-to-text", epilog="Example: longvid bench video-to-text --model longvivit-tiny --llm smollm2")(
        video_to_text
    )


def encode(
    device: Annotated[str, typer.Option(help="cpu or cuda; meta counts without computing, no peers.")] = "cpu",
    size: SIZES = None,
    frames: FRAMES = None,
    methods: Annotated[
        list[str] | None, typer.Option("--method", help="Repeatable. Default: all, on a CPU dense and masked.")
    ] = None,
    compiled: COMPILED = False,
    repeats: REPEATS = 5,
    json: JSON = None,
    plot: Annotated[Path | None, typer.Option(help="Write a plot of the methods' training memory here.")] = None,
) -> None:
    """Forward passes beside ViViT and open_clip; each method's parameters, tokens, FLOPs, training memory and time.

    On a machine that has torch and little else: python -m encoders.bench --device cuda --json FILE.
    """
    from encoders.bench.report import report_of, table, write_plot
    from encoders.bench.suite import Asked, bench_encode
    from evals.bench.show import show

    asked = Asked(device, tuple(size or ()), tuple(frames or ()), tuple(methods or ()), repeats, compiled)
    result = bench_encode(asked, console.note)
    report = report_of(result)
    if report.skipped:
        console.warn(f"left out, peft is not installed: {', '.join(report.skipped)}")
    if plot:
        write_plot(report, plot)
    show(result, json, table(report))


def train_step(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    size: SIZES = None,
    frames: FRAMES = None,
    repeats: REPEATS = 5,
    json: JSON = None,
) -> None:
    """A training step on one video beside ViViT's and open_clip's: seconds, and the activations it keeps."""
    from encoders.bench.suite import Asked, bench_train_step
    from evals.bench.show import show

    result = bench_train_step(Asked(device, tuple(size or ()), tuple(frames or ()), repeats=repeats), console.note)
    show(result, json)


def video_to_text(
    model: Annotated[str, typer.Option(help="An encoder preset, untrained.")] = "longvivit-tiny",
    llm: Annotated[str, typer.Option(help="smollm2 or transformers:NAME_OR_PATH.")] = "smollm2",
    frames: FRAMES = None,
    masks: Annotated[list[float] | None, typer.Option("--mask", help="Repeatable. Default: 0 and 0.3.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    repeats: REPEATS = 3,
    json: JSON = None,
) -> None:
    """Seconds and peak tensor memory of looking at a video and of captioning it, by frame count and mask."""
    from dataclasses import asdict

    from encoders.bench.machine import machine_facts
    from encoders.bench.result import Facts, Result
    from encoders.bench.v2t import bench_video_to_text
    from encoders.v2t.build import untrained
    from evals.bench.show import STANDARD_OUTPUT, show

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
