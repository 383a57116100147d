"""What a resumed run may keep: answers about the same clip, with their vectors, each credited to who gave it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from evals.clips import PIECE, PIECES, difference, looked_at, same_clip, with_content
from evals.html_report.run_page import facts
from evals.new_run import describe_run
from evals.record import ClipRow, Provenance, Results, Run
from evals.runner import Beginning, RunSettings, rescore, run_task
from evals.schema_files import without_wall_clock
from evals.store import read_results, read_run, read_samples
from tasks.errors import RecordError
from tasks.model import Embeddings, ModelInfo
from tasks.multiple_choice import MultipleChoiceTask, item_set_digest
from tasks.retrieval import PRIMARY, RetrievalItem, RetrievalTask, retrieval_digest
from tasks.task import Clip, FramesSeen, TaskInfo, Trace
from tests.evals.conftest import ToyModel, ignore, run_toy, toy_task

ITEMS = 8


@dataclass
class ToyEncoder:
    """Vectors that follow from a clip's id; remembers what it was asked, and stops at a clip."""

    stop_at: str = ""
    asked: list[str] = field(default_factory=list)

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("toy-encoder")

    def embed_video(self, clips: Sequence[Clip]) -> Embeddings:
        if any(clip.video_id == self.stop_at for clip in clips):
            raise KeyboardInterrupt
        self.asked += [clip.video_id for clip in clips]
        return embeddings([clip.video_id for clip in clips])

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        return embeddings(texts)


def embeddings(words: Sequence[str]) -> Embeddings:
    vectors = np.stack([np.random.default_rng(abs(hash_of(word))).standard_normal(4) for word in words])
    return Embeddings(vectors.astype(np.float32), tuple(Trace(frames=FramesSeen(1)) for _ in words))


def hash_of(word: str) -> int:
    return int.from_bytes(word.encode().ljust(8, b"."), "big")


@pytest.fixture
def pool() -> RetrievalTask:
    items = [RetrievalItem(f"i{n}", f"c{n // 2}", Clip(f"v{n}", 0.0, 9.0), f"text {n}") for n in range(ITEMS)]
    info = TaskInfo("toy@8", "retrieval", "1", ITEMS, retrieval_digest(items), PRIMARY, 1 / ITEMS, *"vslc")
    return RetrievalTask(info, items)


def embed(task: RetrievalTask, folder: Path, model: ToyEncoder | None = None, **settings: int) -> Results:
    encoder = model or ToyEncoder()
    run = describe_run(task, encoder, "toy", {}, ["longvid"])
    return run_task(task, encoder, run, RunSettings(folder, **settings), ignore)


def same(one: Results, other: Results) -> bool:
    return without_wall_clock(one) == without_wall_clock(other)


@pytest.mark.parametrize("rows_left", [0, 1, 5, 7])
def test_rows_whose_vectors_a_copy_lost_are_asked_again(pool: RetrievalTask, tmp_path: Path, rows_left: int) -> None:
    whole = embed(pool, tmp_path)
    vectors = tmp_path / "vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[: 128 + rows_left * 32 + 5])
    with pytest.raises(RecordError, match="the file is damaged"):
        rescore(pool, tmp_path)
    model = ToyEncoder()
    assert same(embed(pool, tmp_path, model), whole)
    assert model.asked == [f"v{n}" for n in range(rows_left, ITEMS)]
    assert np.isfinite(np.load(vectors)).all()
    assert len(np.load(vectors)) == ITEMS


def test_with_the_vectors_gone_everything_is_asked_again(pool: RetrievalTask, tmp_path: Path) -> None:
    whole = embed(pool, tmp_path)
    (tmp_path / "vectors.npy").unlink()
    model = ToyEncoder()
    assert same(embed(pool, tmp_path, model), whole)
    assert len(model.asked) == ITEMS


@pytest.mark.parametrize("has_checksums", [True, False], ids=["today's", "older record"])
def test_zeros_in_the_middle_are_asked_again(pool: RetrievalTask, tmp_path: Path, has_checksums: bool) -> None:
    whole = embed(pool, tmp_path)
    if not has_checksums:
        forget(tmp_path / "samples.jsonl", "vectors_crc32")
    vectors = tmp_path / "vectors.npy"
    data = vectors.read_bytes()
    vectors.write_bytes(data[: 128 + 96] + bytes(32) + data[128 + 128 :])
    model = ToyEncoder()
    assert same(embed(pool, tmp_path, model, retry_failed=False), whole)
    assert model.asked == ["v3"]


def forget(path: Path, *names: str) -> None:
    """Rows as an earlier version wrote them, without some fields."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({k: v for k, v in row.items() if k not in names}) + "\n" for row in rows))


def test_an_interrupt_while_lost_rows_are_made_again_leaves_none_of_them_scored(
    pool: RetrievalTask, tmp_path: Path
) -> None:
    whole = embed(pool, tmp_path)
    (tmp_path / "vectors.npy").write_bytes((tmp_path / "vectors.npy").read_bytes()[: 128 + 2 * 32])
    with pytest.raises(KeyboardInterrupt):
        embed(pool, tmp_path, ToyEncoder(stop_at="v4"))
    partial = read_results(tmp_path)
    assert (partial.status, partial.counts.answered, partial.counts.failed) == ("partial", 4, 4)
    assert same(embed(pool, tmp_path, retry_failed=False), whole)


def test_power_cuts_at_any_byte_of_either_file_end_where_an_uninterrupted_run_ends(
    pool: RetrievalTask, tmp_path: Path
) -> None:
    whole = embed(pool, tmp_path / "whole")
    names = ("samples.jsonl", "vectors.npy")
    content = {name: (tmp_path / "whole" / name).read_bytes() for name in names}
    random = Random(9)
    for number in range(30):
        folder = tmp_path / f"cut{number}"
        folder.mkdir()
        (folder / "run.json").write_bytes((tmp_path / "whole" / "run.json").read_bytes())
        for name in names:
            kept = content[name][: random.randrange(len(content[name]) + 1)]
            zeros = bytes(random.choice((0, 0, 32, 100))) if name == "vectors.npy" else b""
            (folder / name).write_bytes(kept + zeros)
        assert same(embed(pool, folder), whole), number


def test_vectors_of_another_length_in_the_file_are_not_mixed_with_todays(pool: RetrievalTask, tmp_path: Path) -> None:
    whole = embed(pool, tmp_path)
    with (tmp_path / "vectors.npy").open("wb") as file:
        np.save(file, np.ones((ITEMS, 2, 6), np.float32))
    assert same(embed(pool, tmp_path), whole)
    assert np.load(tmp_path / "vectors.npy").shape == (ITEMS, 2, 4)


# What was looked at


def with_file(task: MultipleChoiceTask, path: Path) -> MultipleChoiceTask:
    """The task with the first item's clip in a file."""
    first, *others = task.items()
    clip = replace(first.clip, path=path)
    return MultipleChoiceTask(task.info, [replace(first, clip=clip), *others], task.prompts)


def look(task: MultipleChoiceTask, folder: Path, stop_at: str | None = None) -> tuple[list[str], list[str]]:
    """A run; the ids that were asked, and the reasons why earlier answers did not count."""
    model, found = ToyModel(stop_at=stop_at), list[Beginning]()
    run = describe_run(task, model, "toy", {}, ["longvid"])
    run_task(task, model, run, RunSettings(folder), ignore, found.append)
    return model.asked_ids, list(found[0].stale.values())


@pytest.mark.parametrize("size", [12, 2 << 20], ids=["small", "larger than its samples"])
def test_a_file_replaced_under_the_same_name_is_asked_again(tmp_path: Path, size: int) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(bytes(size))
    task = with_file(toy_task(3), video)
    look(task, tmp_path / "run")
    assert look(task, tmp_path / "run") == ([], [])
    video.write_bytes(b"\x01" * size)
    asked, why = look(task, tmp_path / "run")
    assert asked == ["q00"]
    assert "v.mp4 is another file than the one it was answered about (its content differs)" in why[0]
    assert look(task, tmp_path / "run") == ([], [])


def test_other_subtitles_under_the_same_name_are_asked_about_again(tmp_path: Path) -> None:
    spoken = tmp_path / "v.srt"
    spoken.write_text("1\n00:00:01,000 --> 00:00:02,000\nsalt\n")
    first, *others = toy_task(3).items()
    items = [replace(first, clip=replace(first.clip, subtitles=spoken)), *others]
    task = MultipleChoiceTask(toy_task(3).info, items, toy_task(3).prompts)
    look(task, tmp_path / "run")
    assert look(task, tmp_path / "run") == ([], [])
    spoken.write_text("1\n00:00:01,000 --> 00:00:02,000\nmilk\n")
    asked, why = look(task, tmp_path / "run")
    assert asked == ["q00"]
    assert "v.srt holds other subtitles than when it was answered" in why[0]


def test_a_file_of_another_size_with_the_old_time_is_asked_again(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(b"one")
    times = (video.stat().st_atime_ns, video.stat().st_mtime_ns)
    look(with_file(toy_task(3), video), tmp_path / "run")
    video.write_bytes(b"another")
    os.utime(video, ns=times)
    assert look(with_file(toy_task(3), video), tmp_path / "run")[0] == ["q00"]


def test_the_same_content_at_another_place_or_time_is_the_same_video(tmp_path: Path) -> None:
    video, copy = tmp_path / "v.mp4", tmp_path / "copy.mp4"
    video.write_bytes(b"frames")
    look(with_file(toy_task(3), video), tmp_path / "run")
    copy.write_bytes(b"frames")
    os.utime(copy, (0, 0))
    assert look(with_file(toy_task(3), copy), tmp_path / "run") == ([], [])


def test_a_video_that_is_not_here_any_more_costs_no_answer(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(b"frames")
    look(with_file(toy_task(3), video), tmp_path / "run")
    video.unlink()
    assert look(with_file(toy_task(3), video), tmp_path / "run") == ([], [])


def test_an_interrupted_second_look_leaves_the_old_answer_unscored(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(b"one")
    look(with_file(toy_task(3), video), tmp_path / "run")
    video.write_bytes(b"two")
    with pytest.raises(KeyboardInterrupt):
        look(with_file(toy_task(3), video), tmp_path / "run", stop_at="q00")
    assert read_results(tmp_path / "run").failed_ids == ("q00",)


def test_rows_of_an_earlier_version_that_do_not_tell_their_clip_still_count(tmp_path: Path) -> None:
    look(toy_task(3), tmp_path / "run")
    forget(tmp_path / "run" / "samples.jsonl", "clip", "stretch", "vectors_crc32")
    assert look(toy_task(3), tmp_path / "run") == ([], [])


@pytest.mark.parametrize(
    "changed", [{"start": 1.0}, {"end": 9.0}, {"video_id": "other"}], ids=["start", "end", "video"]
)
def test_another_clip_is_another_item_set_and_another_item(tmp_path: Path, changed: dict[str, object]) -> None:
    items = toy_task(3).items()
    other = replace(items[0], clip=replace(items[0].clip, **changed))
    assert item_set_digest([other, *items[1:]]) != item_set_digest(items)
    row = looked_at(items[0].clip)
    assert difference(row, items[0].clip) == ""
    assert "it was answered about" in difference(row, other.clip)
    assert not same_clip(row, looked_at(other.clip))


def test_a_question_file_with_another_clip_is_refused_with_the_reason(tmp_path: Path) -> None:
    task = toy_task(3)
    run_toy(task, ToyModel(), tmp_path / "run")
    info = replace(task.info, items_sha256="0" * 64)
    with pytest.raises(RecordError, match=r"a video, a start or an end; records from before December 2026"):
        run_toy(MultipleChoiceTask(info, task.items(), task.prompts), ToyModel(), tmp_path / "run")


def test_a_looked_at_file_is_told_by_every_byte_and_another_by_samples(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(bytes(4 * PIECES * PIECE))
    clip = Clip("v", 0.0, 1.0, video)
    seen, unseen = (with_content(looked_at(clip), clip, frames_seen=frames) for frames in (True, False))
    assert (seen.content or "").startswith("sha256:")
    assert same_clip(seen, unseen)
    with video.open("r+b") as file:
        file.seek(PIECE + 1)
        file.write(b"\x01")
    now = with_content(looked_at(clip), clip, frames_seen=True)
    assert not same_clip(seen, now)
    assert difference(seen, clip)


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ({}, True),
        ({"bytes": None, "content": None}, True),
        ({"bytes": 8}, False),
        ({"content": "sha256:b"}, False),
        ({"stamp": "later"}, True),
    ],
)
def test_runs_on_two_machines_agree_on_a_clip_by_its_content(other: dict[str, object], is_same: bool) -> None:
    row = ClipRow(video="v", start=0.0, end=1.0, bytes=7, content="sha256:a", stamp="1")
    assert same_clip(row, row.model_copy(update=other)) is is_same


# Who gave which answer


def described(task: MultipleChoiceTask, **changed: object) -> Run:
    base = Provenance(
        argv=("longvid",),
        commit="a" * 40,
        uncommitted_changes=False,
        versions={"torch": "2.9"},
        platform="p",
        created="t",
    )
    run = describe_run(task, ToyModel(), "toy", {}, ["longvid"])
    return run.model_copy(update={"provenance": base.model_copy(update=changed)})


def go(task: MultipleChoiceTask, folder: Path, stop_at: str | None = None, **changed: object) -> Results:
    return run_task(task, ToyModel(stop_at=stop_at), described(task, **changed), RunSettings(folder), ignore)


def test_answers_are_credited_to_the_code_that_gave_them(tmp_path: Path) -> None:
    task = toy_task(12)
    with pytest.raises(KeyboardInterrupt):
        go(task, tmp_path, stop_at="q03")
    with pytest.raises(KeyboardInterrupt):
        go(task, tmp_path, stop_at="q08", commit="b" * 40, versions={"torch": "2.10"})
    results = go(task, tmp_path, platform="another machine")
    assert [sample.stretch for sample in read_samples(tmp_path).values()] == [0] * 3 + [1] * 5 + [2] * 4
    assert results.provenance.commit == "a" * 40
    assert [(part.provenance.commit, part.answered) for part in results.resumed] == [("b" * 40, 5), ("a" * 40, 4)]
    said = [warning for warning in results.warnings if "after a change" in warning]
    assert said[0].startswith(
        "5 of 12 answers were given after a change: code aaaaaaaaaaaa → bbbbbbbbbbbb; torch 2.9 → 2.10"
    )
    assert "machine p" in said[1]
    shown = dict(facts(results))
    assert shown["answers by that code"] == "3 of 12"
    assert "5 answers; changed: code aaaaaaaaaaaa → bbbbbbbbbbbb" in shown["resumed 1"]


def test_resuming_by_the_same_code_is_no_new_part(tmp_path: Path) -> None:
    task = toy_task(12)
    with pytest.raises(KeyboardInterrupt):
        go(task, tmp_path, stop_at="q03")
    assert go(task, tmp_path, created="later").resumed == ()
    assert read_run(tmp_path).resumed == ()


def test_looking_at_a_finished_run_with_other_code_changes_nothing(tmp_path: Path) -> None:
    task = toy_task(12)
    before = go(task, tmp_path)
    assert go(task, tmp_path, commit="c" * 40) == before
    assert read_run(tmp_path).resumed == ()


def test_another_command_is_recorded_without_a_warning(tmp_path: Path) -> None:
    task = toy_task(12)
    with pytest.raises(KeyboardInterrupt):
        go(task, tmp_path, stop_at="q03")
    results = go(task, tmp_path, argv=("longvid", "--batch-size", "4"))
    assert results.resumed[0].provenance.argv[-1] == "4"
    assert not [warning for warning in results.warnings if "after a change" in warning]
