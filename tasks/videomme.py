"""Video-MME (Fu et al. 2024): 4-way questions about videos of 11 seconds to an hour, in thirds by length.

Two tasks: `videomme@test` without subtitles and `videomme@test-subtitles` with those of the frames seen, for models
that read subtitles only. Beside the strict figure there is that of the benchmark's own scorer, which takes a reply's
first capital letter A to D as the answer (also the A of "A person …") and drops replies without one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import MaxLen, MinLen
from typing_extensions import TypedDict

from tasks.multiple_choice import ChoiceItem, ChoicePrompts, MultipleChoiceTask
from tasks.published import (
    Published,
    SecondsOf,
    Videos,
    by_letter,
    entries,
    official_file,
    unique,
    without_letters,
)
from tasks.registry import Benchmark
from tasks.task import Prediction, Score, Summary

if TYPE_CHECKING:
    import numpy as np

TEST, SPOKEN = "test", "test-subtitles"
FILES = ("test-00000-of-00001.parquet", "videomme/test-00000-of-00001.parquet", "videomme.json")
SUBTITLES = "subtitle"
SUBTITLE_FILES = 744
"""Number of the 900 videos with subtitles; if a folder has all of them, the other videos have none."""
OWN_SCORER = "videomme_scorer"
# What the benchmark's scorer removes from a reply before it looks for a letter.
LEAD_INS = re.compile(
    r"(?:The (?:best|correct) answer is|The answer is|The answer|The (?:best|correct) option is|"
    r"Best (?:answer|option):)"
)
PUBLISHED = Published(
    name="videomme",
    source="https://video-mme.github.io",
    licence="academic research only; not to be passed on",
    citation="Fu et al.: Video-MME: The First-Ever Comprehensive Evaluation Benchmark of Multi-modal LLMs in Video "
    "Analysis, CVPR 2025, arXiv 2405.21075",
    prompts=ChoicePrompts(
        similarity="own-similarity.v1",
        loglik="own-loglik.v1",
        letter="videomme-letter.v2",
        generate="videomme-generate.v2",
    ),
)


class Row(TypedDict):
    """A row of the published table."""

    videoID: str
    duration: str
    domain: str
    sub_category: str
    task_type: str
    question_id: str
    question: str
    options: Annotated[list[str], MinLen(2), MaxLen(26)]
    answer: str


class VideoMMETask(MultipleChoiceTask):
    """Multiple choice with the figure of the benchmark's own scorer in addition."""

    def score(self, item: ChoiceItem, prediction: Prediction) -> Score:
        score = super().score(item, prediction)
        if not prediction.raw or prediction.option_scores or prediction.rule == "given":
            return score
        letter = first_capital(prediction.raw)
        right = None if item.answer is None or not letter else float(ord(letter) - ord("A") == item.answer)
        return Score(score.item_id, score.cluster, score.answer, {**score.values, OWN_SCORER: right})

    def summarise(self, scores: Sequence[Score], rng: np.random.Generator) -> Summary:
        return with_own_scorer(super().summarise(scores, rng), scores)


def first_capital(reply: str) -> str:
    """Return the letter that the benchmark's own scorer reads; empty if it drops the reply."""
    found = re.search("[ABCD]", LEAD_INS.sub("", reply.strip()))
    return found.group() if found else ""


def with_own_scorer(summary: Summary, scores: Sequence[Score]) -> Summary:
    """Add the benchmark scorer's figure to a summary, and to the details how it differs from the strict one."""
    from tasks.statistics import fraction_metric

    asked = [score for score in scores if OWN_SCORER in score.values]
    if not asked:
        return summary
    kept = [(score, value) for score in asked if (value := score.values[OWN_SCORER]) is not None]
    name = f"accuracy_{OWN_SCORER}"
    figure = fraction_metric(name, [value for _, value in kept], [score.cluster for score, _ in kept])
    differing = [score.item_id for score in asked if score.values[OWN_SCORER] != score.values["accuracy"]]
    details = {
        **summary.details,
        f"{OWN_SCORER}_dropped": len(asked) - len(kept),
        f"{OWN_SCORER}_differs": differing,
    }
    return Summary((*summary.metrics, figure), details, summary.warnings)


def load_videomme(folder: Path, pool: str = TEST, seconds_of: SecondsOf | None = None) -> VideoMMETask:
    """Build a pool from the published table, Parquet or exported as JSON; videos are `videos/<videoID>.mp4`.

    Raises DataError if the file is missing or damaged.
    """
    path = official_file(folder, "videomme", *FILES)
    whole = len(list((folder / SUBTITLES).glob("*.srt"))) >= SUBTITLE_FILES
    items, videos = [], Videos(folder, seconds_of)
    for where, row in entries(path, Row, "videomme"):
        options = without_letters(row["options"], where)
        subtitles = folder / SUBTITLES / f"{row['videoID']}.srt"
        spoken = pool == SPOKEN and (not whole or subtitles.is_file())
        item = ChoiceItem(
            id=row["question_id"],
            cluster=row["videoID"],
            clip=videos.clip(row["videoID"], subtitles=subtitles if spoken else None),
            question=row["question"],
            options=options,
            answer=by_letter(row["answer"], len(options), where, "answer"),
            labels={
                "duration": row["duration"],
                "domain": row["domain"],
                "sub-category": row["sub_category"],
                "task type": row["task_type"],
            },
        )
        items.append(item)
    told = PUBLISHED.task(pool, unique(items, path))
    return VideoMMETask(told.info, items, told.prompts, with_subtitles=pool == SPOKEN)


BENCHMARK = Benchmark(
    name="videomme",
    title="Video-MME: 4-way questions about videos up to an hour, without and with subtitles",
    pools=(TEST, SPOKEN),
    load=load_videomme,
    videos=(
        "Questions, videos (about 100 GB of zip files) and subtitles are on the hub, for academic research alone: "
        "https://huggingface.co/datasets/lmms-lab/Video-MME. Put test-00000-of-00001.parquet (or its rows as a JSON "
        "list, videomme.json) into {folder}, the videos into {folder}/videos/<videoID>.mp4 and the subtitles into "
        "{folder}/subtitle/<videoID>.srt; or name a folder, a .zip or a hub data set of videos with --mirror."
    ),
    video_url="https://www.youtube.com/watch?v={id}",
    video_gigabytes=100.0,
    needs=("*test-00000-of-00001.parquet", "videomme/*.parquet", "videomme.json"),
    measures=True,
)
