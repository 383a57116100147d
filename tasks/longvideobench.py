"""LongVideoBench (Wu et al. 2024), its validation set: questions of 2 to 5 options about videos of 8 s to an hour.

Two tasks: `longvideobench@val` without subtitles and `longvideobench@val-subtitles` with them interleaved with the
frames, as in its authors' default protocol, for models that read subtitles only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from annotated_types import MaxLen, MinLen
from typing_extensions import TypedDict

from tasks.files import Seconds
from tasks.multiple_choice import ChoiceItem, ChoicePrompts, MultipleChoiceTask
from tasks.published import Published, SecondsOf, Videos, by_index, entries, official_file, unique
from tasks.registry import Benchmark

VAL, SPOKEN = "val", "val-subtitles"
FILES = ("lvb_val.json", "validation-00000-of-00001.parquet")
SUBTITLES = "subtitles"
PUBLISHED = Published(
    name="longvideobench",
    source="https://longvideobench.github.io",
    licence="CC BY-NC-SA 4.0, for research that is not commercial; videos are their uploaders'",
    citation="Wu, Li, Chen, Li: LongVideoBench: A Benchmark for Long-context Interleaved Video-Language Understanding, "
    "NeurIPS 2024, arXiv 2407.15754",
    prompts=ChoicePrompts(
        similarity="own-similarity.v1",
        loglik="own-loglik.v1",
        letter="longvideobench-letter.v1",
        generate="longvideobench-generate.v1",
    ),
)


class Row(TypedDict):
    """An entry of `lvb_val.json`."""

    id: str
    video_id: str
    video_path: str
    duration: Seconds
    duration_group: int
    question: str
    candidates: Annotated[list[str], MinLen(2), MaxLen(26)]
    correct_choice: int
    question_category: str
    subtitle_path: str
    starting_timestamp_for_subtitles: float


def load_longvideobench(folder: Path, pool: str = VAL, seconds_of: SecondsOf | None = None) -> MultipleChoiceTask:
    """Build a pool from the authors' file in `folder`; videos are `videos/<video_path>`.

    Raises DataError if the file is missing or damaged.
    """
    path = official_file(folder, "longvideobench", *FILES)
    items, videos = [], Videos(folder, seconds_of)
    for where, row in entries(path, Row, "longvideobench"):
        spoken = folder / SUBTITLES / row["subtitle_path"] if pool == SPOKEN else None
        item = ChoiceItem(
            id=row["id"],
            cluster=row["video_id"],
            clip=videos.clip(
                row["video_id"],
                Path(row["video_path"]).stem,
                row["video_id"],
                told=row["duration"],
                subtitles=spoken,
                subtitles_start=row["starting_timestamp_for_subtitles"],
            ),
            question=row["question"],
            options=tuple(row["candidates"]),
            answer=by_index(row["correct_choice"], len(row["candidates"]), where, "correct_choice"),
            labels={
                "duration group": f"{row['duration_group']:,} s",
                "question category": row["question_category"],
                "options": str(len(row["candidates"])),
            },
        )
        items.append(item)
    told = PUBLISHED.task(pool, unique(items, path))
    return MultipleChoiceTask(told.info, items, told.prompts, with_subtitles=pool == SPOKEN, interleaved=pool == SPOKEN)


BENCHMARK = Benchmark(
    name="longvideobench",
    title="LongVideoBench val: questions of 2 to 5 options about videos up to an hour, without and with subtitles",
    pools=(VAL, SPOKEN),
    load=load_longvideobench,
    videos=(
        "Questions, videos and subtitles are on the hub, where their terms must be accepted: "
        "https://huggingface.co/datasets/longvideobench/LongVideoBench (one tar file in parts: cat them together and "
        "unpack). Put lvb_val.json into {folder}, the videos into {folder}/videos and the subtitles into "
        "{folder}/subtitles; or name a folder, a .zip or a hub data set of videos with --mirror."
    ),
    needs=FILES,
    measures=True,
)
