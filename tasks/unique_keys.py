"""JSON objects whose keys stand there once: `json` itself keeps the last of equal keys and says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads(…, object_pairs_hook=unique_keys)`. Raises ValueError naming the key that is repeated."""
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            msg = f"the id or key '{name}' stands there twice"
            raise ValueError(msg)
        content[name] = value
    return content
