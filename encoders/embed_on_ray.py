"""Vectors of many videos by Ray's workers, each with its own model and decoders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from encoders.embed_folder import PART_SIZE, FolderEmbedder, HereEmbedder, Outcome, decoders_for
from encoders.ray_pool import Pool, Work, ask, joined, spread
from encoders.task_model import EncoderModel
from tasks.errors import ModelError
from tasks.model import ModelInfo

BuildEncoder = Callable[[], EncoderModel]
Video = tuple[str, Path]


@contextmanager
def embedder_of(build: BuildEncoder, pool: Pool | None) -> Iterator[FolderEmbedder]:
    """An embedder in this process, or on the workers of a pool. Raises what `build` raises, wherever it runs."""
    if pool is None:
        model = build()
        with decoders_for(model) as decoders:
            yield HereEmbedder(model, decoders)
        return
    with joined(pool):
        yield RayEmbedder(pool, build, ask(pool, partial(_info, build)))


@dataclass(frozen=True, slots=True)
class RayEmbedder:
    """Hands out `at_once` videos at a time; the rows come back here. Videos lie at the same path on every machine."""

    pool: Pool
    build: BuildEncoder
    info: ModelInfo
    at_once: int = PART_SIZE

    def embed(self, videos: Mapping[str, Path]) -> Iterator[Outcome]:
        items = [(key, path.absolute()) for key, path in videos.items()]
        if items:
            yield from spread(self.pool, partial(embedding_work, self.build, self.info), items, self.at_once)


def embedding_work(build: BuildEncoder, expected: ModelInfo) -> Work[Video, Outcome]:
    """What a worker does with some videos. Raises ModelError when called where another model was built."""
    model = build()
    embedder = HereEmbedder(model, decoders_for(model))

    def work(videos: Sequence[Video]) -> Iterator[Outcome]:
        check_same(model.info, expected)
        return embedder.embed(dict(videos))

    return work


def check_same(info: ModelInfo, expected: ModelInfo) -> None:
    """Raise ModelError where a worker's model differs in more than the device it is on."""
    ours, theirs = asdict(info), asdict(expected)
    differing = [name for name in ours if name != "device" and ours[name] != theirs[name]]
    if differing:
        name = differing[0]
        raise ModelError(
            f"the workers' models differ: {name} is {ours[name]!r} on {info.device}, {theirs[name]!r} on "
            f"{expected.device}; give the model's dtype and the same files on every machine"
        )


def _info(build: BuildEncoder) -> ModelInfo:
    return build().info
