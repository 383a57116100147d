"""Captions through the engine: the loss on text alone, resumed to the bit, the frozen models untouched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from encoders.pretrain.captions import (
    CaptionCollate,
    CaptionStep,
    CaptionTexts,
    WatchedClips,
    caption_sums,
    watch_once,
)
from encoders.pretrain.checkpoint import METRICS, WALL_CLOCK, Plan, checkpoints, read_rows
from encoders.pretrain.data import Loader, TextView
from encoders.pretrain.engine import Watch, train
from encoders.pretrain.settings import read_settings
from encoders.pretrain.stages import prepare
from encoders.pretrain.step import Job, Request
from encoders.pretrain.world import World
from encoders.v2t.speak import Decoding, generate
from encoders.v2t.text import caption_rows
from encoders.v2t.weights import load_connector, read_description
from encoders.weights import read_tensors
from tasks.errors import DataError, ModelError
from tests.encoders.causal_lm.tiny import byte_tokenizer
from tests.encoders.pretrain.toy import ToySource, toy_sample
from tests.encoders.small import encoder, generator
from tests.encoders.v2t.files import ENCODER, write_all
from tests.encoders.v2t.small import PLACES, model, spatial

TOKENIZER = byte_tokenizer()
TEXTS = CaptionTexts(TOKENIZER, limit=64)
CAPTIONS = ("an egg is fried", "a dog")
PLAN = Plan(steps=6, lr=1e-3, warmup=1, log=1, save=2, dtype="float32")


def job(world: World | None = None, mask: float = 0.3, broken: frozenset[int] = frozenset()) -> Job:
    v2t = model(gate=0.0)
    collate = CaptionCollate(encoder().config.vision, TEXTS, mask)
    return Job(CaptionStep(v2t), Loader(ToySource(broken=broken), 4, collate, seed=0, world=world or World()))


def watched_job(world: World | None = None) -> Job:
    clips = WatchedClips(
        spatial(6)[:, None], tuple((TextView(f"number {i} " * (i + 1)),) for i in range(6)), TEXTS, 4, 0
    )
    return Job(CaptionStep(model(gate=0.0)), replace(clips, world=world or World()))


def told(words: Sequence[str]) -> tuple[tuple[TextView, ...], ...]:
    return tuple((TextView(word),) for word in words)


def curve(run: Path) -> list[dict[str, object]]:
    return [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in read_rows(run / METRICS)]


def state(run: Path) -> dict[str, torch.Tensor]:
    last = checkpoints(run)[-1]
    return {**read_tensors(last / "model.safetensors"), **read_tensors(last / "optimiser.safetensors")}


def test_the_loss_covers_captions_and_their_end_but_no_prompt_and_no_padding() -> None:
    rows = caption_rows(TOKENIZER, "Say:", CAPTIONS, 64)
    for caption, ids, target in zip(CAPTIONS, rows.ids, rows.target, strict=True):
        assert ids[target].tolist() == [*TOKENIZER(f" {caption}")["input_ids"], TOKENIZER.eos_token_id]
    logits = torch.randn(*rows.ids.shape, len(TOKENIZER), generator=generator())
    losses, hits, tokens = caption_sums(logits, rows)
    outside = logits.clone()
    outside[:, :-1][~rows.target[:, 1:]] = 7.0
    assert torch.equal(caption_sums(outside, rows)[0], losses)
    places = [(row, at) for row, at in rows.target.nonzero().tolist()]
    by_hand = [-logits[row, at - 1].log_softmax(-1)[rows.ids[row, at]] for row, at in places]
    torch.testing.assert_close(losses, torch.stack(by_hand).sum())
    assert tokens == len(places) == sum(map(len, CAPTIONS)) + 2 * len(CAPTIONS)
    assert hits == sum(int(logits[row, at - 1].argmax() == rows.ids[row, at]) for row, at in places)


def test_what_is_learnt_to_say_follows_the_pixels(tmp_path: Path) -> None:
    captions = ["red", "fry", "boil"]
    videos = torch.stack([torch.from_numpy(toy_sample(Request(i, 0)).pixels) for i in (0, 5, 10)])
    v2t = model(gate=0.0)
    tokens = watch_once(v2t, list(videos), 0.0, 1, seed=0)
    clips = WatchedClips(tokens, told(captions), TEXTS, 3, 0)
    plan = Plan(
        steps=200, lr=1e-2, warmup=5, log=200, save=200, dtype="float32", weight_decay=0.0, rates={"*.gate": 10.0}
    )
    train(Job(CaptionStep(v2t), clips), plan, tmp_path, seed=0)

    @torch.no_grad()
    def written(pixels: torch.Tensor) -> list[str]:
        memory = v2t.eval().connector(v2t.watch(pixels))
        return [caption.text for caption in generate(v2t, TOKENIZER, memory, [""] * 3, Decoding(8))]

    assert written(videos) == captions
    assert written(videos.roll(1, 0)) == [captions[-1], *captions[:-1]]
    assert not set(written(torch.zeros_like(videos))) & set(captions)


@pytest.mark.parametrize("make", [job, watched_job])
def test_an_interrupted_training_continues_to_the_bit(tmp_path: Path, make) -> None:
    class StoppedError(Exception):
        pass

    def stop(at: int, _loss: float) -> None:
        if at == 3:
            raise StoppedError

    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    train(make(), PLAN, tmp_path / "whole", seed=0)
    with pytest.raises(StoppedError):
        train(make(), PLAN, tmp_path / "broken", seed=0, watch=Watch(step=stop))
    train(make(), PLAN, tmp_path / "broken", seed=0)
    assert curve(tmp_path / "broken") == curve(tmp_path / "whole")
    expected = state(tmp_path / "whole")
    assert all(torch.equal(value, expected[name]) for name, value in state(tmp_path / "broken").items())


def test_a_checkpoint_holds_the_connector_only_and_the_frozen_models_do_not_move(tmp_path: Path) -> None:
    made = job()
    before = {name: p.detach().clone() for name, p in made.step.named_parameters()}
    train(made, PLAN, tmp_path, seed=0)
    stored = set(read_tensors(checkpoints(tmp_path)[-1] / "model.safetensors"))
    moved = {name for name, p in made.step.named_parameters() if not torch.equal(p, before[name])}
    assert stored == {name for name in before if name.startswith("model.connector.")}
    assert moved <= stored
    assert len(moved) > 0.9 * len(stored)


def test_the_record_has_a_line_for_each_step_with_loss_accuracy_and_rate(tmp_path: Path) -> None:
    train(job(), PLAN, tmp_path, seed=0)
    rows = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 7))
    assert all({"loss", "token_accuracy", "lr", "gradient_norm", "memory_bytes"} <= set(row) for row in rows)


def test_bfloat16_training_has_nearly_the_loss_of_float32(tmp_path: Path) -> None:
    for dtype in ("bfloat16", "float32"):
        (tmp_path / dtype).mkdir()
        train(job(), replace(PLAN, dtype=dtype), tmp_path / dtype, seed=0)
    one, other = curve(tmp_path / "bfloat16")[0], curve(tmp_path / "float32")[0]
    assert one["loss"] == pytest.approx(other["loss"], rel=0.02)
    assert one != other
    assert all(value.dtype == torch.float32 for value in state(tmp_path / "bfloat16").values())


def test_what_can_not_be_read_is_left_out_of_the_batch_and_named(tmp_path: Path) -> None:
    collate = CaptionCollate(encoder().config.vision, TEXTS, 0.3)
    samples = [toy_sample(Request(i, i)) for i in range(2)]
    batch = collate([samples[0], None, samples[1]], [5, 6, 7])
    assert len(batch.video) == len(batch.rows.ids) == 2
    assert train(job(broken=frozenset({3})), PLAN, tmp_path, seed=0).bad > 0


def test_a_samples_mask_does_not_depend_on_its_batch() -> None:
    collate = CaptionCollate(encoder().config.vision, TEXTS, 0.3)
    samples = [toy_sample(Request(i, i)) for i in range(2)]
    together, alone = collate(samples, [5, 6]), collate(samples[1:], [6])
    assert together.keep is not None
    assert alone.keep is not None
    assert torch.equal(together.keep[1], alone.keep[0])
    assert together.keep.shape[1] == round(0.7 * 4 * PLACES)
    assert CaptionCollate(encoder().config.vision, TEXTS)(samples, [5, 6]).keep is None


def test_clips_watched_once_have_the_tokens_of_watching_them_each_time() -> None:
    v2t = model()
    videos = [torch.from_numpy(toy_sample(Request(i, i)).pixels) for i in range(3)]
    once = watch_once(v2t, videos, 0.0, 4, seed=0)
    assert once.shape == (3, 1, PLACES, 48)
    torch.testing.assert_close(once[:, 0], v2t.watch(torch.stack(videos)), atol=1e-5, rtol=0)
    masked = watch_once(v2t, videos, 0.3, 4, seed=0)
    assert masked.shape == (3, 4, PLACES, 48)
    assert (masked[0, 0] - masked[0, 1]).abs().max() > 1e-3
    assert torch.equal(masked, watch_once(v2t, videos, 0.3, 4, seed=0))


def test_clips_without_captions_and_batches_that_do_not_divide_are_refused() -> None:
    with pytest.raises(DataError, match="2 clips do not go with 3 captions"):
        WatchedClips(spatial(2)[:, None], told("abc"), TEXTS, 2, 0)
    with pytest.raises(DataError, match="batch of 3 does not go with 2 clips"):
        WatchedClips(spatial(2)[:, None], told("ab"), TEXTS, 3, 0)


def test_over_time_a_clip_is_told_in_each_of_its_words_behind_their_own_prompts() -> None:
    views = (TextView("whole"), TextView("yes", prompt="is it?"))
    batches = WatchedClips(spatial(4)[:, None], (views,) * 4, TEXTS, 4, 0)(0)
    seen = {tuple(row.tolist()) for _ in range(6) for row in next(batches).batch.rows.ids}
    expected = {tuple(row[row != TOKENIZER.eos_token_id].tolist()) for view in views for row in TEXTS.rows([view]).ids}
    assert {tuple(token for token in row if token != TOKENIZER.eos_token_id) for row in seen} == expected


def worker(rank: int, address: str, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    world = World(rank, 2)
    train(watched_job(world), PLAN, folder, seed=0, world=world)
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_with_captions_of_unlike_length_have_the_loss_of_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    address = f"file://{tmp_path}/meet"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    processes = [context.Process(target=worker, args=(rank, address, tmp_path / "two")) for rank in range(2)]
    for process in processes:
        process.start()
    train(watched_job(), PLAN, tmp_path / "one", seed=0)
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    one, two = ([row["loss"] for row in curve(tmp_path / name)] for name in ("one", "two"))
    assert two == pytest.approx(one, rel=1e-4)


def stage(folder: Path, **v2t: object) -> Path:
    """A config of the stage `captions` over the parts in `folder`, on kitchen videos."""
    write_all(folder)
    path = folder / "recipe.toml"
    options = ", ".join(f"{key} = {json.dumps(value)}" for key, value in v2t.items())
    path.write_text(f"""
[captions]
name = "spoken"
device = "cpu"
model = {{ init = "{folder / ENCODER}", mask = 0.3 }}
training = {{ steps = 2, lr = 1e-3, log = 1, save = 2, evaluate = 2, dtype = "float32" }}
[captions.data]
batch = 2
frames = 4
kitchen = {{ videos = 3 }}
[captions.evaluation]
videos = 2
data = {{ kitchen = {{ split = "val", videos = 2 }} }}
[captions.v2t]
lm = "transformers:{folder / "tiny-llama"}"
lm_dtype = "float32"
limit = 1024
connector = {{ depth = 1, latents = 4, cross_heads = 4 }}
{options}
""")
    return path


@pytest.mark.parametrize("draws", [0, 2])
def test_the_stage_trains_from_its_config_to_a_file_that_names_its_parts(tmp_path: Path, draws: int) -> None:
    settings = read_settings(stage(tmp_path, draws=draws), "captions")
    (tmp_path / "run").mkdir()
    prepared = prepare(settings, lambda name: tmp_path / name, World())
    train(prepared.job, settings.training, tmp_path / "run", seed=0)
    rows = read_rows(tmp_path / "run" / METRICS)
    assert {"loss", "token_accuracy"} <= set(next(row for row in rows if row["kind"] == "evaluation"))
    target = tmp_path / "spoken.safetensors"
    prepared.save(target)
    description = read_description(target)
    assert (description.encoder.name, description.lm.name) == (ENCODER, "transformers:tiny-llama")
    assert (description.config.mask, description.config.latents) == (0.3, 4)
    assert load_connector(target, description).config == description.config


def test_weights_may_be_stored_in_half_the_bytes(tmp_path: Path) -> None:
    sizes = []
    for dtype in ("float32", "bfloat16"):
        settings = read_settings(stage(tmp_path, stored=dtype), "captions")
        path = tmp_path / f"{dtype}.safetensors"
        prepare(settings, lambda name: tmp_path / name, World()).save(path)
        sizes.append(path.stat().st_size)
        assert all(t.dtype == torch.float32 for t in load_connector(path, read_description(path)).state_dict().values())
    assert sizes[1] < 0.6 * sizes[0]


def test_a_language_model_may_be_another_stage_of_the_file(tmp_path: Path) -> None:
    path = stage(tmp_path)
    settings = read_settings(path, "captions", changes=['v2t.lm = "lm"'])
    with pytest.raises(ModelError, match="train that stage first"):
        prepare(settings, lambda name: tmp_path / "nowhere" / name, World())
    prepared = prepare(settings, lambda name: tmp_path / "tiny-llama.safetensors", World())
    target = tmp_path / "spoken.safetensors"
    prepared.save(target)
    assert read_description(target).lm.name == "transformers:tiny-llama"


def test_an_unknown_field_of_the_connector_is_named(tmp_path: Path) -> None:
    path = stage(tmp_path)
    settings = read_settings(path, "captions", changes=["v2t.connector.laten = 3"])
    with pytest.raises(ModelError, match="unknown key 'laten'"):
        prepare(settings, lambda name: tmp_path / name, World())
