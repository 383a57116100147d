"""A benchmark as data: a folder with `questions.jsonl`, `answers.jsonl`, `captions.jsonl` or `pairs.jsonl`.

`benchmark.toml` says name, version, title, licence, citation, source, what a cluster is, how to get the videos, pools,
primary metric and prompts; of it only `name` is needed. Without the file the folder is one pool of all its rows, named
by their digest, as a file of questions given to `longvid ask` is. A question is `{"video": PATH, "question": …,
"options": [2 to 26 texts]}` with, where wanted, `id`, `answer` (index from 0, letter or the option's text), `start` and
`end` in seconds, `labels`, `evidence` ([[start, end], …]), `subtitles` (a path) and `cluster` (by default the video); a
question of `answers.jsonl` is answered in free words and has `answers` (texts) in place of options and answer; a
caption has `references`, a pair `text` in place of question and options. Videos are in `videos/` or beside the file, or
in a given folder. Nothing is coerced: faults are refused by file, line and field.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from math import inf, isfinite
from pathlib import Path, PurePath
from string import Template, ascii_uppercase
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, TypeAlias, cast

from annotated_types import MaxLen, MinLen
from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from tasks.collector import waiting
from tasks.digests import rows_sha256, text_sha256
from tasks.errors import DataError, ModelError
from tasks.files import Seconds, is_file, read_rows, read_text, read_toml, shown, text_lines, typed, unicode_only
from tasks.multiple_choice import (
    LETTER_ROUTES,
    TOO_MANY_FOR_LETTERS,
    ChoiceItem,
    ChoicePrompts,
    MultipleChoiceTask,
    chance_of,
    mean_name,
)
from tasks.prompt import Prompt, load_prompt
from tasks.registry import Benchmark, nearest
from tasks.routes import MAX_OPTIONS
from tasks.task import Clip, TaskInfo
from tasks.video_files import VIDEOS, is_video_name, names_by_id

if TYPE_CHECKING:
    from tasks.captioning import CaptioningTask
    from tasks.free_answers import FreeAnswerTask
    from tasks.retrieval import RetrievalTask

SETTINGS = "benchmark.toml"
QUESTIONS, ANSWERS, CAPTIONS, PAIRS = "questions.jsonl", "answers.jsonl", "captions.jsonl", "pairs.jsonl"
FAMILIES: Mapping[str, str] = MappingProxyType(
    {QUESTIONS: "multiple-choice", ANSWERS: "free-answer", CAPTIONS: "captioning", PAIRS: "retrieval"}
)
PREDICTIONS: Mapping[str, str] = MappingProxyType(
    {QUESTIONS: "choices.csv", ANSWERS: "texts.json", CAPTIONS: "texts.json", PAIRS: "vectors.npz"}
)
UNNAMED = "own-"
"""Prefix of the names of tasks without a `benchmark.toml`; the digest of their rows follows."""
ALL = "all"
OVER_ITEMS, MEAN_OVER = "mean over items", "mean over "
CAPTION_TOKENS = 128
SHORT_TOKENS = 64
CAPTION_FIGURES = MappingProxyType({"micro": "micro", "macro": "macro", "paragraph": "paragraph"})
# The variables that a custom prompt must contain, and those that it may contain.
PROMPT_WORDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = MappingProxyType(
    {
        "similarity": (frozenset({"option"}), frozenset({"question", "option"})),
        "loglik": (frozenset({"question"}), frozenset({"question"})),
        "letter": (frozenset({"question", "options"}), frozenset({"question", "options"})),
        "generate": (frozenset({"question", "options"}), frozenset({"question", "options"})),
        "answer": (frozenset({"question"}), frozenset({"question"})),
        "caption": (frozenset(), frozenset()),
    }
)
PROMPT_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {QUESTIONS: ("similarity", "loglik", "letter", "generate"), ANSWERS: ("answer",), CAPTIONS: ("caption",), PAIRS: ()}
)
PROMPTS = ChoicePrompts(
    similarity="own-similarity.v1", loglik="own-loglik.v1", letter="own-letter.v1", generate="own-generate.v1"
)
CAPTION_PROMPT = "own-caption.v1"
SecondsOf = Callable[[Path], float]
NamesIn = Callable[[Path], Mapping[str, Sequence[str]]]
Text = Annotated[str, MinLen(1)]
Interval = Annotated[list[Seconds], MinLen(2), MaxLen(2)]
STRICT, OPEN = ConfigDict(extra="forbid"), ConfigDict(extra="allow")


class Row(TypedDict):
    """The fields of every row."""

    video: Text
    id: NotRequired[str | int]
    cluster: NotRequired[str | int]
    start: NotRequired[Seconds]
    end: NotRequired[Seconds]
    labels: NotRequired[dict[str, Text]]
    subtitles: NotRequired[Text]


@with_config(OPEN)
class QuestionRow(Row):
    """A line of a questions file; other fields are allowed unless they look like a misspelt one of ours."""

    question: str
    options: Annotated[list[str], MinLen(2)]
    answer: NotRequired[int | str | None]
    evidence: NotRequired[list[Interval]]


@with_config(STRICT)
class StrictQuestionRow(QuestionRow):
    """A line of `questions.jsonl`: other fields are refused."""


@with_config(STRICT)
class AnswerRow(Row):
    """A line of `answers.jsonl`."""

    question: Text
    answers: NotRequired[list[Text]]


@with_config(STRICT)
class CaptionRow(Row):
    """A line of `captions.jsonl`."""

    references: Annotated[list[Text], MinLen(1)]


@with_config(STRICT)
class PairRow(Row):
    """A line of `pairs.jsonl`."""

    text: Text


@with_config(STRICT)
class PoolTable(TypedDict):
    """A pool: the rows with these labels, and among them those whose ids a file lists, one per line."""

    labels: NotRequired[dict[str, str | list[str]]]
    ids: NotRequired[Text]


@with_config(STRICT)
class PromptTable(TypedDict):
    """Custom prompts by route; each may end with a section `=== reply`."""

    similarity: NotRequired[Text]
    loglik: NotRequired[Text]
    letter: NotRequired[Text]
    generate: NotRequired[Text]
    answer: NotRequired[Text]
    caption: NotRequired[Text]


@with_config(STRICT)
class Settings(TypedDict):
    """`benchmark.toml`."""

    name: Text
    version: NotRequired[Text]
    title: NotRequired[Text]
    licence: NotRequired[Text]
    citation: NotRequired[Text]
    source: NotRequired[Text]
    cluster: NotRequired[Text]
    videos: NotRequired[Text]
    primary: NotRequired[Text]
    pools: NotRequired[dict[str, PoolTable]]
    prompts: NotRequired[PromptTable]


ROWS: Mapping[str, type[Any]] = MappingProxyType(
    {QUESTIONS: StrictQuestionRow, ANSWERS: AnswerRow, CAPTIONS: CaptionRow, PAIRS: PairRow}
)


# Captions, free answers and pairs are loaded where they are made: their arithmetic takes as long to load as the rest.
OwnTask: TypeAlias = "MultipleChoiceTask | FreeAnswerTask | CaptioningTask | RetrievalTask"


@dataclass(frozen=True)
class Folder:
    """A benchmark's files as found: the file of rows, its kind, and the settings.

    `named` says whether there is a `benchmark.toml`. `place` is the folder, or the file of rows if it was given alone:
    then other fields are allowed, and more options than letters can name.
    """

    place: Path
    rows: Path
    kind: str
    settings: Settings
    named: bool

    @property
    def toml(self) -> Path:
        """The file of settings."""
        return self.place / SETTINGS

    @cached_property
    def alone(self) -> bool:
        """Whether a file of rows was given alone."""
        return self.place == self.rows

    @property
    def pools(self) -> tuple[str, ...]:
        """The pool of all rows, and those that the settings name."""
        return (ALL, *self.settings.get("pools", {}))

    @cached_property
    def what(self) -> str:
        """How errors call the file of rows."""
        return "questions file" if self.alone else "benchmark file"


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults in a benchmark's rows: invalid rows, and unreadable answers by id.

    An answer that matches several options counts as the first of them, any other fault as an unknown answer.
    """

    rows: list[str] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Read:
    """A row's item, its line, and the end that the row itself gives: None for the video's end."""

    item: Any
    line: int
    end: float | None


@dataclass(frozen=True, slots=True)
class Shared:
    """What the rows of a file share while it is read, so that each video is looked for once, and equal parts are one.

    Attributes:
        find: finds a video's file by the name in a row.
        seconds_of: measures a video.
        clip: makes a clip, or returns the one that is like it.
        labels: makes labels, or returns those that are like them.
        lines: the lines of earlier rows by id.
    """

    find: Callable[[str], Path | None]
    seconds_of: SecondsOf
    clip: Callable[..., Clip]
    labels: Callable[[tuple[tuple[str, str], ...]], dict[str, str]]
    lines: dict[str, int]


def is_benchmark_folder(place: Path) -> bool:
    """Whether a folder holds a benchmark."""
    return any(is_file(place / name) for name in (SETTINGS, *ROWS))


def read_folder(place: Path) -> Folder:
    """Read a folder's settings and find its file of rows, or take a questions file alone.

    Raises DataError for unknown keys, and unless there is exactly one file of rows.
    """
    if not place.is_dir():
        return Folder(place, place, QUESTIONS, {"name": unicode_only(place.name)}, named=False)
    there = [name for name in ROWS if is_file(place / name)]
    if len(there) != 1:
        found = " and ".join(there) if there else "none"
        msg = f"benchmark folder {place} must hold exactly one of {', '.join(ROWS)}; found {found}"
        raise DataError(msg)
    path = place / SETTINGS
    if not is_file(path):
        return Folder(place, place / there[0], there[0], {"name": unicode_only(place.resolve().name)}, named=False)
    settings = read_settings(path)
    folder = Folder(place, place / there[0], there[0], settings, named=True)
    check_settings(folder)
    return folder


def read_settings(path: Path) -> Settings:
    """Read a `benchmark.toml`. Raises DataError naming the key at fault."""
    try:
        content = read_toml(path, "benchmark")
    except ModelError as error:
        raise DataError(str(error)) from error
    return typed(Settings, content, f"benchmark {path}")


def check_settings(folder: Folder) -> None:
    """Raise DataError for invalid names, and for settings of another kind of rows."""
    settings, where = folder.settings, f"benchmark {folder.toml}"
    for what, name in (("name", settings["name"]), *(("pools", name) for name in settings.get("pools", {}))):
        if not name.strip(" .") or any(char in "@/\\" or not char.isprintable() for char in name):
            msg = (
                f"{where}: field '{what}': a name needs letters or digits and may hold no @, / or \\, not {shown(name)}"
            )
            raise DataError(msg)
    if ALL in settings.get("pools", {}):
        msg = f"{where}: field 'pools': the pool '{ALL}' is always that of all rows; give yours another name"
        raise DataError(msg)
    if folder.kind != QUESTIONS and "primary" in settings:
        msg = f"{where}: field 'primary' is for {QUESTIONS}; the primary figure of {folder.kind} is always the same"
        raise DataError(msg)
    mean_over(folder)
    for key in settings.get("prompts", {}):
        if key not in PROMPT_KEYS[folder.kind]:
            msg = f"{where}: field 'prompts, {key}': no model is asked so about {folder.kind}"
            raise DataError(msg)
        own_prompt(folder, key)


def mean_over(folder: Folder) -> str | None:
    """Return the label over whose groups the primary figure is averaged; None if it is over items. Raises DataError."""
    primary = folder.settings.get("primary", OVER_ITEMS)
    if primary == OVER_ITEMS:
        return None
    label = primary.removeprefix(MEAN_OVER).strip()
    if not primary.startswith(MEAN_OVER) or not label:
        msg = (
            f'benchmark {folder.toml}: field \'primary\' must be "{OVER_ITEMS}" or "{MEAN_OVER}LABEL" (each of the '
            f"label's groups then counts the same), not {shown(primary)}"
        )
        raise DataError(msg)
    return label


def own_prompt(folder: Folder, key: str) -> Prompt | None:
    """Return the folder's own prompt for a route, or None. Raises DataError for unknown or missing variables."""
    text = cast("Mapping[str, str]", folder.settings.get("prompts", {})).get(key)
    if text is None:
        return None
    where = f"benchmark {folder.toml}: field 'prompts, {key}'"
    template = Template(text)
    needed, allowed = PROMPT_WORDS[key]
    words = set(template.get_identifiers()) if template.is_valid() else {""}
    if not template.is_valid() or words - allowed or needed - words:
        may = f"${', $'.join(sorted(allowed))}" if allowed else "no $word"
        must = f", and must hold ${' and $'.join(sorted(needed))}" if needed else ""
        raise DataError(f"{where} may hold {may}{must}; a dollar sign is written $$")
    section = "text" if key == "similarity" else "user"
    body, mark, reply = text.partition("\n=== reply\n")
    default = load_prompt("tasks", str(getattr(PROMPTS, key))).sections if hasattr(PROMPTS, key) else {}
    sections = {section: body.strip()}
    if mark or "reply" in default:
        sections["reply"] = reply.strip() if mark else default["reply"]
    digest = text_sha256(*(f"{name}\n{words}" for name, words in sections.items()))
    return Prompt(f"{folder.settings['name']}-{key}", MappingProxyType(sections), digest)


def folder_benchmark(place: Path, seconds_of: SecondsOf, videos: Path | None = None) -> Benchmark:
    """Make a benchmark from a folder or a questions file.

    Args:
        place: the folder or the file.
        seconds_of: returns a video's length in seconds, or raises its own error.
        videos: where the videos are, if not in `videos/` or beside the rows.

    Returns:
        The benchmark; its `load` takes `to_ask=True`, too, and then refuses rows whose clip has no known length.

    Raises:
        DataError: the folder holds no benchmark, or its settings are at fault.
    """
    folder = read_folder(place)
    settings = folder.settings
    return Benchmark(
        name=settings["name"],
        title=settings.get("title", settings["name"]),
        pools=folder.pools,
        load=partial(load_folder, folder, seconds_of, videos),
        videos=settings.get("videos", f"Videos lie in {default_places(folder, videos)[0]}, or where --videos says."),
        predictions=PREDICTIONS[folder.kind],
        everything=ALL,
        place=place,
        videos_at=videos,
        source=str(place),
    )


def load_own_questions(
    path: Path, videos: Path | None, seconds_of: SecondsOf, route: str | None = None
) -> MultipleChoiceTask:
    """Load the task of a questions file about videos in a folder, by default the file's.

    With a `route` that names options by letters, more options than letters are refused. Raises DataError
    naming the line and the field at fault.
    """
    return cast("MultipleChoiceTask", load_folder(read_folder(path), seconds_of, videos, path, ALL, True, route))


@waiting()
def load_folder(
    folder: Folder,
    seconds_of: SecondsOf,
    videos: Path | None,
    place: Path,  # noqa: ARG001 - the registry's loaders are told a folder; this one knows its own
    pool: str,
    to_ask: bool = False,
    route: str | None = None,
    faults: Faults | None = None,
) -> OwnTask:
    """Load the task of a pool.

    Args:
        folder: its files.
        seconds_of: returns a video's length in seconds, or raises its own error.
        videos: where the videos are, None for the usual places.
        place: not used.
        pool: one of the folder's.
        to_ask: whether a model will be asked, so that the length of every clip must be known.
        route: how answers will be obtained, if known.
        faults: collects faults, and faulty rows are left out; without it the first fault is raised.

    Raises:
        DataError: naming the file, the line and the field at fault.
    """
    places = default_places(folder, videos)
    find = cache(partial(find_video, places, cache(names_by_id)))
    shared = Shared(find, cache(seconds_of), cache(Clip), cache(dict), {})
    reads: list[Read] = []
    rows = read_rows(folder.rows, cast("type[dict[str, object]]", dict[str, object]), folder.what)
    while True:
        try:
            number, content = next(rows, (0, {}))
            if not number:
                break
            reads.append(read_row(folder, number, content, shared, route, faults))
        except DataError as error:
            if faults is None:
                raise
            faults.rows.append(str(error))
    chosen = in_pool(folder, pool, reads)
    if to_ask and (first_lost := next((read for read in chosen if read.item.clip.end == inf), None)):
        lost = no_video(places[0] / first_lost.item.clip.video_id, folder.kind)
        raise DataError(f"{folder.what} {folder.rows}, line {first_lost.line}: {lost}")
    return make_task(folder, pool, chosen)


def read_row(
    folder: Folder,
    number: int,
    content: dict[str, object],
    shared: Shared,
    route: str | None,
    faults: Faults | None,
) -> Read:
    """Make a line's item.

    Raises DataError naming the line and the field at fault.
    """
    where = f"{folder.what} {folder.rows}, line {number}"
    row: Any = typed(QuestionRow if folder.alone else ROWS[folder.kind], content, where)
    unread = ""
    if faults is not None and folder.kind == QUESTIONS:
        try:
            answer_index(row.get("answer"), row["options"])
        except DataError as error:
            unread, answer = f"{where}: {error}", row.pop("answer")
            row |= {"answer": row["options"].index(answer)} if answer in row["options"] else {}
    try:
        item = make_item(folder, row, number, shared, route)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    if (first := shared.lines.setdefault(item.id, number)) != number:
        raise DataError(f"{where}: the id '{item.id}' is used twice, first in line {first}")
    if faults is not None and unread:
        faults.answers[item.id] = unread
    return Read(item, number, row.get("end"))


def default_places(folder: Folder, videos: Path | None) -> tuple[Path, ...]:
    """Return the folders to search for videos: the given one, else `videos/` and that of the rows."""
    if videos is not None:
        return (videos,)
    beside = folder.rows.parent
    return (beside, beside / VIDEOS) if folder.alone else (beside / VIDEOS, beside)


def find_video(places: Sequence[Path], names_in: NamesIn, name: str) -> Path | None:
    """Find the video's file by its name, with or without a known suffix; None if there is none.

    `names_in` lists a folder, once for all names: each could have dozens of suffixes.
    """
    suffixed = is_video_name(PurePath(name))
    for place in places:
        # Not `place / name`: most of the time would go into making paths of files that are not there.
        path = os.path.join(place, name)  # noqa: PTH118 - as above
        if os.path.isfile(path):  # noqa: PTH113 - as above
            return Path(path)
        if not suffixed:
            folder, stem = os.path.split(path)
            for each in names_in(Path(folder)).get(stem, ()):
                if is_file(found := Path(folder, each)):
                    return found
    return None


def no_video(path: Path, kind: str) -> str:
    """Return the error for a row with neither a video nor an end."""
    give = "the question's end" if kind in (QUESTIONS, ANSWERS) else "the row's end"
    return f"there is no video {path}; put it there, name its folder with --videos, or give {give} in seconds"


def clip_of(folder: Folder, row: Row, shared: Shared) -> Clip:
    """Return the segment of the video in question: all of it, unless the row says otherwise. Raises DataError."""
    path = shared.find(row["video"])
    start = float(row.get("start", 0.0))
    end = float(row["end"]) if "end" in row else inf if path is None else shared.seconds_of(path)
    if not start < end:
        msg = f"the clip must begin before it ends, not {start:g} to {end:g} s (fields 'start' and 'end')"
        raise DataError(msg)
    subtitles = folder.rows.parent / row["subtitles"] if "subtitles" in row else None
    return shared.clip(row["video"], start, end, path, subtitles)


def make_item(folder: Folder, row: Any, number: int, shared: Shared, route: str | None) -> Any:  # noqa: ANN401 - of several kinds
    """Make a row's item. Raises DataError naming the field at fault."""
    clip = clip_of(folder, row, shared)
    cluster, labels = str(row.get("cluster", clip.video_id)), shared.labels(tuple(row.get("labels", {}).items()))
    if folder.kind == CAPTIONS:
        from tasks.captioning import CaptionItem

        return CaptionItem(str(row.get("id", f"c{number}")), cluster, clip, tuple(row["references"]), labels=labels)
    if folder.kind == ANSWERS:
        from tasks.free_answers import FreeItem

        known = tuple(row.get("answers", ()))
        return FreeItem(str(row.get("id", f"q{number}")), cluster, clip, row["question"], known, labels)
    if folder.kind == PAIRS:
        from tasks.retrieval import RetrievalItem

        return RetrievalItem(str(row.get("id", f"p{number}")), cluster, clip, row["text"], labels)
    options = tuple(row["options"])
    if len(options) > MAX_OPTIONS and (not folder.alone or route in LETTER_ROUTES):
        more = TOO_MANY_FOR_LETTERS if folder.alone else f"a question has 2 to {MAX_OPTIONS} (field 'options')"
        raise DataError(f"{len(options)} options, but {more}")
    if folder.alone:
        refuse_near_misses(row)
    return ChoiceItem(
        id=str(row.get("id", f"q{number}")),
        cluster=cluster,
        clip=clip,
        question=row["question"],
        options=options,
        answer=answer_index(row.get("answer"), options),
        labels=labels,
        evidence=tuple(stretch(each) for each in row.get("evidence", [])),
    )


def refuse_near_misses(row: Mapping[str, object]) -> None:
    """Raise DataError for a field that looks like a misspelt one of ours; other fields are allowed."""
    known = (*Row.__annotations__, *QuestionRow.__annotations__)
    for name in row:
        if name not in known and (near := nearest(name, known)):
            raise DataError(f"unknown field '{name}'{near}")


def stretch(times: Sequence[float]) -> tuple[float, float]:
    """Check a segment of evidence. Raises DataError if it ends before it begins."""
    start, end = map(float, times)
    if start > end:
        raise DataError(f"field 'evidence' must hold segments that begin before they end, not {start:g} to {end:g} s")
    return start, end


def answer_index(answer: int | str | None, options: Sequence[str]) -> int | None:
    """Return the right option's index from an index, a letter or the option's text. Raises DataError."""
    if answer is None:
        return None
    if isinstance(answer, int):
        if not 0 <= answer < len(options):
            raise DataError(f"answer {answer} is not the index of an option, 0 to {len(options) - 1} (field 'answer')")
        return answer
    places = [place for place, text in enumerate(options) if text == answer]
    letter = ascii_uppercase.find(answer) if len(answer) == 1 else -1
    if 0 <= letter < len(options) and letter not in places:
        places.append(letter)
    if len(places) == 1:
        return places[0]
    if places:
        raise DataError(f"field 'answer': {shown(answer)} matches several options; give the index, from 0")
    letters = f"A to {ascii_uppercase[min(len(options), MAX_OPTIONS) - 1]}"
    raise DataError(
        f"field 'answer' must be an option's index from 0, its letter ({letters}) or its text, not {shown(answer)}"
        f"{nearest(answer, options)}"
    )


def in_pool(folder: Folder, pool: str, reads: Sequence[Read]) -> list[Read]:
    """Select the rows of a pool, in the file's order.

    Raises DataError for unknown ids or labels, or if there are none.
    """
    if pool not in folder.pools:
        near = nearest(pool, folder.pools)
        raise DataError(f"{folder.place} has no pool '{pool}'{near}; pools are {', '.join(folder.pools)}")
    table = folder.settings.get("pools", {}).get(pool, PoolTable())
    where = f"benchmark {folder.toml}: field 'pools, {pool}'"
    chosen = list(reads)
    for kind, values in table.get("labels", {}).items():
        wanted = {values} if isinstance(values, str) else set(values)
        there = {read.item.labels[kind] for read in reads if kind in read.item.labels}
        if not there:
            kinds = {name for read in reads for name in read.item.labels}
            raise DataError(f"{where}: no row of {folder.rows} has the label '{kind}'{nearest(kind, kinds)}")
        if strange := sorted(wanted - there):
            raise DataError(f"{where}: no row's label '{kind}' is '{strange[0]}'{nearest(strange[0], there)}")
        chosen = [read for read in chosen if read.item.labels.get(kind) in wanted]
    if "ids" in table:
        listed = read_ids(folder, table["ids"], {read.item.id for read in reads})
        chosen = [read for read in chosen if read.item.id in listed]
    if not chosen:
        raise DataError(f"{where}: no row is in this pool")
    return chosen


def read_ids(folder: Folder, name: str, known: set[str]) -> set[str]:
    """Read the ids that a file lists, one per line. Raises DataError for unknown or repeated ids."""
    path = folder.place / name
    listed: dict[str, int] = {}
    for number, line in enumerate(text_lines(read_text(path, "ids of a pool")), start=1):
        key = line.strip()
        if not key:
            continue
        if key not in known:
            raise DataError(f"ids of a pool {path}, line {number}: no row of {folder.rows} has the id '{key}'")
        if (first := listed.setdefault(key, number)) != number:
            raise DataError(f"ids of a pool {path}, line {number}: the id '{key}' is used twice, first in line {first}")
    return set(listed)


def make_task(folder: Folder, pool: str, reads: Sequence[Read]) -> OwnTask:
    """Make the task of a pool's rows.

    Raises DataError if a row lacks the label that the primary figure averages over.
    """
    items = [read.item for read in reads]
    if folder.kind == CAPTIONS:
        from tasks.captioning import CaptioningTask, CaptionProtocol

        prompt = own_prompt(folder, "caption") or CAPTION_PROMPT
        ask = CaptionProtocol(prompt, CAPTION_TOKENS, CAPTION_FIGURES)
        return CaptioningTask(info_of(folder, pool, reads, "micro_cider_d", 0.0), items, ask)
    if folder.kind == ANSWERS:
        from tasks.free_answers import F1, SHORT_PROMPT, UNSCORED, FreeAnswerTask

        primary = F1 if any(item.answers for item in items) else UNSCORED
        asked = own_prompt(folder, "answer") or SHORT_PROMPT
        return FreeAnswerTask(info_of(folder, pool, reads, primary, 0.0), items, asked, SHORT_TOKENS)
    if folder.kind == PAIRS:
        from tasks.retrieval import PRIMARY, RetrievalTask

        return RetrievalTask(info_of(folder, pool, reads, PRIMARY, 1 / len(items)), items)
    label = mean_over(folder)
    if label and (lacking := next((read for read in reads if label not in read.item.labels), None)):
        msg = (
            f"{folder.what} {folder.rows}, line {lacking.line}: field 'labels' must have '{label}', which the primary "
            f"figure of {folder.toml} is the mean over"
        )
        raise DataError(msg)
    primary = mean_name(label) if label else "accuracy"
    info = info_of(folder, pool, reads, primary, chance_of(items, label), label)
    own = {key: own_prompt(folder, key) or getattr(PROMPTS, key) for key in ChoicePrompts.__dataclass_fields__}
    return MultipleChoiceTask(info, items, ChoicePrompts(**own), label)


def info_of(
    folder: Folder, pool: str, reads: Sequence[Read], primary: str, chance: float, label: str | None = None
) -> TaskInfo:
    """Describe the task; without a `benchmark.toml` it is named by the digest of its rows."""
    settings = folder.settings
    digest = rows_digest(folder, reads, label)
    return TaskInfo(
        name=f"{settings['name']}@{pool}" if folder.named else f"{UNNAMED}{digest[:8]}@{len(reads)}",
        family=FAMILIES[folder.kind],
        version=settings.get("version", "1"),
        item_count=len(reads),
        items_sha256=digest,
        primary_metric=primary,
        chance=chance,
        cluster=settings.get("cluster", "video"),
        source=settings.get("source", settings["name"] if folder.named else unicode_only(folder.rows.name)),
        licence=settings.get("licence", "the file's owner's"),
        citation=settings.get("citation", "none"),
    )


def rows_digest(folder: Folder, reads: Iterable[Read], label: str | None = None) -> str:
    """Digest everything that defines the items, in order, and the label that the primary figure averages over.

    A named benchmark's rows count as written: an end taken from the video is left out, so that the items are the same
    with or without the videos. For others the digest includes the clips, as it always has.
    """

    def row_of(read: Read) -> list[Any]:
        item, clip = read.item, read.item.clip
        end = (None if read.end is None else float(read.end)) if folder.named else clip.end
        place = [item.id, item.cluster, clip.video_id, clip.start, end if end is None or isfinite(end) else None]
        return [*place, *content_of(folder.kind, item), *([item.labels[label]] if label else [])]

    return rows_sha256(map(row_of, reads))


def content_of(kind: str, item: Any) -> list[Any]:  # noqa: ANN401 - of several kinds
    """Return what an item of a kind of file asks, and the right answer."""
    if kind == ANSWERS:
        return [item.question, list(item.answers)]
    if kind == QUESTIONS:
        return [item.question, list(item.options), item.answer]
    return [list(item.references)] if kind == CAPTIONS else [item.text]
