"""METEOR 1.5 with its authors' jar: matches come from the jar, never from an approximation.

The jar's per-segment statistics add up over segments (`summable` says how); the closing formula
(Denkowski & Lavie 2014, English parameters) is applied here, so that intervals need no second run.
Every run asks the jar for the scores of known segments and of their sum, and refuses a jar that
computes other values.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.caption_metrics.ngrams import Corpus, Floats
from tasks.errors import DataError, LongvidError

JAR_VARIABLE = "LONGVID_METEOR_JAR"
STATISTICS = 23

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_STAGE_WEIGHTS = (1.0, 0.6, 0.8, 0.6)  # exact, stem, synonym, paraphrase
_AGREEMENT = 1e-6
_CHUNKS = 20  # the column with the number of chunks
# Segments of our own: one in which every parameter of the formula counts, one matched completely in a single chunk, one
# matched completely in two, one of a single token, one without any match, one without a token.
_KNOWN = (
    (20, 24, 8, 10, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 5, 13, 12),
    (5, 5, 2, 2, 3, 3, 2, 2, *(0,) * 12, 1, 5, 5),
    (5, 5, 2, 2, 3, 3, 2, 2, *(0,) * 12, 2, 5, 5),
    (1, 1, 0, 0, 1, 1, *(0,) * 14, 1, 1, 1),
    (4, 6, 1, 2, *(0,) * 19),
    (0,) * 23,
)
# A `|||` in a caption would end its field; other separators and control characters would end the line.
_NOT_TEXT = re.compile(r"\|{3,}|[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class MeteorError(LongvidError):
    """The METEOR jar failed."""


@dataclass(frozen=True, slots=True)
class MeteorJar:
    """How to start the jar: the Java program, the jar with its `data` folder, and a time-out in seconds."""

    java: Path
    jar: Path
    timeout: float = 900.0


@dataclass(frozen=True, slots=True)
class NotRun:
    """Why METEOR was not run."""

    reason: str


def find_meteor(jar: Path | None = None) -> MeteorJar | NotRun:
    """Find Java and the jar: `jar`, else $LONGVID_METEOR_JAR, else the one pycocoevalcap installs.

    Raises DataError if a named jar is not a file.
    """
    named = jar or (Path(os.environ[JAR_VARIABLE]) if os.environ.get(JAR_VARIABLE) else None)
    if named is not None and not named.is_file():
        msg = f"METEOR jar {named} is not a file: name meteor-1.5.jar, or unset {JAR_VARIABLE}"
        raise DataError(msg)
    found = named or _installed_jar()
    if found is None:
        return NotRun(f"no meteor-1.5.jar: pip install pycocoevalcap, or set {JAR_VARIABLE} to the file")
    java = shutil.which("java")
    if java is None:
        return NotRun("no java on the PATH: METEOR's jar needs Java 8 or newer")
    if not (found.parent / "data" / "paraphrase-en.gz").is_file():
        return NotRun(f"{found} has no data/paraphrase-en.gz beside it")
    return MeteorJar(Path(java), found.resolve())


def _installed_jar() -> Path | None:
    spec = importlib.util.find_spec("pycocoevalcap")
    for folder in spec.submodule_search_locations or () if spec else ():
        jar = Path(folder) / "meteor" / "meteor-1.5.jar"
        if jar.is_file():
            return jar
    return None


def meteor_statistics(corpus: Corpus, meteor: MeteorJar) -> Floats:
    """Return the jar's statistics of each item against its best reference, float64 [N, 23], ready to be summed.

    Raises MeteorError if the jar fails, stalls, loses step or disagrees with `meteor_score`.
    """
    if not len(corpus):
        return np.zeros((0, STATISTICS))
    lines = [
        " ||| ".join(["SCORE", *(_field(text) for text in references), _field(hypothesis)])
        for hypothesis, references in zip(corpus.hypotheses, corpus.references, strict=True)
    ]
    known = np.array(_KNOWN, dtype=np.float64)
    question = " ||| ".join(["EVAL", *(" ".join(map(str, row)) for row in known.tolist())])
    # the jar answers an EVAL line with every segment's score, then with that of their sum
    answers = _ask(meteor, [*lines, question], replies=len(lines) + len(known) + 1)
    _refuse_other_formula(meteor, known, [_numbers(line, 1)[0] for line in answers[len(lines) :]])
    return summable(np.array([_numbers(line, STATISTICS) for line in answers[: len(lines)]]))


def _refuse_other_formula(meteor: MeteorJar, known: Floats, told: Sequence[float]) -> None:
    rows = summable(known)
    expected = meteor_score(np.vstack([rows, rows.sum(axis=0)]))
    for ours, theirs in zip(expected, told, strict=True):
        if abs(theirs - ours) > _AGREEMENT:
            msg = f"{meteor.jar} gives {theirs} where METEOR 1.5 gives {ours:.6f}: use meteor-1.5.jar"
            raise MeteorError(msg)


def summable(statistics: Floats) -> Floats:
    """Adjust statistics [N, 23] of single segments as the jar does before adding them.

    A segment matched completely in a single chunk has no fragmentation, and adds no chunk to a sum.
    """
    matched = statistics[:, 4:_CHUNKS].reshape(-1, 4, 4).sum(axis=1)
    whole = np.all(matched[:, :2] + matched[:, 2:] == statistics[:, 0:2], axis=1) & (statistics[:, _CHUNKS] == 1)
    rows = statistics.copy()
    rows[whole, _CHUNKS] = 0.0
    return rows


def meteor_score(sums: Floats) -> Floats:
    """Return METEOR, float64 [...], of `summable` statistics [..., 23], single or summed; 0 if nothing matches.

    The steps are in the jar's order, so that the figures agree to the last digit.
    """
    stages = sums[..., 4:_CHUNKS].reshape(*sums.shape[:-1], 4, 4)
    matched = np.zeros((*sums.shape[:-1], 2))  # weighted matches of hypothesis and reference
    for columns, share in ((slice(0, 2), _DELTA), (slice(2, 4), 1 - _DELTA)):  # content words, then function words
        for stage, weight in enumerate(_STAGE_WEIGHTS):
            matched = matched + stages[..., stage, columns] * weight * share
    words = _DELTA * (sums[..., 0:2] - sums[..., 2:4]) + (1 - _DELTA) * sums[..., 2:4]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = np.moveaxis(matched / words, -1, 0)
        mean = 1.0 / ((1 - _ALPHA) / precision + _ALPHA / recall)
        fragmentation = sums[..., _CHUNKS] / ((sums[..., 21] + sums[..., 22]) / 2)
        score = mean * (1 - _GAMMA * fragmentation**_BETA)
    return np.asarray(np.maximum(np.nan_to_num(score, nan=0.0), 0.0))


def _field(tokens: Sequence[str]) -> str:
    return " ".join(_NOT_TEXT.sub(" ", " ".join(tokens)).split())


def _numbers(line: str, count: int) -> list[float]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    if len(values) != count:
        msg = f"METEOR's jar answered '{line[:80]}' instead of {count} numbers"
        raise MeteorError(msg)
    return values


def _ask(meteor: MeteorJar, lines: Sequence[str], replies: int) -> list[str]:
    """Run the jar once over `lines` (its own folder is only read) and return its `replies` replies."""
    command = [str(meteor.java), "-Xmx2G", "-Dfile.encoding=UTF-8", "-jar", str(meteor.jar)]
    command += ["-", "-", "-stdio", "-l", "en", "-norm"]
    with tempfile.TemporaryDirectory(prefix="longvid-meteor-") as folder:
        try:
            done = subprocess.run(
                command,
                input="".join(f"{line}\n" for line in lines),
                capture_output=True,
                check=False,
                cwd=folder,
                encoding="utf-8",
                errors="replace",
                timeout=meteor.timeout,
            )
        except subprocess.TimeoutExpired:
            msg = f"METEOR's jar gave no result within {meteor.timeout:g} s for {len(lines)} captions"
            raise MeteorError(msg) from None
        except OSError as error:
            msg = f"{meteor.java} could not be started: {error.strerror}"
            raise MeteorError(msg) from None
    answers = done.stdout.splitlines()
    if done.returncode or len(answers) != replies:
        complaint = (done.stderr.strip().splitlines() or ["no message"])[-1]
        msg = f"METEOR's jar returned {len(answers)} of {replies} results (exit {done.returncode}: {complaint})"
        raise MeteorError(msg)
    return answers
