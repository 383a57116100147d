"""After the pool a video costs the same however long it is; before it, masking saves memory."""

from __future__ import annotations

import json

import pytest
import torch

from encoders.config import EncoderConfig, TextConfig, preset
from encoders.dual import build_encoder
from encoders.v2t.model import Connector, VideoToText, build_connector, config_for, spatial_tokens
from encoders.vit import VisionTower, sample_keep_each
from lab.bench.video_to_text import VideoToTextCost, bench_video_to_text, peak_live_bytes
from tests.encoders.causal_lm.tiny import byte_tokenizer, llama
from tests.encoders.small import vision
from tests.encoders.v2t.files import write_lm
from tests.evals.conftest import longvid


@pytest.fixture(scope="module")
def costs() -> dict[tuple[int, float], VideoToTextCost]:
    config = vision(frames=256, depth=1)
    text = TextConfig(width=32, depth=1, heads=2, mlp=64, vocabulary=260, context=32)
    tower = build_encoder(EncoderConfig("small", config, text, embed=24)).eval().vision
    lm = llama()
    model = VideoToText(tower, build_connector(config_for(config, lm.config)).eval(), lm)
    rows = bench_video_to_text(model, byte_tokenizer(), words=8, repeats=1)
    return {(row.frames, row.mask): row for row in rows}


def test_memory_after_the_pool_does_not_grow_with_the_frames(costs: dict[tuple[int, float], VideoToTextCost]) -> None:
    assert {row.pooled for row in costs.values()} == {16}
    assert len({row.answer_bytes for row in costs.values()}) == 1
    assert costs[256, 0.0].look_bytes > 10 * costs[16, 0.0].look_bytes


def test_masking_saves_its_share_of_the_tokens_and_about_as_much_memory(
    costs: dict[tuple[int, float], VideoToTextCost],
) -> None:
    whole, masked = costs[256, 0.0], costs[256, 0.3]
    assert (whole.tokens, masked.tokens) == (2048, round(0.7 * 2048))
    assert masked.look_bytes < 0.8 * whole.look_bytes


@pytest.mark.slow
def test_time_after_the_pool_does_not_grow_with_the_frames() -> None:
    lm = llama()
    config = preset("longvivit-tiny").vision
    model = VideoToText(VisionTower(config).eval(), build_connector(config_for(config, lm.config)).eval(), lm)
    rows = {row.frames: row for row in bench_video_to_text(model, byte_tokenizer(), masks=(0.0,), repeats=9)}
    assert rows[256].answer_seconds < 1.5 * rows[16].answer_seconds
    assert rows[256].look_seconds > 5 * rows[16].look_seconds


def test_vit_l_on_256_frames_holds_a_third_less_with_30_percent_masked() -> None:
    config = preset("longvivit-l").vision
    with torch.device("meta"):
        tower = VisionTower(config).eval()
        pixels = torch.empty(1, 256, 224, 224, 3, dtype=torch.uint8)

    def look(mask: float) -> int:
        keep = sample_keep_each(config, (256, 224, 224), mask, [0])
        keep = None if keep is None else keep.to("meta")
        with torch.inference_mode():
            return peak_live_bytes(lambda: spatial_tokens(tower(pixels, keep), 196))

    assert look(0.3) == pytest.approx(0.7 * look(0.0), rel=0.1)


def test_the_connector_on_the_meta_device_needs_as_much_for_any_video() -> None:
    config = config_for(preset("longvivit-l").vision, llama().config)
    with torch.device("meta"):
        connector = Connector(config)
        pooled = torch.empty(1, 196, 1024)
    with torch.inference_mode():
        assert peak_live_bytes(lambda: connector(pooled)) > 4 * 1024 * (64 + 196)


def test_peak_memory_counts_what_is_alive_at_once_and_views_once() -> None:
    def one_after_the_other() -> torch.Tensor:
        for _ in range(4):
            kept = torch.ones(1000)
        return kept.view(10, 100).t()

    def together() -> list[torch.Tensor]:
        return [torch.ones(1000) for _ in range(4)]

    assert peak_live_bytes(together) == 16_000
    assert 4_000 <= peak_live_bytes(one_after_the_other) <= 8_000


@pytest.mark.slow
def test_the_command_prints_a_row_for_each_frame_count_and_mask(tmp_path) -> None:
    spec = write_lm(tmp_path)
    arguments = ["--model", "longvivit-tiny", "--llm", spec, "--frames", "2", "--frames", "4", "--repeats", "1"]
    done = longvid("bench", "video-to-text", *arguments, "--device", "cpu", "--json", "-")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["details"]["costs"]
    assert [(row["frames"], row["mask"]) for row in rows] == [(2, 0.0), (2, 0.3), (4, 0.0), (4, 0.3)]
