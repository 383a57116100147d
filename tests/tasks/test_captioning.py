"""The captioning family: conventions under their names, METEOR or the reason, what was seen of a clip."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tasks.caption_metrics.conventions import CaptionedItem, score_captions
from tasks.caption_metrics.meteor import _KNOWN, MeteorJar, NotRun, meteor_score, summable
from tasks.captioning import CaptioningTask, CaptionItem, CaptionProtocol, captioning_digest
from tasks.errors import ModelError
from tasks.model import TextReply, TextRequest
from tasks.statistics import bounded_interval, degrees_of_freedom
from tasks.task import Clip, FramesSeen, Metric, Summary, TaskInfo, Trace
from tasks.tokenizers import tokenizer
from tasks.youcook2 import CLIP_CAPTIONS, SUMMARIES

# METEOR of the segments that every run asks the jar about, and of their sum
KNOWN = summable(np.array(_KNOWN, dtype=float))
KNOWN_FIGURES = "\\n".join(map(str, [*meteor_score(KNOWN), float(meteor_score(KNOWN.sum(axis=0)))]))
SENTENCES = ("cut the onion", "fry the onion in oil", "boil water", "add the pasta to the water", "serve it hot")


def items_of() -> list[CaptionItem]:
    return [
        CaptionItem(f"v{n // 2}:{n % 2}", f"v{n // 2}", Clip(f"v{n // 2}", 10.0 * n, 10.0 * n + 8), (text,))
        for n, text in enumerate(SENTENCES)
    ]


def task_of(protocol: CaptionProtocol = CLIP_CAPTIONS) -> CaptioningTask:
    items = items_of()
    primary = f"{next(iter(protocol.conventions))}_rouge_l"
    info = TaskInfo("toy@5", "captioning", "1", 5, captioning_digest(items), primary, 0, "", "", "", "")
    return CaptioningTask(info, items, protocol, meteor=lambda: NotRun("no jar in this test"))


@dataclass
class Parrot:
    """Says what it is told, item by item."""

    texts: dict[str, str]
    frames: FramesSeen | None = None

    def caption(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        return [TextReply(self.texts[request.item_id], True, Trace(frames=self.frames)) for request in requests]


def summary_of(task: CaptioningTask, model: Parrot) -> Summary:
    predictions = task.predict(model, task.items())
    scores = [task.score(item, p) for item, p in zip(task.items(), predictions, strict=True)]
    return task.summarise(scores, np.random.default_rng(0))


def figure(summary: Summary, name: str) -> Metric:
    return next(metric for metric in summary.metrics if metric.name == name)


def shifted() -> dict[str, str]:
    texts = [*SENTENCES[1:], SENTENCES[0]]
    return {item.id: text for item, text in zip(items_of(), texts, strict=True)}


def test_the_references_themselves_score_one() -> None:
    summary = summary_of(task_of(), Parrot({item.id: item.references[0] for item in items_of()}))
    assert figure(summary, "micro_rouge_l").value == pytest.approx(1.0)
    assert figure(summary, "paragraph_bleu_4").value == pytest.approx(1.0)


@pytest.mark.parametrize("convention", ["micro", "macro", "paragraph"])
def test_every_figure_is_that_of_its_convention(convention: str) -> None:
    texts = shifted()
    summary = summary_of(task_of(), Parrot(texts))
    captioned = [CaptionedItem(i.id, i.cluster, texts[i.id], i.references) for i in items_of()]
    expected = score_captions(captioned, convention, tokenizer("ptb"), NotRun(""))
    for name, value in expected.values.items():
        assert figure(summary, f"{convention}_{name}").value == value


def test_every_figure_lies_in_its_interval() -> None:
    summary = summary_of(task_of(), Parrot(shifted()))
    for metric in summary.metrics:
        if metric.value is not None:
            low, high = metric.interval or (1.0, 0.0)
            assert low <= metric.value + 1e-12
            assert metric.value <= high + 1e-12


def test_an_interval_is_that_of_videos_left_out_in_turn_and_the_rest_scored_anew() -> None:
    texts = shifted()
    summary = summary_of(task_of(), Parrot(texts))
    items = items_of()
    videos = list(dict.fromkeys(item.cluster for item in items))
    left_out = []
    for video in videos:
        kept = [CaptionedItem(i.id, i.cluster, texts[i.id], i.references) for i in items if i.cluster != video]
        left_out.append(score_captions(kept, "micro", tokenizer("ptb"), NotRun("")).values)
    freedom = degrees_of_freedom(np.array([2.0, 2.0, 1.0]))
    for name in ("rouge_l", "bleu_2"):
        metric = figure(summary, f"micro_{name}")
        apart = np.array([values[name] for values in left_out]) - metric.value
        error = float(np.sqrt(2 / 3 * (apart**2).sum()))
        expected, method = bounded_interval(metric.value or 0.0, error, freedom, 3)
        assert (metric.interval, metric.method) == (pytest.approx(expected), method)


def test_meteor_without_its_jar_is_null_with_the_reason() -> None:
    summary = summary_of(task_of(), Parrot(shifted()))
    meteor = figure(summary, "micro_meteor")
    assert meteor.value is None
    assert "no jar in this test" in meteor.method
    assert any("METEOR was not run" in warning for warning in summary.warnings)


def test_three_conventions_start_the_jar_once(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    java = tmp_path / "java"
    # answers each SCORE line with statistics of nothing matched, and the closing ones with the formula's own figure
    java.write_text(
        f"""#!{sys.executable}
import sys
open({str(starts)!r}, "a").write("x")
for line in sys.stdin:
    print("{KNOWN_FIGURES}" if line.startswith("EVAL") else " ".join(["1.0"] * 4 + ["0.0"] * 19))
""",
        encoding="utf-8",
    )
    java.chmod(0o755)
    task = CaptioningTask(
        task_of().info, items_of(), CLIP_CAPTIONS, meteor=lambda: MeteorJar(java, tmp_path / "meteor-1.5.jar")
    )
    summary = summary_of(task, Parrot(shifted()))
    assert starts.read_text(encoding="utf-8") == "x"
    assert [figure(summary, f"{name}_meteor").value for name in CLIP_CAPTIONS.conventions] == [0.0, 0.0, 0.0]


def test_a_summary_has_one_convention_under_its_own_name() -> None:
    summary = summary_of(task_of(SUMMARIES), Parrot(shifted()))
    assert {metric.name.partition("_")[0] for metric in summary.metrics} == {"summary"}


def test_line_breaks_are_no_part_of_a_caption() -> None:
    task = task_of()
    texts = {**shifted(), "v0:0": "cut\r\n the\tonion \n"}
    prediction = task.predict(Parrot(texts), task.items()[:1])[0]
    assert prediction.answer == "cut the onion"
    assert task.reread(task.items()[0], prediction).answer == "cut the onion"


def test_an_empty_caption_scores_nothing_and_is_counted() -> None:
    summary = summary_of(task_of(), Parrot({**shifted(), "v0:0": " "}))
    assert any("1 of 5 items have a caption without a token (v0:0)" in warning for warning in summary.warnings)


def test_frames_and_the_share_of_the_clip_they_span_are_kept() -> None:
    summary = summary_of(task_of(), Parrot(shifted(), FramesSeen(16, (), 0.25)))
    assert summary.details["mean_frames"] == 16
    assert summary.details["mean_share_of_clip_seen"] == 0.25
    assert summary.details["mean_clip_seconds"] == 8


def test_a_part_of_the_items_warns_about_its_idf() -> None:
    task = task_of()
    scores = [
        task.score(i, p) for i, p in zip(task.items(), task.predict(Parrot(shifted()), task.items()[:3]), strict=False)
    ]
    assert any(
        "idf comes from the 3 answered items" in w for w in task.summarise(scores, np.random.default_rng()).warnings
    )


def test_no_items_give_no_figure() -> None:
    (metric,) = task_of().summarise([], np.random.default_rng()).metrics
    assert (metric.value, metric.primary) == (None, True)


def test_a_model_that_cannot_write_is_told_what_it_lacks() -> None:
    with pytest.raises(ModelError, match="caption"):
        task_of().check(object())


def test_a_text_that_the_tokenizer_empties_is_said() -> None:
    items = items_of()
    items[1] = CaptionItem(items[1].id, items[1].cluster, items[1].clip, ("...",))
    info = task_of().info
    task = CaptioningTask(info, items, CLIP_CAPTIONS, meteor=lambda: NotRun("no jar in this test"))
    warnings = summary_of(task, Parrot({**shifted(), "v0:0": "!"})).warnings
    assert any("caption without a token (v0:0)" in warning for warning in warnings)
    assert any("reference without a token (v0:1)" in warning for warning in warnings)


def test_a_video_of_one_segment_is_said_to_have_no_idf() -> None:
    warnings = summary_of(task_of(), Parrot(shifted())).warnings
    assert any("1 of 3 videos have one segment" in warning and "CIDEr-D is 0" in warning for warning in warnings)


def test_the_versions_of_tokenizer_and_metrics_are_recorded() -> None:
    details = summary_of(task_of(), Parrot(shifted())).details
    assert details["tokenizer"] == "ptb, version 2"
    assert details["caption_metrics"] == "2"
