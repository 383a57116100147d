"""Vectors of a folder: every video once, bad ones named, resumable, two formats."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from encoders.build import build_preset
from encoders.embed_folder import (
    HereEmbedder,
    Outcome,
    already_embedded,
    decoders_for,
    embed_folder,
    facts_of,
    find_videos,
    parts_folder,
)
from encoders.models import PresetOptions
from encoders.task_model import EncoderModel
from tasks.errors import DataError
from tasks.model import ModelInfo


@pytest.fixture(scope="module")
def encoder() -> EncoderModel:
    return build_preset("imagevit-tiny", PresetOptions(weights="random", dtype="float32", frames=2, batch=2))


@pytest.fixture(scope="module")
def here(encoder: EncoderModel) -> Iterator[HereEmbedder]:
    with decoders_for(encoder) as decoders:
        yield HereEmbedder(encoder, decoders)


@pytest.fixture
def folder(shared_data: Path, tmp_path: Path) -> Path:
    videos = tmp_path / "videos"
    (videos / "more").mkdir(parents=True)
    shutil.copy(shared_data / "videos" / "natural" / "ego_frying_2s.mp4", videos)
    shutil.copy(shared_data / "videos" / "broken" / "bbb_5s.mp4", videos / "more")
    shutil.copy(shared_data / "videos" / "broken" / "rot90.mov", videos / "more")
    shutil.copy(shared_data / "videos" / "broken" / "empty_0_bytes.webm", videos)
    (videos / "notes.txt").write_text("not a video")
    return videos


class Fake:
    """Makes a vector of anything."""

    info = ModelInfo("fake")

    def embed(self, videos: Mapping[str, Path]) -> Iterator[Outcome]:
        for key in videos:
            yield Outcome(key, {"id": key, "vector": np.ones(2, dtype=np.float32), "frames": 1})


@pytest.mark.parametrize("suffix", ["parquet", "safetensors"])
def test_a_name_that_is_no_utf8_is_passed_over_and_costs_no_other_vector(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "v").mkdir()
    for name in (b"good.mp4", b"latin_\xe9.mp4", b"zz.MP4", b"._good.mp4"):
        Path(os.fsdecode(os.fsencode(tmp_path / "v") + b"/" + name)).touch()
    heard: list[str] = []
    result = embed_folder(
        Fake(), find_videos(tmp_path / "v"), tmp_path / f"v.{suffix}", lambda key, _: heard.append(key)
    )
    assert (result.written, list(result.failed)) == (2, ["latin_\udce9.mp4"])
    assert "not UTF-8" in result.failed["latin_\udce9.mp4"]
    assert len(heard) == 3


def ignore(key: str, error: str | None) -> None:
    del key, error


def test_every_good_video_has_one_vector_and_the_bad_one_a_reason(
    here: HereEmbedder, folder: Path, tmp_path: Path
) -> None:
    heard: dict[str, str | None] = {}
    result = embed_folder(here, find_videos(folder), tmp_path / "v.parquet", heard.__setitem__)
    table = pq.read_table(result.out)
    assert table["id"].to_pylist() == ["ego_frying_2s.mp4", "more/bbb_5s.mp4", "more/rot90.mov"]
    assert "0 bytes" in result.failed["empty_0_bytes.webm"]
    assert set(heard) == {*table["id"].to_pylist(), "empty_0_bytes.webm"}
    norms = np.linalg.norm(np.stack(table["vector"].to_numpy(zero_copy_only=False)), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-5)
    assert not parts_folder(result.out).exists()


def test_both_formats_hold_the_same_vectors_ids_and_facts(here: HereEmbedder, folder: Path, tmp_path: Path) -> None:
    parquet, safe = (tmp_path / f"v.{suffix}" for suffix in ("parquet", "safetensors"))
    for out in (parquet, safe):
        embed_folder(here, find_videos(folder), out, ignore)
    with safe_open(safe, framework="np") as file:
        vectors, metadata = file.get_tensor("vectors"), file.metadata()
    table = pq.read_table(parquet)
    np.testing.assert_array_equal(vectors, np.stack(table["vector"].to_numpy(zero_copy_only=False)))
    assert json.loads(metadata["ids"]) == table["id"].to_pylist()
    assert json.loads(metadata["longvid"]) == facts_of(parquet)


class StoppedError(Exception):
    """Stands for a kill in the middle."""


def test_an_interrupted_run_resumes_and_repeats_nothing(here: HereEmbedder, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.parquet"

    def stop_at_second(key: str, error: str | None) -> None:
        if error is None and key.startswith("more/"):
            raise StoppedError

    with pytest.raises(StoppedError):
        embed_folder(here, find_videos(folder), out, stop_at_second)
    before = already_embedded(out)
    assert before >= 1
    heard: list[str] = []
    result = embed_folder(here, find_videos(folder), out, lambda key, error: heard.append(key) if not error else None)
    assert result.written == 3
    assert len(heard) == 3 - before
    whole = embed_folder(here, find_videos(folder), tmp_path / "w.parquet", ignore)
    first, second = (pq.read_table(path)["vector"].to_pylist() for path in (out, whole.out))
    np.testing.assert_allclose(first, second, atol=2e-5)


def test_parts_of_another_model_are_not_mixed_in(here: HereEmbedder, folder: Path, tmp_path: Path) -> None:
    parts = parts_folder(tmp_path / "v.parquet")
    parts.mkdir()
    (parts / "run.json").write_text('{"model": "other"}')
    with pytest.raises(DataError, match="another model or frame policy"):
        embed_folder(here, find_videos(folder), tmp_path / "v.parquet", ignore)


def test_an_existing_result_is_not_overwritten(here: HereEmbedder, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "v.parquet").touch()
    with pytest.raises(DataError, match="exists already"):
        embed_folder(here, find_videos(folder), tmp_path / "v.parquet", ignore)


def test_an_unknown_format_is_refused_before_any_work(here: HereEmbedder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.parquet or \.safetensors"):
        embed_folder(here, {}, tmp_path / "v.csv", ignore)


def test_videos_are_listed_whatever_their_ending_and_behind_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").mkdir()
    for name in ("elsewhere/a.mov", "folder/b.MP4", "folder/c.ogv", "folder/2024-01-01T10:30.webm", "folder/._b.MP4"):
        (tmp_path / name).touch()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "elsewhere")
    assert list(find_videos(tmp_path / "folder")) == ["2024-01-01T10:30.webm", "b.MP4", "c.ogv", "link/a.mov"]


def test_a_folder_without_videos_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no videos"):
        find_videos(tmp_path)


def test_a_folder_where_every_video_is_bad_is_an_error(here: HereEmbedder, folder: Path, tmp_path: Path) -> None:
    bad = {"x": folder / "empty_0_bytes.webm"}
    with pytest.raises(DataError, match="none of the 1 videos"):
        embed_folder(here, bad, tmp_path / "v.parquet", ignore)
