"""MLVU (Zhou et al. 2024), its public dev set: questions of nine tasks about videos of 3 minutes to 2 hours.

Seven tasks are multiple choice with 4 options: `mlvu@dev` (2,175 questions) and a subset of 500 (our choice, for slow
models). The primary figure is M-Avg, the mean of the tasks' accuracies, which weighs tasks equally. A question whose
answer is none of its candidates is wrong for any choice, and of equal candidates the first is right: `longvid audit
mlvu` counts both.

Two tasks are free text: `mlvu-generation`. Their authors have a language model judge the texts; our figures are those
of captioning (ROUGE-L, BLEU, CIDEr-D against one reference) and can't be compared with the judge's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from annotated_types import MinLen
from typing_extensions import TypedDict

from tasks.captioning import CaptioningTask, CaptionItem, CaptionProtocol, captioning_digest
from tasks.files import Seconds
from tasks.multiple_choice import ChoiceItem, ChoicePrompts, MultipleChoiceTask
from tasks.published import (
    NONE_OF_THEM,
    Published,
    SecondsOf,
    Videos,
    entries,
    official_file,
    sample_of,
)
from tasks.registry import Benchmark

DEV, SAMPLED = "dev", "dev-500"
TASK = "task"
# File names by task, as on the hub; some copies have the prefix `mlvu_`.
CHOICES: Mapping[str, str] = MappingProxyType(
    {
        "plotQA": "1_plotQA",
        "needle": "2_needle",
        "ego": "3_ego",
        "count": "4_count",
        "order": "5_order",
        "anomaly_reco": "6_anomaly_reco",
        "topic_reasoning": "7_topic_reasoning",
    }
)
TEXTS: Mapping[str, str] = MappingProxyType({"sub_scene": "8_sub_scene", "summary": "9_summary"})
SOURCE = "https://github.com/JUNJIE99/MLVU"
LICENCE = "CC BY-NC-SA 4.0, for research that is not commercial"
CITATION = "Zhou et al.: MLVU: Benchmarking Multi-task Long Video Understanding, CVPR 2025, arXiv 2406.04264"
PUBLISHED = Published(
    name="mlvu",
    source=SOURCE,
    licence=LICENCE,
    citation=CITATION,
    prompts=ChoicePrompts(
        similarity="own-similarity.v1", loglik="own-loglik.v1", letter="mlvu-letter.v1", generate="mlvu-generate.v1"
    ),
    mean_over=TASK,
    item_sets=MappingProxyType(
        {
            "dev": (2175, "84401f8aa80a9ea4a1f24b6f2c531a0e9ff2bce36d3cad0e970225759e49bb0e"),
            "dev-500": (500, "32a153dc52c7bbbfd5abda6a2a9b99e44f34dab7b6dd64949ee814ad508ace12"),
        }
    ),
)
GENERATION = Published(
    name="mlvu-generation",
    source=SOURCE,
    licence=LICENCE,
    citation=CITATION,
    item_sets=MappingProxyType(
        {
            "sub_scene": (201, "17fbb40fc823e34355761584aae512ceab03c84f27eedf6d9d79c4124957e118"),
            "summary": (217, "32cf3d42efeadfae53979a8f7d5892d646a0e56ad0386f394c10f626760a5ecf"),
        }
    ),
)
DESCRIPTIONS = CaptionProtocol("mlvu-description.v1", 256, MappingProxyType({"summary": "micro"}))


class Row(TypedDict):
    """A question of any task."""

    video: str
    duration: Seconds
    question: str
    answer: str


class ChoiceRow(Row):
    """A question of a task with options."""

    candidates: Annotated[list[str], MinLen(2)]


def load_mlvu(folder: Path, pool: str = DEV, seconds_of: SecondsOf | None = None) -> MultipleChoiceTask:
    """Build a pool of the seven tasks from their files in `folder`.

    Raises DataError if a file is missing or damaged, or the items are not the published ones.
    """
    items, videos = [], Videos(folder, seconds_of)
    for task, name in CHOICES.items():
        rows = entries(file_of(folder, name), ChoiceRow, "mlvu")
        for number, (_, row) in enumerate(rows, start=1):
            options, answer = row["candidates"], row["answer"]
            item = ChoiceItem(
                id=f"{task}_{number}",
                cluster=row["video"],
                clip=videos.clip(*places(name, row), told=row["duration"]),
                question=row["question"],
                options=tuple(options),
                answer=options.index(answer) if answer in options else NONE_OF_THEM,
                labels={TASK: task},
            )
            items.append(item)
    return PUBLISHED.task(pool, sample_of(items) if pool == SAMPLED else items)


def load_generation(folder: Path, pool: str, seconds_of: SecondsOf | None = None) -> CaptioningTask:
    """Build one of the free-text tasks. Raises DataError as `load_mlvu` does."""
    name, videos = TEXTS[pool], Videos(folder, seconds_of)
    items = [
        CaptionItem(
            id=f"{pool}_{number}",
            cluster=row["video"],
            clip=videos.clip(*places(name, row), told=row["duration"]),
            references=(row["answer"],),
            question=row["question"],
        )
        for number, (_, row) in enumerate(entries(file_of(folder, name), Row, "mlvu-generation"), start=1)
    ]
    digest = captioning_digest(items)
    info = GENERATION.info(pool, "captioning", "summary_rouge_l", 0.0, len(items), digest)
    return CaptioningTask(info, items, DESCRIPTIONS)


def file_of(folder: Path, name: str) -> Path:
    """Find a task's file. Raises DataError if it is missing."""
    return official_file(folder, "mlvu", f"mlvu_{name}.json", f"{name}.json")


def places(task: str, row: Row) -> tuple[str, str, str]:
    """Return a video's id, and its possible paths in `videos/`: all in one folder, or in its task's, as on the hub."""
    stem = Path(row["video"]).stem
    return stem, stem, f"{task}/{stem}"


VIDEOS = (
    "Questions and videos are on the hub, where their terms must be accepted: "
    "https://huggingface.co/datasets/MLVU/MVLU. Put the files 1_plotQA.json to 9_summary.json into {folder} and the "
    "videos, as they are there or all in one folder, into {folder}/videos; or name a folder, a .zip or a hub data set "
    "that has them with --mirror."
)
CHOICE = Benchmark(
    name="mlvu",
    title="MLVU dev: 4-way questions of 7 tasks about videos of 3 minutes to 2 hours (M-Avg)",
    pools=(DEV, SAMPLED),
    load=load_mlvu,
    videos=VIDEOS,
    everything=DEV,
    needs=("*1_plotQA.json",),
    measures=True,
)
TEXT = Benchmark(
    name="mlvu-generation",
    title="MLVU's two free-text tasks with text metrics: not comparable with its judge's figures",
    pools=tuple(TEXTS),
    load=load_generation,
    videos=VIDEOS,
    folder="mlvu",
    example="--model word-salad",
    predictions="texts.json",
    needs=("*9_summary.json",),
    measures=True,
)
