"""Encoders as models for the tasks: real clips in, unit vectors out, with their traces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from encoders.build import build_preset, check_family
from encoders.config import PRESETS, preset
from encoders.device import to_device
from encoders.models import LONG, SHORT, PresetOptions, frame_policy
from encoders.sampling import FramePolicy
from encoders.task_model import EncoderModel, Runtime, pad_to_multiple
from encoders.tokens import byte_tokenizer
from encoders.video_errors import VideoError
from encoders.weights import load_encoder, save_encoder
from tasks.egoschema import PROMPTS
from tasks.errors import ModelError
from tasks.model import VideoTextEncoder
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask, item_set_digest
from tasks.routes import Route
from tasks.task import Clip, TaskInfo

FAMILIES = ("imagevit-tiny", "shortvivit-tiny", "longvivit-tiny", "factorized-tiny")


def model(name: str = "shortvivit-tiny", **options: object) -> EncoderModel:
    return build_preset(name, PresetOptions(weights="random", dtype="float32", **options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clips(shared_data: Path) -> list[Clip]:
    folder = shared_data / "videos" / "natural"
    return [
        Clip("pancake", 0.0, 9.0, folder / "flipping_a_pancake_10s.mkv"),
        Clip("frying", 0.0, 2.0, folder / "ego_frying_2s.mp4"),
        Clip("bottles", 3.0, 30.0, folder / "bottles_40s.mp4"),
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_embeds_clips_and_texts_into_one_space(name: str, clips: list[Clip]) -> None:
    encoder = model(name)
    videos, texts = encoder.embed_video(clips), encoder.embed_text(["a pancake", "a bottle"])
    assert isinstance(encoder, VideoTextEncoder)
    assert videos.vectors.shape == (3, 128)
    assert texts.vectors.shape == (2, 128)
    np.testing.assert_allclose(np.linalg.norm(videos.vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(texts.vectors, axis=1), 1, atol=1e-5)


def test_a_batch_gives_what_each_clip_gives_alone_and_different_clips_differ(clips: list[Clip]) -> None:
    together = model("longvivit-tiny").embed_video(clips).vectors
    encoder = model("longvivit-tiny")
    alone = np.concatenate([encoder.embed_video([clip]).vectors for clip in clips])
    np.testing.assert_allclose(together, alone, atol=2e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_a_trace_tells_the_frames_their_times_and_the_seconds_spent(clips: list[Clip]) -> None:
    trace = model(frames=4).embed_video(clips[:1]).traces[0]
    assert trace.frames is not None
    assert trace.frames.count == 4
    assert trace.frames.seconds == pytest.approx((1.125, 3.375, 5.625, 7.875))
    assert trace.frames.share_of_clip == 1.0
    assert set(trace.seconds) == {"decode", "wait", "encode"}


def test_a_clip_that_was_the_last_one_is_not_looked_at_again_and_says_so(clips: list[Clip]) -> None:
    encoder = model(frames=4)
    first, again, other = (encoder.embed_video([clip]) for clip in (clips[0], clips[0], clips[1]))
    np.testing.assert_array_equal(again.vectors, first.vectors)
    assert again.traces[0].seconds == {}
    assert again.traces[0].frames == first.traces[0].frames
    assert again.traces[0].notes["video"] == "seen for the item before"
    assert "video" not in other.traces[0].notes


def test_questions_of_one_batch_about_one_clip_look_at_it_once(clips: list[Clip]) -> None:
    seen = model(frames=4).embed_video([clips[0], clips[1], clips[0]])
    np.testing.assert_array_equal(seen.vectors[0], seen.vectors[2])
    assert np.abs(seen.vectors[0] - seen.vectors[1]).max() > 1e-3
    assert [set(trace.seconds) for trace in seen.traces] == [{"decode", "wait", "encode"}] * 2 + [set()]


def test_clips_known_beforehand_embed_the_same_and_are_decoded_once(clips: list[Clip]) -> None:
    encoder, plain = model(frames=4), model(frames=4)
    asked = [clips[0], clips[0], clips[1], clips[2]]
    with encoder.looking_ahead(asked):
        found = [encoder.embed_video([clip]) for clip in asked]
    np.testing.assert_array_equal(
        np.concatenate([one.vectors for one in found]), np.concatenate([plain.embed_video([c]).vectors for c in asked])
    )
    assert [bool(one.traces[0].seconds) for one in found] == [True, False, True, True]


def test_full_batches_are_wanted_on_a_gpu_and_single_clips_on_a_cpu() -> None:
    cpu, gpu = (Runtime(torch.device(name), torch.float32, batch=4) for name in ("cpu", "cuda"))
    assert (cpu.batch_hint.batch, gpu.batch_hint.batch) == (1, 4)


def test_pixels_reach_the_device_as_the_bytes_they_are(monkeypatch: pytest.MonkeyPatch, clips: list[Clip]) -> None:
    sent = []

    def noted(pixels: np.ndarray, device: torch.device) -> torch.Tensor:
        sent.append(pixels)
        return to_device(pixels, device)

    monkeypatch.setattr("encoders.task_model.to_device", noted)
    model(frames=4).embed_video(clips[:1])
    assert [(pixels.dtype, pixels.shape) for pixels in sent] == [(np.uint8, (1, 4, 64, 64, 3))]


def test_one_shape_of_batches_is_kept_for_cuda_graphs_alone() -> None:
    def rows(device: str, policy: FramePolicy, **options: bool) -> int | None:
        return Runtime(torch.device(device), torch.bfloat16, batch=4, **options).rows(policy)

    assert rows("cuda", SHORT, compile=True) == 4
    assert rows("cuda", LONG, compile=True) is None  # lengths vary
    assert rows("cuda", SHORT) is None
    assert rows("cpu", SHORT, compile=True) is None


def test_a_batch_filled_up_to_one_shape_gives_the_same_vectors(clips: list[Clip]) -> None:
    plain, full = model(frames=4), model(frames=4)
    seen = []
    full._rows, embed = 5, full._embed
    full._embed = lambda batch: seen.append(len(batch)) or embed(batch)
    np.testing.assert_allclose(full.embed_video(clips).vectors, plain.embed_video(clips).vectors, atol=2e-5)
    assert seen == [5]


def test_a_text_says_how_long_it_took() -> None:
    first, second = model().embed_text(["a pan", "an onion"]).traces
    assert first.seconds["text"] == second.seconds["text"] > 0


def test_a_cut_clip_says_what_share_was_seen(clips: list[Clip]) -> None:
    encoder = model("longvivit-tiny", fps=1.0, cap=6, beyond_cap="cut")
    frames = encoder.embed_video(clips[2:]).traces[0].frames
    assert frames is not None
    assert frames.share_of_clip == pytest.approx(6 / 27)


def test_an_odd_number_of_frames_repeats_its_last_and_notes_it(clips: list[Clip]) -> None:
    trace = model("longvivit-tiny", fps=1.0).embed_video([clips[0]]).traces[0]
    assert trace.frames is not None
    assert (trace.frames.count, trace.notes["last_frame_repeated"]) == (9, 1)


def test_padding_is_none_where_the_count_divides() -> None:
    pixels = np.zeros((4, 2, 2, 3), dtype=np.uint8)
    assert pad_to_multiple(pixels, 2) is pixels
    assert len(pad_to_multiple(pixels, 8)) == 8


def test_a_clip_without_a_file_is_an_error_that_names_it() -> None:
    with pytest.raises(VideoError, match="nowhere"):
        model().embed_video([Clip("nowhere", 0, 10)])


def test_a_long_text_is_pooled_from_chunks_and_says_so() -> None:
    notes = model().embed_text(["word " * 400, "short"]).traces
    assert isinstance(notes[0].notes["text_chunks"], int)
    assert notes[0].notes["text_chunks"] > 1
    assert "text_chunks" not in notes[1].notes


def test_multiple_choice_is_answered_by_similarity(clips: list[Clip]) -> None:
    items = [ChoiceItem(clip.video_id, clip.video_id, clip, "What?", ("a", "b", "c"), 1) for clip in clips]
    info = TaskInfo("toy", "multiple-choice", "1", 3, item_set_digest(items), "accuracy", 1 / 3, "v", "-", "-", "-")
    task, encoder = MultipleChoiceTask(info, items, PROMPTS), model()
    task.check(encoder)
    predictions = task.predict(encoder, items)
    assert task.protocol(encoder)["route"] == Route.SIMILARITY
    texts = encoder.embed_text([f"What? Is it '{letter}'" for letter in "abc"]).vectors
    expected = encoder.embed_video(clips).vectors @ texts.T
    np.testing.assert_allclose([p.option_scores for p in predictions], expected, atol=2e-5)
    assert [p.answer for p in predictions] == expected.argmax(1).tolist()


def test_saved_weights_embed_as_the_encoder_they_came_from(clips: list[Clip], tmp_path: Path) -> None:
    from encoders.dual import build_encoder

    encoder = build_encoder(preset("shortvivit-tiny"), seed=5)
    digest = save_encoder(encoder, byte_tokenizer(), tmp_path / "e.safetensors")
    options = PresetOptions(weights=str(tmp_path / "e.safetensors"), dtype="float32")
    loaded = build_preset("shortvivit-tiny", options)
    assert loaded.info.weights_sha256 == digest
    expected = model(seed=5).embed_video(clips[:1]).vectors
    np.testing.assert_array_equal(loaded.embed_video(clips[:1]).vectors, expected)


def test_weights_of_another_family_are_refused_with_what_differs(tmp_path: Path) -> None:
    from encoders.dual import build_encoder

    save_encoder(build_encoder(preset("factorized-tiny")), byte_tokenizer(), tmp_path / "e.safetensors")
    with pytest.raises(ModelError, match="attention factorized instead of joint"):
        build_preset("shortvivit-tiny", PresetOptions(weights=str(tmp_path / "e.safetensors")))


def test_short_weights_serve_the_long_encoder_by_interpolated_positions(clips: list[Clip], tmp_path: Path) -> None:
    from encoders.dual import build_encoder

    save_encoder(build_encoder(preset("shortvivit-tiny")), byte_tokenizer(), tmp_path / "e.safetensors")
    check_family(load_encoder(tmp_path / "e.safetensors").encoder.config, preset("longvivit-tiny"), "e")
    long = build_preset("longvivit-tiny", PresetOptions(weights=str(tmp_path / "e.safetensors"), frames=32))
    frames = long.embed_video(clips[:1]).traces[0].frames
    assert frames is not None
    assert frames.count == 32


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ModelError, match="cuda:7"):
        model(device="cuda:7")


def test_the_record_holds_parameters_digest_and_frame_policy() -> None:
    info = model("longvivit-tiny").info
    assert info.parameters is not None
    assert info.weights_sha256 is not None
    assert (info.details["frames_fps"], info.details["frames_cap"]) == (1.0, 256)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_look_at_16_frames_and_the_long_ones_at_up_to_256(name: str) -> None:
    own = LONG if name.startswith("longvivit") else SHORT
    policy = frame_policy(PresetOptions(weights="random"), own, 64)
    assert (policy.count, policy.fps, policy.cap) == ((None, 1.0, 256) if own is LONG else (16, None, None))


def test_frames_and_fps_together_are_refused() -> None:
    with pytest.raises(ModelError, match="exactly one"):
        frame_policy(PresetOptions(weights="random", frames=8, fps=1.0), SHORT, 64)


@pytest.mark.gpu
def test_the_gpu_gives_the_cpus_vectors(clips: list[Clip]) -> None:
    on_cpu, on_gpu = (model("longvivit-tiny", device=device).embed_video(clips).vectors for device in ("cpu", "cuda"))
    assert torch.cuda.is_available()
    np.testing.assert_allclose(on_cpu, on_gpu, atol=2e-3)
