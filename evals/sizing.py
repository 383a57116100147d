"""What a job on many videos takes, computed from stated rates: cores, GPUs, hours, bytes. Nothing is measured.

Decoding, encoding and captioning grow with the hours of video. No worker waits for another, so N of them are taken to
need an Nth of the hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

VECTOR_ROW_BYTES = 64
"""Of a row in the Parquet file beside its vector: an id of 20 letters with its offset, and five 8-byte numbers."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Videos to go through: `clips` vectors, each from `seconds` of video looked at at 1 FPS."""

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
    """How fast things go. Those marked "assumed" are to be replaced by figures of one's own.

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
    """What a workload takes: hours of one core or one GPU, and bytes."""

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
        """Cores whose decoding keeps one encoding GPU busy."""
        return self.decode_core_hours / self.encode_gpu_hours

    def gpus(self, hours: float, *, captions: bool) -> int:
        """GPUs that encode, or caption, everything within so many hours."""
        return max(1, ceil((self.caption_gpu_hours if captions else self.encode_gpu_hours) / hours))

    def cores(self, hours: float) -> int:
        """Cores that decode everything within so many hours."""
        return max(1, ceil(self.decode_core_hours / hours))


def size(workload: Workload, flops: float, rates: Rates) -> Size:
    """What the workload takes where the forward pass over one clip is `flops`."""
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
    """Frames of a clip at 1 FPS, at most `cap`, in whole tubelets: what the encoder sees."""
    return ceil(min(workload.seconds, cap) / tubelet) * tubelet
