"""The captioning family: conventions under their names, METEOR or the reason, what was seen of a clip."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tasks.caption_metrics.conventions import CaptionedItem, score_captions
from tasks.caption_metrics.meteor import _KNOWN, MeteorJar, NotRun, meteor_score
from tasks.captioning import RESAMPLES, CaptioningTask, CaptionItem, CaptionProtocol, captioning_digest
from tasks.errors import ModelError
from tasks.intervals import bootstrap_weights, percentile_interval
from tasks.model import TextReply, TextRequest
from tasks.task import Clip, FramesSeen, Metric, Summary, TaskInfo, Trace
from tasks.tokenizers import tokenizer
from tasks.youcook2 import CLIP_CAPTIONS, SUMMARIES

# METEOR of the statistics that every run asks the jar about
KNOWN_FIGURE = float(meteor_score(np.array([float(word) for word in _KNOWN.split()])))
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


def test_an_interval_is_that_of_videos_drawn_again_and_scored_anew() -> None:
    texts = shifted()
    summary = summary_of(task_of(), Parrot(texts))
    videos: dict[str, list[CaptionItem]] = {}
    for item in items_of():
        videos.setdefault(item.cluster, []).append(item)

    @cache
    def scored_anew(draw: tuple[int, ...]) -> tuple[float | None, float | None]:
        drawn = [item for times, members in zip(draw, videos.values(), strict=True) for item in members * times]
        captioned = [CaptionedItem(str(n), i.cluster, texts[i.id], i.references) for n, i in enumerate(drawn)]
        values = score_captions(captioned, "micro", tokenizer("ptb"), NotRun("")).values
        return values["rouge_l"], values["bleu_2"]

    draws = bootstrap_weights(len(videos), RESAMPLES, np.random.default_rng(0)).astype(int)
    rouge, bleu = np.array([scored_anew(tuple(draw)) for draw in draws.tolist()]).T
    assert figure(summary, "micro_rouge_l").interval == pytest.approx(percentile_interval(rouge))
    assert figure(summary, "micro_bleu_2").interval == pytest.approx(percentile_interval(bleu))
    assert len(set(rouge)) > 5


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
    print("{KNOWN_FIGURE}\\n{KNOWN_FIGURE}" if line.startswith("EVAL") else " ".join(["1.0"] * 4 + ["0.0"] * 19))
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
    assert any("1 of 5 texts are empty" in warning for warning in summary.warnings)


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
