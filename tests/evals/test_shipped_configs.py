"""The configs for real data, their stages one after the other on real clips, with encoders small enough for a test.

Everything stays as it ships but sizes, counts and paths: the weights that they start from, their kinds of data files,
what is masked, what trains.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from encoders.pretrain.checkpoint import METRICS, read_rows
from encoders.pretrain.settings import SOURCES, StageSettings, read_settings, read_tables
from encoders.shipped import CONFIGS
from encoders.weights import load_encoder
from tests.encoders.v2t.files import write_lm
from tests.evals.conftest import ROOT, longvid

pytestmark = pytest.mark.slow

CAPTIONS = ROOT / "tests" / "data" / "natural_captions.jsonl"
CLIP = {
    "embed_dim": 40,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 5, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 48, "heads": 4, "layers": 1},
}
SMALLER = (
    "training.steps=4",
    "training.warmup=1",
    "training.log=2",
    "training.save=2",
    "training.evaluate=2",
    "data.batch=4",
    "evaluation.videos=4",
    "evaluation.data.batch=2",
)


def write_clip(folder: Path) -> str:
    """A tiny CLIP as open_clip's own folder of weights; what `init` calls it."""
    open_clip = pytest.importorskip("open_clip")
    torch.manual_seed(0)
    model = open_clip.model.CLIP(CLIP["embed_dim"], CLIP["vision_cfg"], CLIP["text_cfg"])
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP, "preprocess_cfg": {}}))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return f"openclip:local-dir:{folder}"


def write_folder(rows: list[dict[str, str]], natural: Path, root: Path) -> Path:
    """Videos with a .txt beside each."""
    folder = root / "folder"
    folder.mkdir()
    for row in rows:
        (folder / row["video"]).symlink_to(natural / row["video"])
        (folder / row["video"]).with_suffix(".txt").write_text(row["caption"], encoding="utf-8")
    return folder


def write_shards(rows: list[dict[str, str]], natural: Path, root: Path) -> Path:
    """Two tars as WebDataset has them."""
    files, folder = write_folder(rows, natural, root), root / "shards"
    folder.mkdir()
    for number in range(2):
        with tarfile.open(folder / f"{number}.tar", "w", dereference=True) as tar:
            for row in rows[number::2]:
                for path in (files / row["video"], (files / row["video"]).with_suffix(".txt")):
                    tar.add(path, path.name)
    return folder


def write_manifest(rows: list[dict[str, str]], natural: Path, root: Path) -> Path:
    """One line a video."""
    path = root / "manifest.jsonl"
    absolute = [{**row, "video": str(natural / row["video"])} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in absolute), encoding="utf-8")
    return path


WRITERS: dict[str, Callable[[list[dict[str, str]], Path, Path], Path]] = {
    "folder": write_folder,
    "shards": write_shards,
    "manifest": write_manifest,
}


def smaller(settings: StageSettings, clip: str, natural: Path, root: Path) -> list[str]:
    """The changes that let a stage run here, its data written in the form that it reads."""
    rows = [json.loads(line) for line in CAPTIONS.read_text(encoding="utf-8").splitlines()]
    source = next(name for name in SOURCES if getattr(settings.data, name))
    root.mkdir()
    path = WRITERS[source](rows, natural, root)
    changes = [*SMALLER, *(f'{data}.{source}.path="{path}"' for data in ("data", "evaluation.data"))]
    changes.append(f"data.{source}.decoders=1")
    if settings.model.init.startswith("openclip:"):
        changes.append(f'model.init="{clip}"')
    if settings.loss.chunk:
        changes.append("loss.chunk=2")
    if settings.stage == "captions":
        changes.append(f'v2t.lm="{write_lm(root)}"')
    return changes


@pytest.mark.parametrize("name", ["vivit-b", "vivit-l"])
def test_the_stages_of_a_config_train_one_after_the_other_on_real_clips(
    name: str, shared_data: Path, tmp_path: Path
) -> None:
    config, natural = CONFIGS / f"{name}.toml", shared_data / "videos" / "natural"
    clip = write_clip(tmp_path / "clip")
    stages = [stage for stage in read_tables(config) if stage != "common"]
    for stage in stages:
        settings = read_settings(config, stage)
        changes = smaller(settings, clip, natural, tmp_path / f"data-{stage}")
        sets = [part for change in changes for part in ("--set", change)]
        done = longvid("pretrain", "--stage", stage, "-c", config, "-o", tmp_path / "out", *sets)
        assert done.returncode == 0, f"{stage}: {done.stderr}"
        rows = read_rows(tmp_path / "out" / stage / METRICS)
        assert [row["kind"] for row in rows] == ["train", "evaluation"] * 2, stage
        assert all(row.get("bad", 0) == 0 for row in rows), stage
    short, long = (load_encoder(next((tmp_path / "out" / s).glob("*.safetensors"))).encoder for s in ("short", "long"))
    assert (short.config.vision.frames, long.config.vision.frames) == (16, 256)
    moved = [
        not short.vision.blocks[layer].attn.proj.weight.equal(long.vision.blocks[layer].attn.proj.weight)
        for layer in range(CLIP["vision_cfg"]["layers"])
    ]
    assert moved == [False, True, True, True, True]
