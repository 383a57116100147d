"""CG-Bench mini (Chen et al. 2024): questions of 5 to 8 options about videos of 28 minutes on average, with evidence.

Pools: `cgbench@mini` (3,000 questions) and a subset of 500 (our choice, for slow models). Each question names the
evidence segments of its answer (a median of 10 s): for models that report the times of their frames, the share of these
segments that they saw is measured, and their accuracy with and without.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from annotated_types import MaxLen, MinLen
from typing_extensions import TypedDict

from tasks.files import Seconds
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask
from tasks.published import Published, SecondsOf, Videos, by_letter, entries, official_file, sample_of, unique
from tasks.registry import Benchmark

MINI, SAMPLED = "mini", "mini-500"
FILE = "cgbench_mini.json"
PUBLISHED = Published(
    name="cgbench",
    source="https://huggingface.co/datasets/CG-Bench/CG-Bench",
    licence="CC BY-NC-SA 4.0, for research that is not commercial; videos are their uploaders'",
    citation="Chen et al.: CG-Bench: Clue-grounded Question Answering Benchmark for Long Video Understanding, ICLR "
    "2025, arXiv 2412.12075",
    item_sets=MappingProxyType(
        {
            "mini": (3000, "9d874b374782f9499a4e7f144ad555df14ba073907469daf36381bf2796b4632"),
            "mini-500": (500, "0f97d8cb8bef32000e4d44fcec4b0e6112232718808e77f022f8644cb2bc34c8"),
        }
    ),
)


class Question(TypedDict):
    """An entry of `cgbench_mini.json`."""

    qid: int
    video_uid: str
    question: str
    choices: Annotated[list[str], MinLen(2), MaxLen(26)]
    right_answer: str
    clue_intervals: list[Annotated[list[Seconds], MinLen(2), MaxLen(2)]]
    domain: str
    sub_category: str
    duration: Seconds


def load_cgbench(folder: Path, pool: str = MINI, seconds_of: SecondsOf | None = None) -> MultipleChoiceTask:
    """Build a pool from the official file in `folder`; videos, where present, are `videos/<video_uid>.mp4`.

    Raises DataError if the file is missing or damaged, or the items are not the published ones.
    """
    path = official_file(folder, "cgbench", FILE)
    videos = Videos(folder, seconds_of)
    items = [choice_item(videos, where, row) for where, row in entries(path, Question, "cgbench")]
    unique(items, path)
    return PUBLISHED.task(pool, sample_of(items) if pool == SAMPLED else items)


def choice_item(videos: Videos, where: str, row: Question) -> ChoiceItem:
    """Turn an entry into a question. Raises DataError naming the entry and the field at fault."""
    video, count = row["video_uid"], len(row["choices"])
    labels: Mapping[str, str] = {
        "domain": row["domain"],
        "sub-category": row["sub_category"],
        "options": str(count),
    }
    return ChoiceItem(
        id=str(row["qid"]),
        cluster=video,
        clip=videos.clip(video, told=row["duration"]),
        question=row["question"],
        options=tuple(row["choices"]),
        answer=by_letter(row["right_answer"], count, where, "right_answer"),
        labels=labels,
        evidence=tuple((float(start), float(end)) for start, end in row["clue_intervals"]),
    )


BENCHMARK = Benchmark(
    name="cgbench",
    title="CG-Bench mini: questions of 5 to 8 options about videos of 28 minutes, with evidence segments",
    pools=(MINI, SAMPLED),
    load=load_cgbench,
    videos=(
        "Questions and videos are on the hub, where their terms must be accepted: "
        "https://huggingface.co/datasets/CG-Bench/CG-Bench. Put cgbench_mini.json into {folder} and the videos into "
        "{folder}/videos/<video_uid>.mp4, or name a folder, a .zip or a hub data set that has them with --mirror."
    ),
    everything=MINI,
    needs=(FILE,),
    measures=True,
)
