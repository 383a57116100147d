"""`longvid bench sizing`: GPUs, hours and disk of a job on many videos, from rates that can be one's own."""

from __future__ import annotations

from dataclasses import asdict
from json import dumps
from typing import TYPE_CHECKING, Annotated

import typer

from evals import console
from evals.sizing import WORKLOADS, Rates, Size, Workload, frames_of, size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXAMPLE = "Example: longvid bench sizing --hours 24 --matmul 650 --share 0.55 --decode 30"
DEFAULT = Rates()


def sizing(
    encoder: Annotated[str, typer.Option("--size", help="Encoder size: tiny, b or l, joint space-time.")] = "l",
    hours: Annotated[float, typer.Option(min=0.001, help="Wall hours in which all is to be done.")] = 24.0,
    clips: Annotated[int | None, typer.Option(min=1, help="A workload of your own: clips …")] = None,
    seconds: Annotated[float, typer.Option(min=0.001, help="… of so many seconds each.")] = 180.0,
    decode: Annotated[float, typer.Option(help="Seconds of video a core decodes in a second.")] = DEFAULT.decode,
    matmul: Annotated[float, typer.Option(help="TFLOP/s of a bf16 matrix product, one GPU.")] = DEFAULT.matmul / 1e12,
    share: Annotated[float, typer.Option(help="Share of it that the encoder reaches.")] = DEFAULT.share,
    segment: Annotated[float, typer.Option(help="Seconds of video to a caption.")] = DEFAULT.segment,
    caption_tokens: Annotated[int, typer.Option(help="Tokens of a caption.")] = DEFAULT.caption_tokens,
    caption_rate: Annotated[float, typer.Option(help="Caption tokens a second, one GPU.")] = DEFAULT.caption_rate,
    bit_rate: Annotated[float, typer.Option(help="Mbit/s of the videos.")] = DEFAULT.bit_rate / 1e6,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compute, not measure, what EgoSchema, YouCook2 and a million hours of video take. FLOPs are counted."""
    rates = Rates(
        decode=decode,
        matmul=matmul * 1e12,
        share=share,
        segment=segment,
        caption_tokens=caption_tokens,
        caption_rate=caption_rate,
        bit_rate=bit_rate * 1e6,
        dimensions=dimensions_of(encoder),
    )
    own = (Workload("yours", clips, seconds),) if clips else ()
    sizes = [size(load, forward_flops(encoder, frames_of(load)), rates) for load in (*WORKLOADS, *own)]
    if json:
        console.emit(
            dumps({"computed": True, "rates": asdict(rates), "sizes": [asdict(one) for one in sizes]}, indent=2)
        )
        return
    title = f"computed, not measured: {encoder} encoder at 1 FPS (at most 256 frames a clip), done in {hours:g} hours"
    names = [one.workload.name for one in sizes]
    console.show_table(title, ["", *names], rows_of(sizes, hours), numeric=names)


def rows_of(sizes: Sequence[Size], hours: float) -> list[tuple[str, ...]]:
    """A row for each quantity, a column for each workload."""
    lines: dict[str, Callable[[Size], str]] = {
        "clips": lambda one: f"{one.workload.clips:,}",
        "hours of video": lambda one: f"{one.workload.hours:,.0f}",
        "decode, core hours": lambda one: f"{one.decode_core_hours:,.1f}",
        "encode, GPU hours": lambda one: f"{one.encode_gpu_hours:,.2f}",
        "caption, GPU hours": lambda one: f"{one.caption_gpu_hours:,.2f}",
        "caption tokens": lambda one: f"{one.caption_tokens / 1e6:,.1f}M",
        f"cores to decode in {hours:g} h": lambda one: f"{one.cores(hours):,}",
        f"GPUs to encode in {hours:g} h": lambda one: f"{one.gpus(hours, captions=False):,}",
        f"GPUs to caption in {hours:g} h": lambda one: f"{one.gpus(hours, captions=True):,}",
        "cores to keep one encoding GPU busy": lambda one: f"{one.cores_per_gpu:,.0f}",
        "vectors": lambda one: bytes_text(one.vector_bytes),
        "captions": lambda one: bytes_text(one.caption_bytes),
        "videos": lambda one: bytes_text(one.video_bytes),
    }
    return [(label, *(show(one) for one in sizes)) for label, show in lines.items()]


def bytes_text(count: float) -> str:
    """A number of bytes in the unit that suits it, powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB" if count < 1000 else f"{count:,.0f} TB"


def forward_flops(encoder: str, frames: int) -> int:
    """FLOPs of the vision tower's forward pass over one clip, all tokens kept; counted without computing."""
    from encoders.bench.count import count_row
    from encoders.bench.methods import find_methods

    return count_row(find_methods(("jst-mask0",))[0], encoder, frames).forward_flops


def dimensions_of(encoder: str) -> int:
    """The length of a preset's vectors. Raises ModelError for unknown sizes."""
    from encoders.presets import preset

    return preset(f"longvivit-{encoder}").embed
