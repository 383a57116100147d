"""Read choices made elsewhere from JSON, JSON lines and CSV as benchmarks' own scripts write them."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from tasks.errors import DataError
from tasks.family import IDS_SHOWN, MISSPELT, Predictions, PredictionsFile, misspelt
from tasks.files import csv_rows, decoded, is_json_lines, json_rows, parse_json, read_bytes, typed, unique_keys
from tasks.task import FramesSeen, Prediction, Trace

if TYPE_CHECKING:
    from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask

DIGITS_READ = 9
TABLE_SUFFIXES = (".csv", ".tsv")
ID_FIELDS = ("q_uid", "id", "item_id")
ANSWER_FIELDS = ("answer", "prediction", "pred")
FRAMES_FIELD = "count_frame"
FROM_ONE = "answers that seem to be counted from 1, as none is 0 and these are one past the last option"
ENOUGH_TO_MISS_ZERO = 20
"""Answers of which one would be option 0: among five options, all others have a chance of 1 % by luck."""
# Field names of a model's answer; in some files, of the right answer.
ANSWER_NAME = re.compile(r"answer|pred|response|reply|output|choice|chosen|guess", re.IGNORECASE)
# Field names of a reply in words, beside which an answer may be the right one.
REPLY_NAME = re.compile(
    rf"{ANSWER_NAME.pattern}|raw|completion|generat|resps|said|text|content|message|explanation|reasoning",
    re.IGNORECASE,
)
LONGEST_CHOICE = 4
LETTER = re.compile(r"[(\[]?([A-Za-z])[)\].:]?", re.ASCII)
"""A letter as the whole answer: `C`, `c`, `(C)`, `C.`"""
LETTERS_AND_INDICES = "letters among indices, which are read only where no answer is an index"
DIFFER = "ids whose answer fields differ (name the model's by --field)"
NO_FIELD = "ids without an answer field"
BAD_FRAMES = f"ids whose {FRAMES_FIELD} is not a whole number"


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of a predictions file: the answer as written and, if given, a count of frames.

    `fault` names what is wrong with the line besides its answer; it matters only if the id is asked for. `beside` holds
    the other fields that could be an answer, as indices, and `replies` the names of those that are called like replies
    and hold something else ("The answer is B.", a list).
    """

    id: str
    answer: object
    frames: int | None = None
    fault: str = ""
    beside: Mapping[str, int] = dataclasses.field(default_factory=dict)
    replies: tuple[str, ...] = ()


def read_predictions(path: Path, field: str | None = None) -> list[Choice]:
    """Read JSON (`{id: answer}`, `{id: {"answer": …}}` or a list of rows), JSON lines, or CSV with a header.

    Where letters are given and no index, A is the first option. `field` names the answers' field. Repeated ids are
    kept, so that the check can name them. Raises DataError naming the file.
    """
    where = f"predictions file {path}"
    data = read_bytes(path, "predictions file")
    if path.suffix.lower() in TABLE_SUFFIXES:
        rows = csv_rows(decoded(data, where), where)
        found = [from_row(f"{where}, line {number}", row, field) for number, row in rows]
    elif is_json_lines(path):
        lines = json_rows(data, dict[str, object], where)
        found = [from_row(f"{where}, line {number}", row, field) for number, row in lines]
    else:
        found = from_json(parse_json(decoded(data, where), where, Pairs), where, field)
    if found and all(choice.fault == NO_FIELD for choice in found):
        wanted = f"the field '{field}'" if field else f"an answer ({', '.join(ANSWER_FIELDS)}, or name it by --field)"
        raise DataError(f"{where}: no row has {wanted}")
    return found if any(is_index(choice.answer) for choice in found) else [letter_read(choice) for choice in found]


def is_index(answer: object) -> bool:
    """Whether an answer is an index, of an option or not."""
    return index_of(answer) is not None


def letter_of(answer: object) -> int | None:
    """The index of the option that a letter names, A the first; None for anything but a letter."""
    found = LETTER.fullmatch(answer.strip()) if isinstance(answer, str) else None
    return None if found is None else ascii_uppercase.index(found[1].upper())


def letter_read(choice: Choice) -> Choice:
    """The choice with the index in place of a letter."""
    place = letter_of(choice.answer)
    return choice if place is None else replace(choice, answer=place)


class Pairs(list[tuple[str, Any]]):
    """A JSON object that keeps repeated keys."""


def from_json(content: object, where: str, field: str | None) -> list[Choice]:
    """Read the lines of a JSON content. Raises DataError that begins with `where`."""
    if isinstance(content, Pairs):
        plain = next((key for key, value in content if not isinstance(value, Pairs)), None)
        if field and plain is not None:
            raise DataError(f"{where}: --field {field} needs rows, and '{plain}' has an answer alone")
        return [
            from_row(f"{where}, '{key}'", as_object(value, f"{where}, '{key}'"), field, key)
            if isinstance(value, Pairs)
            else Choice(key, value)
            for key, value in content
        ]
    if isinstance(content, list):
        places = [f"{where}, entry {number}" for number in range(1, len(content) + 1)]
        return [from_row(place, as_object(row, place), field) for place, row in zip(places, content, strict=True)]
    msg = f"{where} must hold an object of ids to answers or a list of rows"
    raise DataError(msg)


def as_object(row: object, place: str) -> dict[str, object]:
    """Return a row whose keys are unique. Raises DataError that begins with `place`."""
    if not isinstance(row, Pairs):
        return typed(dict[str, object], row, place)
    try:
        return unique_keys(row)
    except ValueError as error:
        raise DataError(f"{place} {error}") from error


def from_row(place: str, row: Mapping[str, object], field: str | None, key: str | None = None) -> Choice:
    """Read a row's answer, from `field` if one is named; `key` is its id if that is outside the row.

    Raises DataError that begins with `place` for a row without an id.
    """
    if key is None:
        value = next((row[name] for name in ID_FIELDS if row.get(name) is not None), None)
        if value is None or isinstance(value, bool) or not isinstance(value, str | int):
            raise DataError(f"{place}: a row lacks an id ({', '.join(ID_FIELDS)}), a text or a whole number")
        key = str(value)
    names = [field] if field else [name for name in ANSWER_FIELDS if name in row]
    if not names or names[0] not in row:
        return Choice(key, None, fault=NO_FIELD)
    frames, fault = frame_count(row.get(FRAMES_FIELD)), ""
    if row.get(FRAMES_FIELD) not in (None, "") and frames is None:
        fault = BAD_FRAMES
    if field is None and any(differ(row[names[0]], value) for name, value in row.items() if ANSWER_NAME.search(name)):
        fault = DIFFER
    passed_over = {names[0], FRAMES_FIELD, *ID_FIELDS}
    others = {} if field else {name: choice_of(value) for name, value in row.items() if name not in passed_over}
    beside = {name: choice for name, choice in others.items() if choice is not None}
    replies = tuple(
        name
        for name, value in row.items()
        if not field and name not in passed_over and name not in beside and value and REPLY_NAME.search(name)
    )
    return Choice(key, row[names[0]], frames, fault, beside, replies)


def differ(answer: object, other: object) -> bool:
    """Whether another field's value may be an answer that differs."""
    short = isinstance(other, str) and len(other.strip()) <= LONGEST_CHOICE
    number = isinstance(other, int | float) and index_of(other) is not None
    if not (other is None or short or number):
        return False
    first, second = (letter_of(value) if index_of(value) is None else index_of(value) for value in (answer, other))
    return str(answer).strip() != str(other).strip() if first is None or second is None else first != second


def frame_count(value: object) -> int | None:
    """Return a count of frames; None if it is absent or invalid."""
    count = None if isinstance(value, float) else index_of(value)
    return count if count is not None and count >= 0 else None


def checked_answers(
    path: Path,
    predictions: Sequence[Choice],
    pool: Sequence[ChoiceItem],
    everything: Sequence[ChoiceItem],
    *,
    invalid_as_wrong: bool = False,
) -> dict[str, tuple[int | None, int | None]]:
    """Return answer index and frame count of every id of the pool; predictions of other ids are ignored.

    With `invalid_as_wrong` an id without a readable answer has None, which counts as wrong. Raises DataError that names
    ids with answers out of range, null, repeated or missing, and those that the benchmark does not have.
    """
    options = {item.id: len(item.options) for item in pool}
    asked = [p for p in predictions if p.id in options]
    answers = {p.id: (valid(p.answer, options[p.id]), p.frames) for p in asked}
    excusable = {
        "answers outside the options": [p.id for p in asked if not p.fault and is_outside(p.answer, options[p.id])],
        "null answers": [p.id for p in asked if not p.fault and p.answer is None],
        "empty answers": [p.id for p in asked if not p.fault and p.answer == ""],
        NO_FIELD: [p.id for p in asked if p.fault == NO_FIELD],
        "missing ids": sorted(options.keys() - answers.keys()),
    }
    grave = {
        DIFFER: [p.id for p in asked if p.fault == DIFFER],
        BAD_FRAMES: [p.id for p in asked if p.fault == BAD_FRAMES],
        MISSPELT: misspelt(options, [p.id for p in predictions]),
        "repeated ids": [key for key, times in Counter(p.id for p in asked).items() if times > 1],
    }
    letters = [p.id for p in asked if not p.fault and letter_of(p.answer) is not None]
    if invalid_as_wrong:
        grave[LETTERS_AND_INDICES] = letters
        grave[FROM_ONE] = from_one(asked, options)
    known = {item.id for item in everything}
    strange = {"unknown ids": list(dict.fromkeys(p.id for p in predictions if p.id not in known))}
    faults = named(grave) if invalid_as_wrong else named(excusable | grave)
    if not faults and all(index is None for index, _ in answers.values()):
        faults = named({"answers that can be read": []}, least=0) + named(excusable)
    if faults:
        hint = "" if invalid_as_wrong or named(grave) else "; --count-invalid-as-wrong counts them as wrong"
        if letters and hint:
            hint += f", but for {len(letters)} {LETTERS_AND_INDICES}"
        msg = f"predictions file {path} is refused: {'; '.join(faults + named(strange))}{hint}"
        raise DataError(msg)
    return {key: answers.get(key, (None, None)) for key in options}


def from_one(asked: Sequence[Choice], options: Mapping[str, int]) -> list[str]:
    """Return the ids whose answer is one past the last option, if no answer is 0: the file counts options from 1."""
    indices = [(p.id, index_of(p.answer)) for p in asked if not p.fault]
    if any(index == 0 for _, index in indices):
        return []
    return [key for key, index in indices if index == options[key]]


def named(faults: Mapping[str, Sequence[str]], least: int = 1) -> list[str]:
    """Describe each fault with its number of ids, and the first of them."""
    return [
        f"{len(ids)} {what}{': ' * bool(ids)}{', '.join(ids[:IDS_SHOWN])}{' …' * (len(ids) > IDS_SHOWN)}"
        for what, ids in faults.items()
        if len(ids) >= least
    ]


def valid(answer: object, options: int) -> int | None:
    """Return the index of an option, None for any other answer."""
    index = index_of(answer)
    return index if index is not None and 0 <= index < options else None


def is_outside(answer: object, options: int) -> bool:
    """Whether an answer was given and is none of the options."""
    return answer is not None and answer != "" and valid(answer, options) is None


def index_of(answer: object) -> int | None:
    """Return an option's index from 3, 3.0, "3" or "3.0"; None for anything else, including booleans."""
    if isinstance(answer, bool):
        return None
    if isinstance(answer, float) and answer.is_integer():
        return int(answer)
    if isinstance(answer, int):
        return answer
    text = re.sub(r"\.0{1,3}$", "", str(answer).strip())  # tables write 3.0 where a column lacks a number
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS_READ else None


def choice_of(value: object) -> int | None:
    """Return the index that an index or a letter stands for, None for anything else."""
    index = index_of(value)
    return letter_of(value) if index is None else index


def model_field(
    read: Sequence[Choice], answers: Mapping[str, tuple[int | None, int | None]], pool: Sequence[ChoiceItem]
) -> str | None:
    """Return the field that may be the model's, where the answers read are all right.

    Files that score 100 % and have a second field of choices are nearly always right answers with a model's beside
    them, whatever its name; so have those with a field that is named as replies are, whatever it holds. None if there
    is no such field.
    """
    given = [item for item in pool if answers[item.id][0] is not None]
    if any(item.answer is None or answers[item.id][0] != item.answer for item in given):
        return None
    options = {item.id: len(item.options) for item in given}
    rows = [choice for choice in read if choice.id in options]
    if replies := next((name for choice in rows for name in choice.replies), None):
        return replies
    for name in rows[0].beside if rows else ():
        beside = [(choice, choice.beside.get(name, -1)) for choice in rows]
        choices = all(0 <= index < options[choice.id] for choice, index in beside)
        if choices and any(index != answers[choice.id][0] for choice, index in beside):
            return name
    return None


def read_choices(file: PredictionsFile, task: MultipleChoiceTask, everything: MultipleChoiceTask) -> Predictions:
    """Read a file's choices as predictions; an invalid choice has no answer, which counts as wrong.

    `everything` holds the benchmark's other items, whose choices are ignored. Raises DataError naming the file and
    the ids at fault.
    """
    if file.allow_missing:
        raise DataError("--allow-missing is for texts and vectors; for choices use --count-invalid-as-wrong")
    field = file.field or field_beside_right_answers(file.path, task.items())
    read = read_predictions(file.path, field)
    answers = checked_answers(file.path, read, task.items(), everything.items(), invalid_as_wrong=file.invalid_as_wrong)
    if field is None and (other := model_field(read, answers, task.items())):
        raise DataError(
            f"predictions file {file.path} is refused: every answer is right, and '{other}' may be the model's "
            f"(name the model's by --field)"
        )
    known = {item.id for item in task.items()}
    indices = [index for index, _ in answers.values()]
    invalid = indices.count(None)
    notes = []
    if field != file.field:
        notes.append(f"another field holds the right answers: the choices are those of '{field}'")
    if invalid:
        notes.append(f"{invalid} of {len(answers)} choices are missing or none of the options: counted as wrong")
    if len(indices) - invalid >= ENOUGH_TO_MISS_ZERO and 0 not in indices:
        notes.append("no answer is 0, the first option: a file that counts options from 1 needs 1 subtracted")
    return Predictions(
        answers={key: prediction(key, index, frames) for key, (index, frames) in answers.items()},
        outside=tuple(dict.fromkeys(choice.id for choice in read if choice.id not in known)),
        notes=tuple(notes),
    )


def field_beside_right_answers(path: Path, pool: Sequence[ChoiceItem]) -> str | None:
    """Return the model's field of a file with two fields, of which one holds the right answer of every item.

    None if there are not exactly two, or neither holds all right answers. Raises DataError for a file that can't
    be read.
    """
    right = {item.id: item.answer for item in pool}
    columns: dict[str, dict[str, int | None]] = {}
    if not any(choice.fault == DIFFER and choice.id in right for choice in read_predictions(path)):
        return None
    for name in ANSWER_FIELDS:
        with suppress(DataError):
            found = [choice for choice in read_predictions(path, name) if choice.id in right and not choice.fault]
            columns[name] = {choice.id: index_of(choice.answer) for choice in found}
    whole = [name for name, column in columns.items() if len(column) == len(right)]
    given = [name for name in whole if columns[name] == right]
    return next(name for name in whole if name != given[0]) if len(whole) == 2 and len(given) == 1 else None


def prediction(key: str, index: int | None, frames: int | None) -> Prediction:
    """Make the prediction of an imported choice."""
    seen = Trace(frames=None if frames is None else FramesSeen(frames))
    return Prediction(key, index, "" if index is None else str(index), "given", trace=seen)
