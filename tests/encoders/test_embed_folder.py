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
from encoders.embed import (
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


class Reader:
    """Makes a vector of a file's first byte, and stops before the video it is told to stop at."""

    info = ModelInfo("reader")

    def __init__(self, stop: str = "") -> None:
        self.stop = stop
        self.asked: list[str] = []

    def embed(self, videos: Mapping[str, Path]) -> Iterator[Outcome]:
        for key, path in videos.items():
            if key == self.stop:
                raise StoppedError
            self.asked.append(key)
            yield Outcome(key, {"id": key, "vector": np.full(2, path.read_bytes()[0], dtype=np.float32), "frames": 1})


def write_videos(folder: Path, contents: Mapping[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def stopped_at(stop: str, folder: Path, out: Path) -> None:
    with pytest.raises(StoppedError):
        embed_folder(Reader(stop), find_videos(folder), out, ignore)


def embedded(folder: Path, out: Path) -> tuple[list[str], list[float]]:
    """Which videos a run asked for, and the first number of each vector in the result."""
    reader = Reader()
    embed_folder(reader, find_videos(folder), out, ignore)
    return reader.asked, [vector[0] for vector in pq.read_table(out)["vector"].to_pylist()]


THREE = {"a.mp4": b"1", "b.mp4": b"2", "c.mp4": b"3"}


def test_the_same_files_are_resumed_by_any_name_of_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = write_videos(tmp_path / "one", THREE), tmp_path / "v.parquet"
    stopped_at("c.mp4", folder, out)
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    assert already_embedded(out, find_videos(Path("link"))) == 2
    assert embedded(Path("one"), out) == (["c.mp4"], [49, 50, 51])


@pytest.mark.parametrize("same_times", [True, False])
def test_another_folder_keeps_no_vector_of_the_first(tmp_path: Path, same_times: bool) -> None:
    one, out = write_videos(tmp_path / "one", THREE), tmp_path / "v.parquet"
    stopped_at("c.mp4", one, out)
    two = write_videos(tmp_path / "two", {"a.mp4": b"7", "b.mp4": b"8", "c.mp4": b"9"})
    if same_times:
        for name in THREE:
            shutil.copystat(one / name, two / name)
    assert already_embedded(out, find_videos(two)) == 0
    assert embedded(two, out) == (["a.mp4", "b.mp4", "c.mp4"], [55, 56, 57])


@pytest.mark.parametrize("how", ["longer", "as long", "as long and as old", "moved there"])
def test_a_file_replaced_under_the_same_name_is_embedded_again(tmp_path: Path, how: str) -> None:
    folder, out = write_videos(tmp_path / "one", THREE), tmp_path / "v.parquet"
    stopped_at("c.mp4", folder, out)
    before = (folder / "a.mp4").stat()
    if how == "moved there":
        (tmp_path / "other").write_bytes(b"7")
        os.utime(tmp_path / "other", ns=(before.st_atime_ns, before.st_mtime_ns))
        (tmp_path / "other").replace(folder / "a.mp4")
    else:
        (folder / "a.mp4").write_bytes(b"77" if how == "longer" else b"7")
    if how == "as long and as old":
        os.utime(folder / "a.mp4", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert embedded(folder, out) == (["a.mp4", "c.mp4"], [55, 50, 51])


def test_a_link_that_points_elsewhere_now_is_embedded_again(tmp_path: Path) -> None:
    targets = write_videos(tmp_path / "targets", {"old": b"1", "new": b"7"})
    folder, out = write_videos(tmp_path / "one", {"b.mp4": b"2", "c.mp4": b"3"}), tmp_path / "v.parquet"
    (folder / "a.mp4").symlink_to(targets / "old")
    stopped_at("c.mp4", folder, out)
    (folder / "a.mp4").unlink()
    (folder / "a.mp4").symlink_to(targets / "new")
    assert embedded(folder, out)[0] == ["a.mp4", "c.mp4"]


def test_going_back_to_the_first_folder_finds_its_vectors_again(tmp_path: Path) -> None:
    one, out = write_videos(tmp_path / "one", THREE), tmp_path / "v.parquet"
    two = write_videos(tmp_path / "two", {"a.mp4": b"7", "c.mp4": b"9"})
    stopped_at("c.mp4", one, out)
    stopped_at("c.mp4", two, out)
    assert embedded(one, out) == (["c.mp4"], [49, 50, 51])


def test_vectors_that_do_not_say_which_file_they_are_of_are_made_again(tmp_path: Path) -> None:
    folder, out = write_videos(tmp_path / "one", THREE), tmp_path / "v.parquet"
    stopped_at("c.mp4", folder, out)
    for part in parts_folder(out).glob("*.parquet"):
        pq.write_table(pq.read_table(part).drop_columns(["made_from"]), part)
    assert embedded(folder, out) == (["a.mp4", "b.mp4", "c.mp4"], [49, 50, 51])
    assert "made_from" not in pq.read_schema(out).names


@pytest.mark.parametrize("text", ["", "{", "\0\0\0", '{"model": '])
def test_facts_that_a_kill_left_half_written_stop_nothing(tmp_path: Path, text: str) -> None:
    folder, out = write_videos(tmp_path / "one", THREE), tmp_path / "v.parquet"
    stopped_at("c.mp4", folder, out)
    (parts_folder(out) / "run.json").write_text(text)
    # Whoever made the vectors is known from each of them.
    assert embedded(folder, out) == (["c.mp4"], [49, 50, 51])


def test_vectors_of_another_model_are_not_taken_where_the_facts_are_lost(tmp_path: Path) -> None:
    folder, out = write_videos(tmp_path / "one", THREE), tmp_path / "v.parquet"
    stopped_at("c.mp4", folder, out)
    (parts_folder(out) / "run.json").write_text("")
    other = Reader()
    other.info = ModelInfo("another")
    embed_folder(other, find_videos(folder), out, ignore)
    assert other.asked == ["a.mp4", "b.mp4", "c.mp4"]


@pytest.mark.parametrize("left", [0, 10, -1])
def test_a_part_cut_short_costs_its_own_vectors_alone(tmp_path: Path, left: int) -> None:
    folder, out = write_videos(tmp_path / "one", THREE), tmp_path / "v.parquet"
    stopped_at("b.mp4", folder, out)
    stopped_at("c.mp4", folder, out)
    parts = parts_folder(out)
    first = parts / "000001.parquet"
    first.write_bytes(first.read_bytes()[:left])
    # What macOS, a copy by hand or a kill may leave there as well.
    for name in ("._000002.parquet", "copy.parquet", ".000003.parquet.0a1b2c3d", ".v.parquet.0a1b2c3d"):
        (parts / name).write_bytes(b"x")
    assert already_embedded(out) == 1
    assert embedded(folder, out) == (["a.mp4", "c.mp4"], [49, 50, 51])
    assert not parts.exists()


def test_a_kill_while_the_result_is_written_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = write_videos(tmp_path / "one", THREE), tmp_path / "v.parquet"
    beside: list[list[str]] = []
    replace = Path.replace

    def seen(self: Path, target: Path) -> Path:
        if target == out:
            beside.append(sorted(path.name for path in tmp_path.iterdir()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", seen)
    assert embedded(folder, out)[1] == [49, 50, 51]
    assert beside == [["one", "v.parquet.parts"]]


@pytest.mark.parametrize("suffix", ["parquet", "safetensors"])
def test_folders_whose_names_are_no_utf8_hold_videos_and_results(tmp_path: Path, suffix: str) -> None:
    named = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder, out = write_videos(named, {**THREE, "d.mp4": b""}), named / f"v.{suffix}"
    (folder / "d.mp4").unlink()
    stopped_at("c.mp4", folder, out)
    assert already_embedded(out, find_videos(folder)) == 2
    reader = Reader()
    result = embed_folder(reader, find_videos(folder), out, ignore)
    assert (reader.asked, result.written, out.is_file()) == (["c.mp4"], 3, True)
    if suffix == "parquet":
        assert facts_of(out)["model"]["name"] == "reader"


def test_a_reason_that_names_such_a_folder_is_text_in_the_result(here: HereEmbedder, folder: Path) -> None:
    named = Path(os.fsdecode(os.fsencode(folder.parent) + b"/caf\xe9"))
    folder.rename(named)
    (named / "more" / "bbb_5s.mp4").unlink()
    result = embed_folder(here, find_videos(named), folder.parent / "v.parquet", ignore)
    assert result.written == 2
    assert "caf\ufffd" in facts_of(result.out)["failed"]["empty_0_bytes.webm"]


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
