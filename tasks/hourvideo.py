"""HourVideo (Chandrasegaran et al. 2024), its public dev set: 5-way questions about Ego4D videos of 20 to 120 minutes.

Pool: `hourvideo@dev`, the questions whose options are texts; those with images as options are left out. A question
about what comes next is asked about the video up to that point. The authors ask all questions of a task about a video
together; here each is asked separately, so that figures are not fully comparable. Captions of each minute are published
by others, so that an aggregator needs no video.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from tasks.errors import DataError
from tasks.files import Seconds, shown, typed
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask
from tasks.published import Published, SecondsOf, Videos, by_letter, official_file, official_json, unique
from tasks.registry import Benchmark
from tasks.task import Clip

DEV = "dev"
FILES = ("dev_v1.0.json", "v1.0_release/json/dev_v1.0.json")
PICTURES = (".jpg", ".jpeg", ".png")
PREDICTIVE = "reasoning/predictive"
PUBLISHED = Published(
    name="hourvideo",
    source="https://huggingface.co/datasets/HourVideo/HourVideo",
    licence="CC BY-NC-SA 4.0 (questions); videos under the Ego4D licence (https://ego4d-data.org)",
    citation="Chandrasegaran et al.: HourVideo: 1-Hour Video-Language Understanding, NeurIPS 2024, arXiv 2411.04998",
    cluster="Ego4D video",
)


class Question(TypedDict):
    """A question about a video."""

    qid: str
    task: str
    question: str
    answer_1: str
    answer_2: str
    answer_3: str
    answer_4: str
    answer_5: str
    correct_answer_label: str
    relevant_timestamps: NotRequired[Any]


class Metadata(TypedDict):
    """A video's metadata."""

    duration_in_seconds: NotRequired[Seconds]


class Video(TypedDict):
    """A video with its questions."""

    video_metadata: Metadata
    benchmark_dataset: list[Question]


def load_hourvideo(folder: Path, pool: str = DEV, seconds_of: SecondsOf | None = None) -> MultipleChoiceTask:
    """Build the pool from the authors' file in `folder`; videos are `videos/<video_uid>.mp4`.

    Raises DataError if the file is missing or damaged.
    """
    path = official_file(folder, "hourvideo", *FILES)
    items, videos = [], Videos(folder, seconds_of)
    for uid, video in typed(dict[str, Video], official_json(path, "hourvideo"), str(path)).items():
        told = video["video_metadata"].get("duration_in_seconds", float("inf"))
        clip = videos.clip(uid, told=told)
        for row in video["benchmark_dataset"]:
            options = (row["answer_1"], row["answer_2"], row["answer_3"], row["answer_4"], row["answer_5"])
            if any(option.lower().endswith(PICTURES) for option in options):
                continue
            where = f"{path}, question '{row['qid']}'"
            item = ChoiceItem(
                id=row["qid"],
                cluster=uid,
                clip=up_to_what_is_asked(clip, row, where),
                question=row["question"],
                options=options,
                answer=by_letter(row["correct_answer_label"], len(options), where, "correct_answer_label"),
                labels={"task": row["task"], "task group": row["task"].partition("/")[0]},
            )
            items.append(item)
    return PUBLISHED.task(pool, unique(items, path))


def up_to_what_is_asked(clip: Clip, row: Question, where: str) -> Clip:
    """Return the segment of the video that a question may be answered from. Raises DataError for invalid times."""
    if row["task"] != PREDICTIVE:
        return clip
    told = row.get("relevant_timestamps")
    start = str(told).partition("-")[0].strip().split(":")
    if len(start) != 3 or not all(part.isascii() and part.isdigit() for part in start):
        raise DataError(f"{where}: field 'relevant_timestamps' must begin with h:mm:ss, not {shown(told)}")
    hours, minutes, seconds = map(int, start)
    return Clip(clip.video_id, clip.start, float(3600 * hours + 60 * minutes + seconds), clip.path)


BENCHMARK = Benchmark(
    name="hourvideo",
    title="HourVideo dev: 5-way questions about Ego4D videos of 20 to 120 minutes",
    pools=(DEV,),
    load=load_hourvideo,
    videos=(
        "Questions are on the hub, where their terms must be accepted: "
        "https://huggingface.co/datasets/HourVideo/HourVideo. Put dev_v1.0.json into {folder}. Videos are those of "
        "Ego4D, under its licence: put them into {folder}/videos/<video_uid>.mp4, or name a folder, a .zip or a hub "
        "data set that has them with --mirror. Models that read captions need none."
    ),
    example="--model aggregator -M captions=FILE -M llm=smollm2",
    needs=FILES,
    measures=True,
)
