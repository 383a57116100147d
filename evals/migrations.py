"""Old record files in today's form: one small function for each step of a schema version.

A step takes the parsed JSON of version N and gives that of N + 1; it fills in what the older version did not know with
a value that says so, and never guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from evals.record import Results, Row
from tasks.errors import RecordError

Content = Mapping[str, Any]
Step = Callable[[Content], Content]


def unsealed(content: Content) -> Content:
    """Version 2 of `results.json` has the digest of its own content; one written before has none."""
    return {**content, "schema_version": 2, "sha256": content.get("sha256")}


def without_waiting(content: Content) -> Content:
    """Version 3 has the share of time that the model waited for frames; one written before does not know it."""
    cost = content.get("cost")
    known = {**cost, "frames_wait_share": None} if isinstance(cost, Mapping) else cost
    return {**content, "schema_version": 3, "cost": known}


STEPS: Mapping[type[Row], Mapping[int, Step]] = MappingProxyType({Results: {1: unsealed, 2: without_waiting}})


def migrated(content: Content, kind: type[Row]) -> Content:
    """The content in the version that `kind` has today. Raises RecordError for a version that has no way here."""
    field = kind.model_fields.get("schema_version")
    if field is None:
        return content
    version = content.get("schema_version", 1)
    steps = STEPS.get(kind, {})
    while version != field.default:
        if type(version) is not int or version not in steps:
            msg = f"has schema version {version}, this longvid reads {field.default}"
            raise RecordError(msg)
        content = steps[version](content)
        version += 1
    return content
