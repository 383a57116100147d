"""A cluster of two workers on this machine: the vectors of one process, whatever happens to a worker."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("ray")

from encoders.build import build_preset
from encoders.embed import (
    BuildEncoder,
    HereEmbedder,
    RayEmbedder,
    already_embedded,
    check_same,
    decoders_for,
    embed_folder,
    embedder_of,
    find_videos,
)
from encoders.models import PresetOptions
from encoders.ray_pool import Pool
from encoders.task_model import EncoderModel
from tasks.errors import ModelError
from tests.encoders.test_embed_folder import StoppedError

TOLERANCE = 2e-5
NATURAL = ("ego_frying_2s.mp4", "nasa_13s.mp4", "flipping_a_pancake_10s.mkv")


def encoder() -> EncoderModel:
    return build_preset("imagevit-tiny", PresetOptions(weights="random", dtype="float32", frames=2, workers=1))


def fragile_encoder(folder: Path) -> EncoderModel:
    """An encoder that writes down whose process embeds; the first to embed dies of it, as if the machine had."""
    model = encoder()
    embed = model.embed_frames

    def embed_frames(*arguments: object) -> object:
        with (folder / "log").open("a") as log:
            log.write(f"{os.getpid()}\n")
        try:
            (folder / "killed").touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
        except FileExistsError:
            pass
        return embed(*arguments)

    model.embed_frames = embed_frames
    return model


@pytest.fixture
def folder(shared_data: Path, tmp_path: Path) -> Path:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in NATURAL:
        shutil.copy(shared_data / "videos" / "natural" / name, videos)
        shutil.copy(shared_data / "videos" / "natural" / name, videos / f"again_{name}")
    (videos / "empty.mp4").touch()
    return videos


def ignore(key: str, error: str | None) -> None:
    del key, error


def stop_at_third() -> Callable[[str, str | None], None]:
    heard: list[str] = []

    def on_video(key: str, error: str | None) -> None:
        heard.append(key)
        if len(heard) == 3:
            raise StoppedError

    return on_video


@contextmanager
def two_workers(build: BuildEncoder) -> Iterator[RayEmbedder]:
    """An embedder that hands out one video at a time."""
    with embedder_of(build, Pool(workers=2)) as embedder:
        yield RayEmbedder(Pool(workers=2), build, embedder.info, at_once=1)


def assert_those_of_one_process(out: Path, videos: Mapping[str, Path], folder: Path) -> None:
    model, here = encoder(), folder / "here.parquet"
    with decoders_for(model) as decoders:
        embed_folder(HereEmbedder(model, decoders), videos, here, ignore)
    ours, theirs = pq.read_table(out), pq.read_table(here)
    assert ours["id"].to_pylist() == theirs["id"].to_pylist()
    assert ours.schema.metadata == theirs.schema.metadata
    vectors = [np.stack(table["vector"].to_numpy(zero_copy_only=False)) for table in (ours, theirs)]
    np.testing.assert_allclose(*vectors, atol=TOLERANCE)


@pytest.mark.slow
def test_a_worker_of_a_cluster_gives_what_one_process_gives(shared_data: Path, tmp_path: Path) -> None:
    videos, out = {"one": shared_data / "videos" / "natural" / NATURAL[0]}, tmp_path / "ray.parquet"
    with embedder_of(encoder, Pool()) as embedder:
        embed_folder(embedder, videos, out, ignore)
    assert_those_of_one_process(out, videos, tmp_path)


@pytest.mark.slow
def test_two_workers_one_of_them_killed_give_what_one_process_gives(folder: Path, tmp_path: Path) -> None:
    videos, out = find_videos(folder), tmp_path / "ray.parquet"
    heard: list[str] = []
    with two_workers(partial(fragile_encoder, tmp_path)) as embedder:
        result = embed_folder(embedder, videos, out, lambda key, error: heard.append(key))
    assert sorted(heard) == list(videos)
    assert set(result.failed) == {"empty.mp4"}
    assert "0 bytes" in result.failed["empty.mp4"]
    workers = (tmp_path / "log").read_text().split()
    # The dead worker's video is begun again, and nothing else.
    assert len(workers) == result.written + 1
    assert len(set(workers)) >= 2
    assert_those_of_one_process(out, videos, tmp_path)


@pytest.mark.slow
def test_an_interrupted_run_on_a_cluster_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    videos, out = find_videos(folder), tmp_path / "ray.parquet"
    heard: list[str] = []
    with two_workers(encoder) as embedder:
        with pytest.raises(StoppedError):
            embed_folder(embedder, videos, out, stop_at_third())
        kept = already_embedded(out)
        embed_folder(embedder, videos, out, lambda key, error: heard.append(key))
    assert kept >= 2
    assert len(set(heard)) == len(heard) == len(videos) - kept
    assert_those_of_one_process(out, videos, tmp_path)


def refuse() -> EncoderModel:
    raise ModelError("no such weights")


@pytest.mark.slow
def test_a_model_that_cannot_be_built_there_is_told_as_it_would_be_here() -> None:
    with pytest.raises(ModelError, match=r"^no such weights$"), embedder_of(refuse, Pool()):
        pass


def deadly_encoder() -> EncoderModel:
    model = encoder()
    model.embed_frames = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    return model


@pytest.mark.slow
def test_a_video_that_kills_every_worker_ends_the_run(folder: Path, tmp_path: Path) -> None:
    videos = {"one": folder / NATURAL[0]}
    with (
        embedder_of(deadly_encoder, Pool()) as embedder,
        pytest.raises(ModelError, match=f"4 workers died without a message on one of these: .*{NATURAL[0]}"),
    ):
        embed_folder(embedder, videos, tmp_path / "v.parquet", ignore)


def test_workers_with_other_models_are_refused_and_other_devices_are_not() -> None:
    info = encoder().info
    check_same(type(info)(**{**fields(info), "device": "cuda"}), info)
    with pytest.raises(ModelError, match="dtype is 'bfloat16'"):
        check_same(type(info)(**{**fields(info), "dtype": "bfloat16"}), info)


def fields(info: object) -> dict[str, object]:
    return {name: getattr(info, name) for name in type(info).__dataclass_fields__}


def test_a_pool_of_no_workers_is_refused() -> None:
    with pytest.raises(ModelError, match="at least one worker"):
        Pool(workers=0)
