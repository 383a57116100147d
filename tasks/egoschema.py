"""EgoSchema (Mangalam et al. 2023): 5-way questions about 3-minute egocentric videos.

Pools: `egoschema@500`, whose answers are public, and `egoschema@5031`, scored by the authors' servers only.
Intervals cluster on the Ego4D source video (protocols: 347 sources under the 500).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

from typing_extensions import TypedDict

from tasks.errors import DataError
from tasks.files import read_json, typed
from tasks.multiple_choice import ChoiceItem, ChoicePrompts, MultipleChoiceTask, question_set_digest
from tasks.registry import Benchmark, RemoteFile
from tasks.task import Clip, TaskInfo
from tasks.video_files import video_path

OTHER = "other"
QUESTION_WORD = re.compile(
    r"\b(?:what|which|how|why|who|where|when|can you|could you|identify|describe|explain|summari[sz]e|compare|contrast|"
    r"discuss|analy[sz]e|determine|provide|infer|deduce|highlight|evaluate|outline|name|list|condense)\b"
)
PERSON = r"(?:m[ae]n|wom[ae]n|lady|boys?|girls?|child\w*|persons?|people|individuals?|characters?|others?|friends?)"
# Each kind with the words that ask for it (regular expressions, whole words).
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "comparison": (
            r"compar\w*|contrast\w*|differ(?:s|ed|ences?|ent from|entiate\w*)?|similar\w*|distinguish\w*"
            "|versus"
        ),
        "people": (
            rf"interact\w*(?=.*\b{PERSON}\b)|relationship\w*|collaborat\w*|cooperat\w*|communicat\w*"
            r"|conversation\w*|social\w*|each other|one another"
        ),
        "order": (
            r"sequence\w*|order(?! to)|steps?|stages?|phases?|chronolog\w*|progress\w*|evol\w+|transition\w*"
            r"|chang(?:e|es|ed)|shift\w*|process\w*|pattern\w*|repeat\w*|repetiti\w*|recurring"
        ),
        "key moment": (
            r"key|crucial|critical|pivotal|essential|defining|decisive|significan\w+|importan\w+|vital"
            r"|turning points?|moments?|highlights?|prioriti\w*"
        ),
        "tools": (
            "tools?|materials?|equipment|ingredients?|utensils?|devices?|instruments?|objects?|items?"
            "|techniques?|methods?"
        ),
        "purpose": (
            r"purpose\w*|goals?|objectives?|aim\w*|inten[dt]\w*|motivat\w*|reason\w*|why|focus\w*|achiev\w*"
            r"|accomplish\w*|trying to|roles?|function|contribut\w*|challenge\w*|problems?"
        ),
        "summary": (
            r"summar\w*|over(?:all|arching)(?! (?:purpose|goal|objective|aim))|overview|theme\w*|narrative\w*"
            r"|(?:main|primary|central) (?:actions?|event\w*)|activit\w+|tasks?|condens\w*|concise\w*"
            "|in your own words"
        ),
    }
)
PATTERNS = tuple((kind, re.compile(rf"\b(?:{words})\b")) for kind, words in KINDS.items())


def question_type(question: str) -> str:
    """Return the kind whose word comes first after the question word; `other` if there is none.

    Text before the question word ("Considering the sequence of actions, what is …") sets the scene and is used only if
    the rest has no match. Of two words at one place, the kind listed first wins.
    """
    text = question.lower()
    asked = QUESTION_WORD.search(text)
    return first_kind(text[asked.start() :] if asked else text) or first_kind(text) or OTHER


def first_kind(text: str) -> str | None:
    """Return the kind whose word is first in a lower-case text."""
    found = [(match.start(), kind) for kind, pattern in PATTERNS if (match := pattern.search(text))]
    return min(found, key=lambda hit: hit[0])[1] if found else None


POOLS = ("500", "5031")
OPTIONS = 5
OPTION_FIELDS = tuple(f"option {number}" for number in range(OPTIONS))
Question = TypedDict(
    "Question",
    {
        "q_uid": str,
        "question": str,
        "option 0": str,
        "option 1": str,
        "option 2": str,
        "option 3": str,
        "option 4": str,
    },
)
FILES = ("questions.json", "subset_answers.json", "uid_to_ego4d.json")
ITEM_SETS: Mapping[str, tuple[int, str]] = {
    "500": (500, "c24d061ce2400bb360124e17c36c52b783dfb4a5b381bfd070376a49638e5ff6"),
    "5031": (5031, "72cfc86b0cd50bcafbd3bf7457be3819c9fae659fa5d643704814a1a735cf89a"),
}
PROMPTS = ChoicePrompts(
    similarity="egoschema-similarity.v1",
    loglik="egoschema-loglik.v1",
    letter="egoschema-letter.v1",
    generate="egoschema-generate.v1",
)


class Source(TypedDict):
    """Where a question's clip comes from: an entry of `uid_to_ego4d.json`."""

    video_uid: str
    starting_sec: float
    ending_sec: float


def task_info(pool: str) -> TaskInfo:
    """Describe the pool, with the count and digest that its items must have."""
    count, digest = ITEM_SETS[pool]
    return TaskInfo(
        name=f"egoschema@{pool}",
        family="multiple-choice",
        version="1",
        item_count=count,
        items_sha256=digest,
        primary_metric="accuracy",
        chance=1 / OPTIONS,
        cluster="Ego4D source video",
        source="https://github.com/egoschema/EgoSchema",
        licence="Ego4D licence (https://ego4d-data.org)",
        citation="Mangalam, Akshulakov, Malik: EgoSchema, NeurIPS 2023, arXiv 2308.09126",
    )


def load_egoschema(folder: Path, pool: str = "500") -> MultipleChoiceTask:
    """Build a pool from the official files in `folder`; videos, where present, are `videos/<q_uid>.mp4`.

    Raises DataError if a file is missing or damaged, or the items are not the official ones.
    """
    questions, answers, sources = (official_json(folder / name) for name in FILES)
    if not isinstance(questions, list) or not isinstance(answers, dict) or not isinstance(sources, dict):
        msg = f"{folder}: not the official EgoSchema files (a list of questions and two id maps)"
        raise DataError(msg)
    known = typed(dict[str, int], answers, str(folder / FILES[1]))
    where = folder / FILES[0]
    rows = [typed(Question, row, f"{where}, entry {number}") for number, row in enumerate(questions, start=1)]
    items = [choice_item(folder, row, known, sources) for row in rows]
    if pool == "500":
        items = [item for item in items if item.answer is not None]
    info = task_info(pool)
    if len(items) != info.item_count or question_set_digest(items) != info.items_sha256:
        msg = (
            f"{folder}: these are not the items of {info.name} (found {len(items)}, expected {info.item_count}, "
            f"or a text or answer differs); fetch the official files with 'longvid egoschema prepare'"
        )
        raise DataError(msg)
    return MultipleChoiceTask(info, items, PROMPTS)


def official_json(path: Path) -> object:
    """Read an official file. Raises DataError that names it and says how to get it."""
    if not path.is_file():
        msg = f"{path} is missing: run 'longvid egoschema prepare', or point --data at a folder that has it"
        raise DataError(msg)
    try:
        return cast("object", read_json(path, ""))
    except DataError as error:
        raise DataError(f"{error}; delete it and run 'longvid egoschema prepare'") from error


def choice_item(folder: Path, row: Question, answers: Mapping[str, int], sources: Mapping[str, object]) -> ChoiceItem:
    """Turn one row of questions.json into a question with its source video and, if public, its answer."""
    uid = row["q_uid"]
    where = f"{folder / FILES[2]}: question '{uid}'"
    source = typed(Source, sources.get(uid), where)
    if not 0 <= source["starting_sec"] < source["ending_sec"]:
        raise DataError(f"{where} ends before it starts")
    return ChoiceItem(
        id=uid,
        cluster=source["video_uid"],
        # The published clip starts at the source's starting_sec, so its own clock begins at 0.
        clip=Clip(uid, 0.0, float(source["ending_sec"]) - float(source["starting_sec"]), video_path(folder, uid)),
        question=row["question"],
        options=tuple(cast("Mapping[str, str]", row)[name] for name in OPTION_FIELDS),
        answer=answers.get(uid),
        labels={"question type": question_type(row["question"])},
    )


SOURCE = "https://raw.githubusercontent.com/egoschema/EgoSchema/main"
BENCHMARK = Benchmark(
    name="egoschema",
    title="EgoSchema: 5-way questions about 3-minute egocentric videos",
    pools=POOLS,
    load=load_egoschema,
    files=(
        RemoteFile(
            "questions.json",
            f"{SOURCE}/questions.json",
            "92c61d06c026455ce5320fa1fcc6cf43b77d874b708076f6b87abfef6fcb08a8",
        ),
        RemoteFile(
            "subset_answers.json",
            f"{SOURCE}/subset_answers.json",
            "a38d0aefcf8bcd5fb8888c7598b4550dc9ac6f6ad11cb2e1eae7b93e4c72468d",
        ),
        RemoteFile(
            "uid_to_ego4d.json",
            f"{SOURCE}/uid_to_ego4d.json",
            "b6aa6b7b5e77863fa1ec725df8646ccb7915bdfe5f053991ba55d610b23e78a6",
        ),
    ),
    videos=(
        "Videos (needed by encoders and captioners, not by models that read captions) are the authors' to give: accept "
        "the Ego4D licence, download the clips as described at https://egoschema.github.io (about 100 GB) and put them "
        "into {folder}/videos/<q_uid>.mp4, or name a folder, a .zip or a hub data set that has them with --mirror"
    ),
    video_gigabytes=100.0,
    example="--model aggregator -M captions=FILE -M llm=smollm2 -M route=letter-logprob",
)
