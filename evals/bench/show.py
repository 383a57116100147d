"""A bench's result for people, or as JSON: the same for every bench."""

from __future__ import annotations

from pathlib import Path

from encoders.bench.report import COMPARED, compared
from encoders.bench.result import Result
from evals import console

STANDARD_OUTPUT = Path("-")


def show(result: Result, json: Path | None, extra: str = "") -> None:
    """Tables on standard output, with the machine below; `extra` is a bench's own."""
    if json == STANDARD_OUTPUT:
        console.emit(result.to_json())
        return
    if json is not None:
        json.write_text(result.to_json(), encoding="utf-8")
    if extra:
        console.emit(extra)
    for comparison in result.comparisons:
        console.show_table(comparison.work, COMPARED, [compared(row) for row in comparison.rows], COMPARED[1:5])
    for name, value in result.details.items():
        if isinstance(value, str | int | float):
            console.say(f"{name.replace('_', ' ')}: {value:.3g}" if isinstance(value, float) else f"{name}: {value}")
    machine = result.machine
    threads = "" if machine.threads is None else f", {machine.threads} torch threads"
    busy = "" if machine.busy is None else f", load {machine.busy:.2f} a core before measuring"
    console.say(f"{machine.device}; {machine.processor}, {machine.cores} cores{threads}{busy}")
