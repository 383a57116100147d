"""Shipping: weights and training record of finished stages, together or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encoders.shipped import SHIPPED
from evals.ship import RECORD_SUFFIX, ship
from tasks.digests import file_sha256
from tasks.errors import RecordError


def write_stage(folder: Path, name: str, *, done: int = 2, weights: str | None = None) -> Path:
    """A stage of two steps, of which `done` are in its record; `weights` defaults to NAME.safetensors."""
    folder.mkdir(parents=True)
    run = {"settings": {"name": name, "seed": 3, "training": {"steps": 2}}, "facts": {}, "torch_threads": 1}
    (folder / "run.json").write_text(json.dumps(run))
    rows = [{"step": step + 1, "kind": "train", "loss": 1.23456789, "seconds": 0.5} for step in range(done)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / (weights or f"{name}.safetensors")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(name.encode())
    return folder


def test_weights_are_copied_with_a_record_of_settings_metrics_and_digest(tmp_path: Path) -> None:
    stage = write_stage(tmp_path / "short", "eye")
    for beside in ("eye.json", "eye.tokenizer.json", "eyelid.safetensors"):
        (stage / beside).write_text("{}")
    ship([stage], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "eye.json",
        "eye.safetensors",
        "eye.tokenizer.json",
        f"eye{RECORD_SUFFIX}",
    ]
    record = json.loads((tmp_path / "out" / f"eye{RECORD_SUFFIX}").read_text())
    assert record["weights_sha256"] == file_sha256(tmp_path / "out" / "eye.safetensors")
    assert (record["settings"]["seed"], record["seconds"]) == (3, 1.0)
    assert [(row["step"], row["loss"]) for row in record["metrics"]] == [(1, 1.2346), (2, 1.2346)]


def test_a_training_in_parts_has_the_metrics_of_all_parts_of_its_name(tmp_path: Path) -> None:
    for stage, name, init in (("short", "ear", "scratch"), ("long", "eye", "short"), ("last", "eye", "long")):
        folder = write_stage(tmp_path / stage, name)
        run = json.loads((folder / "run.json").read_text())
        run["settings"]["model"] = {"init": init}
        (folder / "run.json").write_text(json.dumps(run))
    ship([tmp_path / "last", tmp_path / "short"], tmp_path / "out")
    record = json.loads((tmp_path / "out" / f"eye{RECORD_SUFFIX}").read_text())
    assert [part["stage"] for part in record["earlier"]] == ["long"]
    assert record["earlier"][0]["metrics"] == record["metrics"]
    assert record["earlier"][0]["seconds"] == record["seconds"] == 1.0
    assert "earlier" not in json.loads((tmp_path / "out" / f"ear{RECORD_SUFFIX}").read_text())


def test_all_that_ships_has_the_training_record_of_these_very_weights() -> None:
    weights = {path.stem: path for path in SHIPPED.glob("*.safetensors")}
    weights |= {path.parent.name: path for path in SHIPPED.glob("*/model.safetensors")}
    assert len(weights) >= 8
    for name, path in weights.items():
        record = json.loads((SHIPPED / f"{name}{RECORD_SUFFIX}").read_text())
        assert record["weights_sha256"] == file_sha256(path), name
        assert record["settings"]["name"] == name
        assert record["metrics"][-1]["step"] == record["settings"]["training"]["steps"]


def test_a_language_model_is_copied_as_a_folder_in_place_of_an_older_one(tmp_path: Path) -> None:
    stage = write_stage(tmp_path / "lm", "words", weights="words/model.safetensors")
    old = tmp_path / "out" / "words"
    old.mkdir(parents=True)
    (old / "stale.json").touch()
    ship([stage], tmp_path / "out")
    assert [path.name for path in old.iterdir()] == ["model.safetensors"]
    record = json.loads((tmp_path / "out" / f"words{RECORD_SUFFIX}").read_text())
    assert record["weights_sha256"] == file_sha256(old / "model.safetensors")


@pytest.mark.parametrize("fault", ["unfinished", "no weights", "no stage"])
def test_nothing_is_copied_where_one_stage_is_not_finished(tmp_path: Path, fault: str) -> None:
    whole = write_stage(tmp_path / "image", "eye")
    other = write_stage(tmp_path / "short", "ear", done=1 if fault == "unfinished" else 2)
    if fault == "no weights":
        (other / "ear.safetensors").unlink()
    if fault == "no stage":
        (other / "run.json").unlink()
    with pytest.raises(RecordError, match=r"not finished|not the folder of a training stage"):
        ship([whole, other], tmp_path / "out")
    assert not (tmp_path / "out").exists()
