"""What runs must share to be compared: the items, which frames were looked at, the route, the prompt, the parser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evals.compare.record import Record
from evals.compare.rows import Mismatch
from tasks.errors import RecordError

FRAMES = "frames_"
NONE = "none recorded"
DIGEST = " sha256"
DIGEST_SHOWN = 12


def mismatches(first: Record, other: Record) -> tuple[Mismatch, ...]:
    """All that differs between two runs' protocols, with both values; a digest only where its text's name is equal."""
    ours, theirs = facts(first), facts(other)
    names = [what for what in dict.fromkeys((*ours, *theirs)) if ours.get(what, NONE) != theirs.get(what, NONE)]
    return tuple(
        Mismatch(what=what, first=ours.get(what, NONE), other=theirs.get(what, NONE))
        for what in names
        if what.removesuffix(DIGEST) not in names or not what.endswith(DIGEST)
    )


def facts(record: Record) -> dict[str, str]:
    """A run's protocol by name: task and item set, frame policy, and all that the task calls its protocol."""
    task = record.run.task
    protocol = dict(record.run.protocol)
    # Replies are read again by `score`: the parser that counts is the one of results.json.
    if "parser" in protocol and record.results is not None:
        protocol["parser"] = str(record.results.details.get("parser", protocol["parser"]))
    digests = {key: value[:DIGEST_SHOWN] for key, value in protocol.items() if key.endswith("sha256")}
    return {
        "task": f"{task.name} (version {task.version})",
        "item set": task.items_sha256[:DIGEST_SHOWN],
        "frame policy": frame_policy(record),
        **{key.replace("_", " "): value for key, value in {**protocol, **digests}.items()},
    }


def frame_policy(record: Record) -> str:
    """The frame policy in words; where none is recorded, how many frames were, if any."""
    told = {key.removeprefix(FRAMES): v for key, v in record.run.model.details.items() if key.startswith(FRAMES)}
    if told:
        return ", ".join(f"{key} {value}" for key, value in sorted(told.items()))
    counts = [sample.frames.count for sample in record.samples.values() if sample.frames is not None]
    return f"unknown ({sum(counts) / len(counts):.1f} frames a clip)" if counts else NONE


def require_same_figure(records: Sequence[Record]) -> None:
    """Raise RecordError where runs have no figure in common: nothing can allow that."""
    kinds = {record.name: (record.run.task.family, record.run.task.primary_metric) for record in records}
    if len(set(kinds.values())) > 1:
        said = ", ".join(f"{name} ({family}, {metric})" for name, (family, metric) in kinds.items())
        raise RecordError(f"these runs have no figure in common: {said}")


def refuse(first: Record, found: Mapping[str, Sequence[Mismatch]]) -> None:
    """Raise RecordError naming, run by run, what differs from the first, with both values."""
    said = [
        f"{name}: " + "; ".join(f"{row.what} is {row.other}, not {row.first}" for row in rows)
        for name, rows in found.items()
        if rows
    ]
    if said:
        raise RecordError(
            f"these runs are not comparable with {first.name}: {' | '.join(said)}. --allow-mismatch compares them "
            f"nevertheless, and says so in the result"
        )
