"""NExT-QA (Xiao et al. 2021): 5-way questions about short videos (44 s on average): why, when and what.

Pools: `nextqa@val` (4,996 questions), a subset of 500 (our choice, for slow models) and `nextqa@test` (8,564;
`test.csv` must be added by hand). The authors count answers by causal (C), temporal (T) and descriptive (D) questions,
and by type; TP (before) is counted with TN (after).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

from typing_extensions import TypedDict

from tasks.errors import DataError
from tasks.files import shown, typed
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask
from tasks.published import (
    Published,
    SecondsOf,
    Videos,
    by_index,
    entries,
    official_file,
    official_json,
    sample_of,
    unique,
)
from tasks.registry import Benchmark, RemoteFile

VAL, TEST, SAMPLED = "val", "test", "val-500"
MAP = "map_vid_vidorID.json"
OPTION_FIELDS = ("a0", "a1", "a2", "a3", "a4")
# The authors' types with the groups that they are counted in.
TYPES: Mapping[str, str] = MappingProxyType(
    {"CW": "CW", "CH": "CH", "TN": "TN", "TP": "TN", "TC": "TC", "DC": "DC", "DL": "DL", "DO": "DO"}
)
GROUP, TYPE = "question group", "question type"
PUBLISHED = Published(
    name="nextqa",
    source="https://github.com/doc-doc/NExT-QA",
    licence="MIT (annotations); videos are their uploaders' on Flickr, as in YFCC-100M",
    citation="Xiao, Shang, Yao, Chua: NExT-QA: Next Phase of Question-Answering to Explaining Temporal Actions, CVPR "
    "2021, arXiv 2105.08276",
    cluster="VidOR video",
    item_sets=MappingProxyType(
        {
            "val": (4996, "4ccbda593055bb415713f0c315b0b1d956e0006f25e0036771ecf7e4b7d4a287"),
            "val-500": (500, "0c4933bde1f9fa8372f24ddca1be775dafc11faaf3bf226b2a13f1dcaabe30c5"),
        }
    ),
)


class Question(TypedDict):
    """A line of the authors' files, of NExT-QA and of IntentQA: CSV values are all texts."""

    question: str
    answer: str
    qid: str
    type: str
    a0: str
    a1: str
    a2: str
    a3: str
    a4: str


class Row(Question):
    """A line of NExT-QA's files."""

    video: str


def load_nextqa(folder: Path, pool: str = VAL, seconds_of: SecondsOf | None = None) -> MultipleChoiceTask:
    """Build a pool from the official files in `folder`.

    Videos are `videos/<id>.mp4`, or in `videos/` as in the authors' archive. Raises DataError if a file is
    missing or damaged, or the items are not the official ones.
    """
    path = official_file(folder, "nextqa", f"{pool.partition('-')[0]}.csv")
    videos, places = Videos(folder, seconds_of), video_places(folder)
    items = []
    for where, row in entries(path, Row, "nextqa"):
        kind = known_type(row, where)
        labels = {GROUP: kind[0], TYPE: kind}
        items.append(choice_item(videos, where, row, row["video"], labels, places))
    unique(items, path)
    return PUBLISHED.task(pool, sample_of(items) if pool == SAMPLED else items)


def video_places(folder: Path) -> Mapping[str, str]:
    """Return each video's path in the authors' archive, such as `1164/3238737531`; empty without its map file."""
    path = folder / MAP
    return typed(dict[str, str], official_json(path, "nextqa"), str(path)) if path.is_file() else {}


def known_type(row: Question, where: str) -> str:
    """Return a question's type, as the authors count it. Raises DataError for an unknown one."""
    if row["type"] not in TYPES:
        raise DataError(f"{where}: field 'type' must be one of {', '.join(TYPES)}, not {shown(row['type'])}")
    return TYPES[row["type"]]


def choice_item(
    videos: Videos,
    where: str,
    row: Question,
    video: str,
    labels: Mapping[str, str],
    places: Mapping[str, str],
) -> ChoiceItem:
    """Turn a line into a question. Raises DataError naming the line and the field at fault."""
    answer = row["answer"]
    if not (answer.isascii() and answer.isdigit()):
        raise DataError(f"{where}: field 'answer' must be an option's index, 0 to 4, not {shown(answer)}")
    return ChoiceItem(
        id=f"{video}_{row['qid']}",
        cluster=video,
        clip=videos.clip(video, video, places.get(video, video)),
        question=row["question"],
        options=tuple(cast("Mapping[str, str]", row)[name] for name in OPTION_FIELDS),
        answer=by_index(int(answer), len(OPTION_FIELDS), where, "answer"),
        labels=labels,
    )


SOURCE = "https://raw.githubusercontent.com/doc-doc/NExT-QA/main/dataset/nextqa"
VIDEOS = (
    "Videos are those of VidOR. The authors give them as one archive: see https://github.com/doc-doc/NExT-QA. Put them "
    "into {folder}/videos/<id>.mp4, or unpack the archive into {folder}/videos, or name a folder, a .zip or a hub data "
    "set that has them with --mirror."
)
BENCHMARK = Benchmark(
    name="nextqa",
    title="NExT-QA: 5-way questions about short videos: why, when and what",
    pools=(VAL, SAMPLED, TEST),
    load=load_nextqa,
    files=(
        RemoteFile("val.csv", f"{SOURCE}/val.csv", "43198bdef8436b8d64a9b75d846b0987c10cbf94ebf4be325c4a4e54634d66b8"),
        RemoteFile(MAP, f"{SOURCE}/{MAP}", "1955d89e7a175346faf8d4a582297ff349619231394f59fd7872f459ac8a8685"),
    ),
    videos=f"{VIDEOS} The pool 'test' needs {SOURCE}/test.csv as {{folder}}/test.csv.",
    everything=VAL,
    pool_files={TEST: "test.csv"},
    measures=True,
)
