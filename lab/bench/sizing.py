"""`longvid bench sizing`: compute GPUs, hours and disk space of a job on many videos from given rates.

Computed from stated rates; nothing is measured. Decoding, encoding and captioning grow with the hours of video. No
worker waits for another, so N of them are taken to need an Nth of the hours.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from json import dumps
from math import ceil
from typing import TYPE_CHECKING, Annotated

import typer

from evals import console

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


VECTOR_ROW_BYTES = 64
"""Bytes of a row in the Parquet file besides its vector: an id of 20 letters with its offset, five 8-byte numbers."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Videos to process: `clips` vectors, each from `seconds` of video at 1 FPS."""

    name: str
    clips: int
    seconds: float

    @property
    def hours(self) -> float:
        """Hours of video."""
        return self.clips * self.seconds / 3600


WINDOW = 256.0
WORKLOADS = (
    Workload("EgoSchema", 5031, 180.0),
    Workload("YouCook2", 1790, 315.43),
    Workload("a million hours", 14_062_500, WINDOW),
)
"""EgoSchema: 5,031 clips of 3 minutes. YouCook2: 1,333 training and 457 validation videos, the mean duration of its
annotation file. A million hours: a vector for each window of 256 s."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Processing rates. Replace those marked "assumed" by your own figures.

    `decode`: seconds of video that a core decodes to 1 frame a second in a second (measured here on 720p30 H.264:
    5 minutes in 11.85 s of processor time). `matmul`: bf16 FLOP/s of a large matrix product on one GPU (assumed: 70 %
    of an H100 SXM's 989 TFLOP/s by data sheet). `share`: what of it an encoder reaches (assumed: half, the aim of
    `longvid bench encode --device cuda`). `segment`: seconds of video to a caption. `caption_tokens`: tokens of one.
    `caption_rate`: tokens a second and GPU of a captioner with full batches, the time that its frames take
    included (assumed). `bit_rate`: bit/s of the videos
    (assumed: 720p). `dimensions`: numbers of a vector, float32. `caption_bytes`: of a caption's JSON line (170 letters
    of text; two digests and the rest as `longvid caption` writes it).
    """

    decode: float = 25.3
    matmul: float = 692e12
    share: float = 0.5
    segment: float = 16.0
    caption_tokens: int = 40
    caption_rate: float = 2000.0
    bit_rate: float = 2e6
    dimensions: int = 768
    caption_bytes: int = 590


@dataclass(frozen=True, slots=True)
class Size:
    """The cost of a workload: hours of one core or one GPU, and bytes."""

    workload: Workload
    decode_core_hours: float
    encode_gpu_hours: float
    caption_gpu_hours: float
    caption_tokens: int
    vector_bytes: int
    caption_bytes: int
    video_bytes: int

    @property
    def cores_per_gpu(self) -> float:
        """Cores needed to keep one encoding GPU busy."""
        return self.decode_core_hours / self.encode_gpu_hours

    def gpus(self, hours: float, *, captions: bool) -> int:
        """Return the GPUs needed to encode, or caption, everything in `hours`."""
        return max(1, ceil((self.caption_gpu_hours if captions else self.encode_gpu_hours) / hours))

    def cores(self, hours: float) -> int:
        """Return the cores needed to decode everything in `hours`."""
        return max(1, ceil(self.decode_core_hours / hours))


def size(workload: Workload, flops: float, rates: Rates) -> Size:
    """Compute the workload's cost if the forward pass over one clip takes `flops`."""
    captions = workload.clips * ceil(workload.seconds / rates.segment)
    tokens = captions * rates.caption_tokens
    seconds = workload.hours * 3600
    return Size(
        workload,
        decode_core_hours=workload.hours / rates.decode,
        encode_gpu_hours=workload.clips * flops / (rates.matmul * rates.share) / 3600,
        caption_gpu_hours=tokens / rates.caption_rate / 3600,
        caption_tokens=tokens,
        vector_bytes=workload.clips * (4 * rates.dimensions + VECTOR_ROW_BYTES),
        caption_bytes=captions * rates.caption_bytes,
        video_bytes=round(seconds * rates.bit_rate / 8),
    )


def frames_of(workload: Workload, cap: int = 256, tubelet: int = 2) -> int:
    """Return the frames of a clip at 1 FPS, at most `cap`, in whole tubelets."""
    return ceil(min(workload.seconds, cap) / tubelet) * tubelet


EXAMPLE = "Example: longvid bench sizing --hours 24 --matmul 650 --share 0.55 --decode 30"
DEFAULT = Rates()


def sizing(
    encoder: Annotated[str, typer.Option("--size", help="Size of the joint space-time encoder: tiny, b or l.")] = "l",
    hours: Annotated[
        float, typer.Option(min=0.001, help="Wall-clock hours in which everything has to be done.")
    ] = 24.0,
    clips: Annotated[int | None, typer.Option(min=1, help="Add a workload of your own: this many clips.")] = None,
    seconds: Annotated[float, typer.Option(min=0.001, help="Seconds of each of those clips.")] = 180.0,
    decode: Annotated[float, typer.Option(help="Seconds of video that one core decodes per second.")] = DEFAULT.decode,
    matmul: Annotated[
        float, typer.Option(help="TFLOP/s that one GPU reaches in a bf16 matrix product.")
    ] = DEFAULT.matmul / 1e12,
    share: Annotated[float, typer.Option(help="Share of --matmul that the encoder reaches.")] = DEFAULT.share,
    segment: Annotated[float, typer.Option(help="Seconds of video per caption.")] = DEFAULT.segment,
    caption_tokens: Annotated[int, typer.Option(help="Tokens of a caption.")] = DEFAULT.caption_tokens,
    caption_rate: Annotated[
        float, typer.Option(help="Caption tokens that one GPU writes per second.")
    ] = DEFAULT.caption_rate,
    bit_rate: Annotated[float, typer.Option(help="Mbit/s of the videos.")] = DEFAULT.bit_rate / 1e6,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate the cost of encoding and captioning EgoSchema, YouCook2 and a million hours of video.

    FLOPs are counted, rates are those given; nothing is measured.
    """
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
    """Return a row for each quantity, with a column for each workload."""
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
    """Format a number of bytes in a suitable decimal unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB" if count < 1000 else f"{count:,.0f} TB"


def forward_flops(encoder: str, frames: int) -> int:
    """Count FLOPs of the vision tower's forward pass over one clip, without masking and without computing."""
    from lab.bench.encode import count_row, find_methods

    return count_row(find_methods(("jst-mask0",))[0], encoder, frames).forward_flops


def dimensions_of(encoder: str) -> int:
    """Return the length of a preset's vectors. Raises ModelError for unknown sizes."""
    from encoders.config import preset

    return preset(f"longvivit-{encoder}").embed
