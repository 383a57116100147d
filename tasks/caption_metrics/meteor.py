"""METEOR 1.5 by its authors' jar: matches come from the jar, never from an approximation.

The jar's per-segment statistics add up over segments; the closing formula (Denkowski & Lavie 2014,
English parameters) is applied here, so that resampling needs no second run; every run asks the
jar for the score of known statistics and refuses a jar that computes another.
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

from tasks.caption_metrics.corpus import Corpus, Floats
from tasks.errors import DataError, LongvidError

JAR_VARIABLE = "LONGVID_METEOR_JAR"
STATISTICS = 23

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_STAGE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
_AGREEMENT = 1e-6
# statistics of our own making in which every parameter of the formula counts
_KNOWN = " ".join(f"{n}.0" for n in (20, 24, 8, 10, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 5, 13, 12))
# a `|||` inside a caption would end its field; other separators and control characters would end the line
_NOT_TEXT = re.compile(r"\|{3,}|[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class MeteorError(LongvidError):
    """The METEOR jar was there and failed."""


@dataclass(frozen=True, slots=True)
class MeteorJar:
    """How to start the jar: the Java program, the jar with its `data` folder, and patience in seconds."""

    java: Path
    jar: Path
    timeout: float = 900.0


@dataclass(frozen=True, slots=True)
class NotRun:
    """Why METEOR has no figure."""

    reason: str


def find_meteor(jar: Path | None = None) -> MeteorJar | NotRun:
    """Find Java and the jar: `jar`, else $LONGVID_METEOR_JAR, else the one pycocoevalcap installs.

    Raises DataError when a jar was named and is not a file.
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
    """The jar's statistics of each item against its best reference, float64 [N, 23].

    Raises MeteorError when the jar fails, stalls, answers out of step or disagrees with `meteor_score`.
    """
    if not len(corpus):
        return np.zeros((0, STATISTICS))
    lines = [
        " ||| ".join(["SCORE", *(_field(text) for text in references), _field(hypothesis)])
        for hypothesis, references in zip(corpus.hypotheses, corpus.references, strict=True)
    ]
    *answers, alone, together = _ask(meteor, [*lines, f"EVAL ||| {_KNOWN}"], replies=len(lines) + 2)
    figure = meteor_score(np.array(_numbers(_KNOWN, STATISTICS)))
    if max(abs(_numbers(line, 1)[0] - figure) for line in (alone, together)) > _AGREEMENT:
        msg = f"{meteor.jar} gives {together} where METEOR 1.5 gives {figure:.6f}: use meteor-1.5.jar"
        raise MeteorError(msg)
    return np.array([_numbers(line, STATISTICS) for line in answers])


def meteor_score(sums: Floats) -> Floats:
    """METEOR, float64 [...], of one segment's or summed statistics [..., 23]; 0 where nothing matches."""
    stages = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4)
    weight = np.array([_DELTA, _DELTA, 1 - _DELTA, 1 - _DELTA])
    # columns: content words of hypothesis and reference, then function words of both
    parts = np.einsum("...sc,s,c->...c", stages, _STAGE_WEIGHTS, weight)
    matched = parts[..., :2] + parts[..., 2:]
    words = _DELTA * (sums[..., 0:2] - sums[..., 2:4]) + (1 - _DELTA) * sums[..., 2:4]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = np.moveaxis(matched / words, -1, 0)
        mean = 1.0 / ((1 - _ALPHA) / precision + _ALPHA / recall)
        fragmentation = sums[..., 20] / ((sums[..., 21] + sums[..., 22]) / 2)
        total = stages.sum(axis=-2)
        whole = np.all(total[..., :2] + total[..., 2:] == sums[..., 0:2], axis=-1) & (sums[..., 20] == 1)
        score = mean * (1 - _GAMMA * np.where(whole, 0.0, fragmentation) ** _BETA)
    return np.asarray(np.maximum(np.nan_to_num(score, nan=0.0), 0.0))


def _field(tokens: Sequence[str]) -> str:
    return " ".join(_NOT_TEXT.sub(" ", " ".join(tokens)).split())


def _numbers(line: str, count: int) -> list[float]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    if len(values) != count:
        msg = f"METEOR's jar answered '{line[:80]}' where {count} numbers were due"
        raise MeteorError(msg)
    return values


def _ask(meteor: MeteorJar, lines: Sequence[str], replies: int) -> list[str]:
    """Run the jar once over `lines` (its own folder is only read) and return its `replies`."""
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
