"""`longvid pretrain --stage captions`: from a config file to a checkpoint that the model `v2t` takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from encoders.pretrain.checkpoint import METRICS, read_rows
from tasks.registry import build_model
from tests.encoders.pretrain.test_captions import stage
from tests.evals.conftest import assert_one_line, longvid


def test_a_config_becomes_a_checkpoint_that_finds_its_parts(tmp_path: Path) -> None:
    config = stage(tmp_path)
    out = tmp_path / "out"
    done = longvid("pretrain", "--stage", "captions", "--config", str(config), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert [row["step"] for row in read_rows(out / "captions" / METRICS) if row["kind"] == "train"] == [1, 2]
    record = json.loads((out / "captions" / "run.json").read_text())
    assert record["facts"]["llm"] == "tiny-llama"
    assert 0 < record["facts"]["trainable"] < record["facts"]["parameters"]
    options = {"weights": str(out / "captions" / "spoken.safetensors"), "parts": str(tmp_path)}
    assert build_model("v2t", options).info.name == "longvivit-tiny+v2t"
    again = longvid("pretrain", "--stage", "captions", "--config", str(config), "--out", str(out))
    assert_one_line(again, "add --resume to continue it")
