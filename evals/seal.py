"""The digest that a file holds of its own content: a change by hand shows, however well it fits the schema.

It keeps mistakes out, not forgers: whoever knows the rule can seal anew. `score` does, after looking at the samples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

FIELD = "sha256"


def seal_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of the content without its seal, as JSON with sorted keys."""
    rest = {key: value for key, value in content.items() if key != FIELD}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def changed_by_hand(content: object) -> str | None:
    """What speaks against the content being what was written, None where nothing does."""
    if not isinstance(content, Mapping):
        return None
    sealed = content.get(FIELD)
    if sealed is None:
        return None if content.get("schema_version", 1) == 1 else f"it has no {FIELD}"
    return None if sealed == seal_of(content) else f"its {FIELD} does not fit its content"
