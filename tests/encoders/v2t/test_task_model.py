"""Video-to-text as the tasks see it: real clips in, captions and choices out, through the command line too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encoders.models import VideoToTextOptions
from encoders.v2t.task_model import VideoToTextModel, build_video_to_text
from encoders.video_errors import VideoError
from tasks.digests import text_sha256
from tasks.model import Captioner, ChoiceScorer, OptionRequest, TextGenerator, TextRequest
from tasks.routes import Route
from tasks.task import Clip
from tests.encoders.v2t.files import write_all
from tests.encoders.videos import write_video
from tests.evals.conftest import longvid

OPTIONS = (" fries an egg", " walks", " repairs a bicycle")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("v2t"))


@pytest.fixture(scope="module")
def clips(shared_data: Path) -> list[Clip]:
    folder = shared_data / "videos" / "natural"
    return [
        Clip("pancake", 0.0, 9.0, folder / "flipping_a_pancake_10s.mkv"),
        Clip("frying", 0.0, 2.0, folder / "ego_frying_2s.mp4"),
        Clip("bottles", 3.0, 12.0, folder / "bottles_40s.mp4"),
    ]


def build(file: Path, **options: object) -> VideoToTextModel:
    given = {"weights": file, "device": "cpu", "dtype": "float32", **options}
    return build_video_to_text(VideoToTextOptions(**given))  # type: ignore[arg-type]


def captions_of(clips: list[Clip]) -> list[TextRequest]:
    return [TextRequest(clip.video_id, clip, "Say what is done.", 12) for clip in clips]


def choices_of(clips: list[Clip]) -> list[OptionRequest]:
    return [OptionRequest(clip.video_id, clip, "What does C do?", "Answer:", OPTIONS) for clip in clips]


def test_it_captions_generates_and_weighs_options(file: Path) -> None:
    model = build(file)
    assert isinstance(model, Captioner)
    assert isinstance(model, TextGenerator)
    assert isinstance(model, ChoiceScorer)
    assert model.route == Route.OPTIONS_LOGLIK
    assert build(file, route=Route.GENERATE).route == Route.GENERATE


@pytest.mark.parametrize("options", [{}, {"beams": 2}, {"mask": 0.3}], ids=str)
def test_a_batch_of_clips_gives_what_each_gives_alone(file: Path, clips: list[Clip], options: dict[str, float]) -> None:
    together = build(file, **options).caption(captions_of(clips))
    scored = build(file, **options).score_options(choices_of(clips))
    for at in range(len(clips)):
        model = build(file, **options)
        assert model.caption(captions_of(clips[at : at + 1]))[0].text == together[at].text
        alone = model.score_options(choices_of(clips[at : at + 1]))[0]
        assert alone.scores == pytest.approx(scored[at].scores, abs=1e-3)
    assert len({reply.text for reply in together}) == 3


def test_each_reply_keeps_its_own_limit_whatever_else_is_in_the_batch(file: Path, clips: list[Clip]) -> None:
    limits = (12, 3, 12)
    asked = [TextRequest(clip.video_id, clip, "", limit) for clip, limit in zip(clips, limits, strict=True)]
    model = build(file)
    replies = model.caption(asked)
    assert tuple(reply.trace.usage.completion for reply in replies) == limits
    assert [reply.text for reply in replies] == [model.caption([request])[0].text for request in asked]


def test_a_trace_tells_frames_tokens_seconds_and_the_words_before_the_caption(file: Path, clips: list[Clip]) -> None:
    reply = build(file, frames=4).caption(captions_of(clips[:1]))[0]
    assert reply.trace.frames is not None
    assert reply.trace.frames.count == 4
    assert (reply.trace.usage.prompt, reply.trace.usage.completion) == (1, 12)
    assert set(reply.trace.seconds) == {"decode", "wait", "encode", "llm"}
    assert reply.trace.prompt_sha256 == text_sha256("")
    assert not reply.finished


def test_a_clip_that_is_asked_about_again_is_not_looked_at_again(file: Path, clips: list[Clip]) -> None:
    model = build(file, frames=4)
    with model.looking_ahead([clips[0], clips[0], clips[1]]):
        first, again = (model.score_options(choices_of(clips[:1]))[0] for _ in range(2))
        other = model.score_options(choices_of(clips[1:2]))[0]
    assert again.scores == first.scores != other.scores
    assert set(again.trace.seconds) == {"llm"}
    assert set(other.trace.seconds) == {"decode", "wait", "encode", "llm"}


def test_captions_follow_trainings_prompt_and_the_tasks_only_when_told(file: Path, clips: list[Clip]) -> None:
    task = build(file, caption_prompt="task").caption(captions_of(clips[:1]))[0]
    assert task.trace.prompt_sha256 == text_sha256("Say what is done.\n\n")
    assert task.text == build(file).generate(captions_of(clips[:1]))[0].text
    assert task.trace.usage.prompt == 1 + len("Say what is done.\n\n")


def test_a_mask_depends_on_the_clip_and_changes_what_is_seen(file: Path, clips: list[Clip]) -> None:
    masked, whole = build(file, mask=0.5), build(file)
    first = masked.score_options(choices_of(clips))
    assert [one.scores for one in masked.score_options(choices_of(clips))] == [one.scores for one in first]
    assert first[0].scores != whole.score_options(choices_of(clips))[0].scores


def test_a_bad_video_is_an_error_that_names_it(file: Path, shared_data: Path) -> None:
    broken = shared_data / "videos" / "broken" / "empty_0_bytes.webm"
    with pytest.raises(VideoError, match="empty_0_bytes"):
        build(file).caption(captions_of([Clip("x", 0.0, 2.0, broken)]))


@pytest.fixture(scope="module")
def data(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the real annotations and, for the first item of each benchmark, a video of 220 s."""
    root = tmp_path_factory.mktemp("data")
    long = root / "long.mp4"
    write_video(long, [i * 0.5 for i in range(440)])
    for name in ("egoschema", "youcook2"):
        (root / name / "videos").mkdir(parents=True)
        for source in (shared_data / name).iterdir():
            (root / name / source.name).symlink_to(source)
    public = json.loads((shared_data / "egoschema/subset_answers.json").read_text())
    questions = json.loads((shared_data / "egoschema/questions.json").read_text())
    question = next(q["q_uid"] for q in questions if q["q_uid"] in public)
    annotated = json.loads((shared_data / "youcook2/youcookii_annotations_trainval.json").read_text())["database"]
    recipe = next(name for name, video in annotated.items() if video["subset"] == "validation")
    (root / f"egoschema/videos/{question}.mp4").symlink_to(long)
    (root / f"youcook2/videos/{recipe}.mp4").symlink_to(long)
    return root


@pytest.mark.parametrize(
    ("command", "route"),
    [
        ("egoschema", "options-loglik"),
        pytest.param("youcook2-captioning", "caption", marks=pytest.mark.slow),
        pytest.param("youcook2-summary", "caption", marks=pytest.mark.slow),
    ],
)
def test_benchmarks_run_with_the_checkpoint_alone_on_the_command_line(
    file: Path, data: Path, tmp_path: Path, command: str, route: str
) -> None:
    options = {"weights": file, "frames": 4, "max_tokens": 8, "beams": 2}
    given = [word for key, value in options.items() for word in ("-M", f"{key}={value}")]
    out = tmp_path / "run"
    done = longvid(command, "run", "-m", "v2t", *given, "--data", str(data), "--limit", "1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    row = json.loads((out / "samples.jsonl").read_text().splitlines()[0])
    assert row["error"] is None
    assert row["frames"]["count"] == 4
    run = json.loads((out / "run.json").read_text())
    assert run["protocol"]["route"] == route
    assert run["model"]["details"]["llm"] == "tiny-llama"
