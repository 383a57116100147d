"""The unpacked copy of a GGUF file is used only while it is what was unpacked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from encoders.causal_lm import load as dense
from encoders.causal_lm.load import DIGESTS, dense_folder


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """How often a copy was made; it holds two small files."""
    made: list[Path] = []

    def unpack(gguf: Path, folder: Path, dtype: torch.dtype) -> None:
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "config.json").write_text("{}")
        made.append(folder)

    monkeypatch.setenv("LONGVID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(dense, "_unpack", unpack)
    return made


def folder_of(tmp_path: Path) -> Path:
    return dense_folder(tmp_path / "any.gguf", "d" * 64, torch.bfloat16)


def test_an_untouched_copy_is_made_once(unpacked: list[Path], tmp_path: Path) -> None:
    assert folder_of(tmp_path) == folder_of(tmp_path)
    assert len(unpacked) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.safetensors").write_bytes(b"Weights"),
        lambda folder: (folder / "model.safetensors").write_bytes(b"weigh"),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "tokenizer.json").write_text("added"),
        lambda folder: (folder / DIGESTS).unlink(),
        lambda folder: (folder / DIGESTS).write_text("{"),
    ],
    ids=["changed", "cut", "lost", "added", "of an older version", "broken digests"],
)
def test_any_other_copy_is_made_again(unpacked: list[Path], tmp_path: Path, damage: Callable[[Path], object]) -> None:
    damage(folder_of(tmp_path))
    folder = folder_of(tmp_path)
    assert len(unpacked) == 2
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
