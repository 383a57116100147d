"""The published JSON Schemas: `python -m evals.schema_files` rewrites evals/schemas."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any

from evals.compare.rows import Comparison
from evals.leaderboard.rows import Leaderboard
from evals.record import WALL_CLOCK, Results, Row, Run, Sample
from tasks.resources import resource

FOLDER = resource("evals", "schemas")
KINDS: dict[str, type[Row]] = {
    "run": Run,
    "sample": Sample,
    "results": Results,
    "leaderboard": Leaderboard,
    "comparison": Comparison,
}


def schema_text(kind: type[Row]) -> str:
    """Return a record's JSON Schema as published."""
    return json.dumps(kind.model_json_schema(mode="serialization"), indent=2) + "\n"


def without_wall_clock(row: Row) -> dict[str, Any]:
    """Return a record without its wall-clock fields: the part that does not depend on interruptions."""
    kept = {}
    told = row.model_dump(mode="json")
    for name, field in type(row).model_fields.items():
        if field.json_schema_extra == WALL_CLOCK:
            continue
        value = getattr(row, name)
        kept[name] = without_wall_clock(value) if isinstance(value, Row) else told[name]
        if is_dataclass(value) and not isinstance(value, type):
            timed = {part.name for part in fields(value) if part.metadata.get("json_schema_extra") == WALL_CLOCK}
            kept[name] = {part: told[name][part] for part in told[name] if part not in timed}
    return kept


def main() -> None:
    """Write the schema files."""
    FOLDER.mkdir(exist_ok=True)
    for name, kind in KINDS.items():
        (FOLDER / f"{name}.schema.json").write_text(schema_text(kind), encoding="utf-8")


if __name__ == "__main__":
    main()
