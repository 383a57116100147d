"""Video-MME and LongVideoBench on small files of their shape: from frames and subtitles to figures and a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import longvid
from tasks.subtitles import lines_at, lines_of
from tests.baselines.llm.server_process import FaultyServer, faulty_server
from tests.tasks import test_longvideobench, test_videomme

CLIPS = ("bikes_10s.mp4", "ego_frying_2s.mp4")
SRT = "1\n00:00:00,000 --> 00:00:09,000\nthe right one is B\n"
Write = Callable[[Path, Path], Path]


class Looks:
    """Says B where the frames have pictures in them, whatever is said."""

    def generate(self, requests: Sequence[longvid.TextRequest]) -> list[str]:
        return ["B" if longvid.frames(request.clip, count=2, size=32).max() > 0 else "A" for request in requests]


class Listens:
    """Says the last letter of what is said at the clip's middle."""

    reads_subtitles = True

    def generate(self, requests: Sequence[longvid.TextRequest]) -> list[str]:
        return [lines_at(lines_of(request.clip), [request.clip.duration / 2])[0].text[-1] for request in requests]


def videomme(root: Path, clips: Path) -> Path:
    folder = root / "videomme"
    (folder / "videos").mkdir(parents=True)
    (folder / "subtitle").mkdir()
    test_videomme.write(folder, test_videomme.row(1), test_videomme.row(2))
    for number, name in enumerate(CLIPS, start=1):
        (folder / "videos" / f"v{number}.mp4").symlink_to(clips / name)
        (folder / "subtitle" / f"v{number}.srt").write_text(SRT)
    return folder / "subtitle" / "v2.srt"


def longvideobench(root: Path, clips: Path) -> Path:
    folder = root / "longvideobench"
    (folder / "videos").mkdir(parents=True)
    (folder / "subtitles").mkdir()
    one = test_longvideobench.entry(1, starting_timestamp_for_subtitles=0)
    test_longvideobench.write(folder, one, one | test_longvideobench.entry(2, 2, starting_timestamp_for_subtitles=0))
    for number, name in enumerate(CLIPS, start=1):
        (folder / "videos" / f"v{number}.mp4").symlink_to(clips / name)
        text = '[{"start": "00:00:00.000", "end": "00:00:09.000", "line": "the right one is B"}]'
        (folder / "subtitles" / f"v{number}_en.json").write_text(text)
    return folder / "subtitles" / "v2_en.json"


CASES = [("videomme", "test", videomme), ("longvideobench", "val", longvideobench)]


@pytest.mark.parametrize(("name", "pool", "write"), CASES)
def test_frames_become_figures_and_a_page(
    shared_data: Path, tmp_path: Path, name: str, pool: str, write: Write
) -> None:
    write(tmp_path, shared_data / "videos" / "natural")
    run = longvid.evaluate(Looks(), f"{name}@{pool}", out=tmp_path / "run", data=tmp_path)
    assert (run.results.status, run.value) == ("complete", 1.0)
    assert {floor.model for floor in run.results.floors} >= {"chance", "longest option", "shortest option"}
    assert run.to_html(tmp_path / "run.html").stat().st_size > 10_000


@pytest.mark.parametrize(("name", "pool", "write"), CASES)
def test_with_subtitles_a_missing_file_is_an_error_row_and_a_model_that_reads_none_is_refused(
    shared_data: Path, tmp_path: Path, name: str, pool: str, write: Write
) -> None:
    lost = write(tmp_path, shared_data / "videos" / "natural")
    whole = longvid.evaluate(Listens(), f"{name}@{pool}-subtitles", out=tmp_path / "whole", data=tmp_path)
    assert (whole.results.status, whole.value) == ("complete", 1.0)
    lost.unlink()
    run = longvid.evaluate(Listens(), f"{name}@{pool}-subtitles", out=tmp_path / "part", data=tmp_path)
    assert (run.results.status, run.results.counts.failed) == ("partial", 1)
    assert any(f"{lost.name} are missing" in warning for warning in run.results.warnings)
    with pytest.raises(longvid.ModelError, match="with subtitles, and the model does not read them"):
        longvid.evaluate(Looks(), f"{name}@{pool}-subtitles", out=tmp_path / "deaf", data=tmp_path)


@pytest.fixture
def toy() -> Iterator[FaultyServer]:
    with faulty_server() as server:
        yield server


@pytest.mark.parametrize(("name", "pool", "write"), CASES)
def test_a_video_language_model_reads_them_where_the_benchmark_wants_them(
    shared_data: Path, tmp_path: Path, toy: FaultyServer, name: str, pool: str, write: Write
) -> None:
    lost = write(tmp_path, shared_data / "videos" / "natural")
    lost.unlink()
    options = {"llm": "openai:toy", "base_url": toy.base_url, "frames": 3, "size": 32, "workers": 1}
    run = longvid.evaluate(
        "vlm", f"{name}@{pool}-subtitles", out=tmp_path / "run", data=tmp_path, options={**options, "subtitles": "seen"}
    )
    assert (run.results.counts.answered, run.results.counts.failed) == (1, 1)
    (body,) = [row["body"] for row in toy.log() if "the right one is B" in row["text"]][:1]
    kinds = [part["type"] for part in body["messages"][0]["content"]]
    first, *_, last = (part.get("text", "") for part in body["messages"][0]["content"])
    if name == "longvideobench":
        assert kinds == ["text", *["image_url"] * 3, "text"]
        assert first == "[0:00] the right one is B"
    else:
        assert kinds == ["video_url", "text"]
        assert "while these frames are shown, with its times (minutes:seconds):\n[0:00] the right one is B\n\n" in last
