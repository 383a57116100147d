from dataclasses import replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from encoders.pretrain.contrastive import NONE, Roles, caption_loss, statement_loss
from encoders.pretrain.step import request_at
from tests.encoders.pretrain.toy import ToySource, toy_job


def first_batch(**options):
    return next(toy_job(**options).batches(0)).batch


def gradients(chunk, **options):
    job = toy_job(chunk=chunk, **options)
    loss, metrics = job.step(next(job.batches(0)).batch)
    loss.backward()
    return loss.detach(), metrics, {n: p.grad for n, p in job.step.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("chunk", [1, 3, 8])
@pytest.mark.parametrize("mask", [0.0, 0.5])
def test_the_cached_loss_gives_every_parameter_the_full_batchs_gradient(chunk, mask):
    loss, metrics, whole = gradients(0, mask=mask)
    cached_loss, cached_metrics, cached = gradients(chunk, mask=mask)
    torch.testing.assert_close(cached_loss, loss, rtol=1e-5, atol=1e-6)
    assert cached_metrics.keys() == metrics.keys()
    assert cached.keys() == whole.keys()
    assert "encoder.log_scale" in cached
    for name, gradient in cached.items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-3, atol=1e-5, msg=name)


def saved_bytes(chunk):
    """What the forward pass keeps for the backward pass outside of chunks."""
    job, kept = toy_job(chunk=chunk), 0

    def pack(tensor):
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    batch = next(job.batches(0)).batch
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        job.step(batch)
    return kept


def test_the_cached_loss_keeps_no_activations_of_the_towers():
    pixels = first_batch().pixels.nbytes
    assert saved_bytes(1) - pixels < 0.01 * (saved_bytes(0) - pixels)


def test_the_loss_without_false_texts_is_clips():
    job = toy_job(statements=0)
    batch = next(job.batches(0)).batch
    roles = replace(batch.roles, captions=batch.roles.captions[:, :, :1], ids=torch.arange(8)[:, None])
    batch = replace(batch, roles=roles)
    videos = functional.normalize(torch.randn(8, 6), dim=1)
    texts = functional.normalize(torch.randn(sum(part.texts for part in batch.texts), 6), dim=1)
    logits = 5 * videos @ texts[roles.captions[:, 0, 0]].T
    target = torch.arange(8)
    clip = (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
    torch.testing.assert_close(caption_loss(videos, texts, batch, torch.tensor(5.0))[0], clip)


def test_equal_captions_of_two_videos_are_no_negatives_of_each_other():
    # 32 samples of 16 kinds in one batch of 32: every caption comes twice.
    batch = first_batch(source=ToySource(32), batch=32, statements=0)
    ids = batch.roles.ids[:, 0]
    assert len(ids.unique()) == 16
    vectors = functional.one_hot(ids.unique(return_inverse=True)[1], 64).float()
    count = sum(part.texts for part in batch.texts)
    texts = torch.zeros(count, 64)
    texts[batch.roles.captions[:, 0, 0]] = vectors
    loss, metrics = caption_loss(vectors, texts, batch, torch.tensor(100.0))
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert metrics["caption_accuracy"] == 1


@torch.no_grad()
def test_a_missing_video_neither_counts_nor_serves_as_a_negative():
    job, whole = toy_job(), first_batch()
    missing = request_at(0, 2, 16).index
    holed = first_batch(source=ToySource(broken=frozenset({missing})))
    rest = [row for row in range(8) if row != 2]
    others = whole.roles.asked != 2
    roles = Roles(
        whole.roles.captions[rest],
        whole.roles.ids[rest],
        (whole.roles.asked - (whole.roles.asked > 2).long())[others],
        whole.roles.options[others],
        whole.roles.weight[others],
    )
    smaller = replace(whole, pixels=whole.pixels[rest], keep=whole.keep[rest], roles=roles)
    assert (holed.roles.ids[:, 0] == NONE).tolist() == [row == 2 for row in range(8)]
    torch.testing.assert_close(job.step(holed)[0], job.step(smaller)[0], rtol=1e-5, atol=1e-6)


def test_statements_compete_with_their_own_false_ones_only():
    batch = first_batch()
    count = sum(part.texts for part in batch.texts)
    texts = functional.normalize(torch.randn(count, 6), dim=1)
    videos = functional.normalize(torch.randn(8, 6), dim=1)
    loss, metrics = statement_loss(videos, texts, batch, torch.tensor(3.0))
    assert batch.roles.asked.tolist() == list(range(8))
    options = zip(batch.roles.options, videos, strict=True)
    logits = torch.stack([3 * texts[row] @ video for row, video in options])
    torch.testing.assert_close(loss, functional.cross_entropy(logits, torch.zeros(8, dtype=torch.long)))
    assert metrics["statement_accuracy"] == pytest.approx((logits.argmax(1) == 0).float().mean().item())


def test_the_statements_of_a_circle_weigh_as_much_however_many_videos_they_are_put_to():
    alone, together = first_batch().roles, first_batch(circle=8).roles
    assert len(together.asked) > len(alone.asked)
    # Two colours of one corner, say, bring the same statement: it is asked once.
    assert together.weight.sum() == pytest.approx(len(together.options.sort(1).values.unique(dim=0)))
    assert alone.weight.sum() == 8


def test_a_batch_without_statements_still_trains():
    batch = first_batch()
    roles = replace(batch.roles, asked=batch.roles.asked[:0], options=batch.roles.options[:0], weight=torch.zeros(0))
    loss, metrics = toy_job().step(replace(batch, roles=roles))
    loss.backward()
    assert loss.isfinite()
    assert "statement_loss" not in metrics


TWO_KINDS = {"source": ToySource(two_kinds=True), "statements": 2, "false": 3, "circle": 8, "balance": "kinds"}


def test_balanced_by_kinds_each_has_the_same_share_of_the_statement_loss():
    roles = first_batch(**TWO_KINDS).roles
    assert roles.kinds == ("colour", "place")
    shares = torch.zeros(2).index_add(0, roles.kind, roles.weight)
    torch.testing.assert_close(shares, torch.ones(2))


def test_the_loss_over_the_batchs_table_of_texts_is_the_mean_over_kinds_of_each_questions_own_loss():
    batch = first_batch(**TWO_KINDS)
    texts = functional.normalize(torch.randn(sum(part.texts for part in batch.texts), 6), dim=1)
    videos = functional.normalize(torch.randn(8, 6), dim=1)
    loss, metrics = statement_loss(videos, texts, batch, torch.tensor(3.0))
    roles = batch.roles
    losses, hits = {kind: [] for kind in roles.kinds}, {kind: [] for kind in roles.kinds}
    for video, options, kind in zip(roles.asked, roles.options, roles.kind, strict=True):
        scores = 3 * texts[options[options != NONE]] @ videos[video]
        losses[roles.kinds[kind]].append(-scores.log_softmax(0)[0])
        hits[roles.kinds[kind]].append(float(scores.argmax() == 0))
    means = [torch.stack(found).mean() for found in losses.values()]
    torch.testing.assert_close(loss, sum(means) / 2)
    for kind, found in hits.items():
        assert metrics[f"accuracy_{kind}"].item() == pytest.approx(sum(found) / len(found))


def test_a_circle_puts_each_statement_to_all_videos_that_know_the_answer():
    batch = first_batch(**TWO_KINDS)
    # Every sample has a colour and a corner, each told from all others: two questions to each video.
    assert sorted(batch.roles.asked.tolist()) == sorted([*range(8), *range(8)])
    assert bool((batch.roles.options != NONE).all())


def test_the_texts_of_a_tower_that_is_not_trained_are_those_of_the_tower():
    job = toy_job(fixed_texts=True)
    batch = next(job.batches(0)).batch
    expected = torch.cat([job.step.encoder.embed_text(part) for part in batch.texts])
    for _ in range(2):  # made, and then kept
        torch.testing.assert_close(job.step._texts(batch), expected)
    loss, _ = job.step(batch)
    loss.backward()
    assert job.step.encoder.text_proj.weight.grad.abs().sum() > 0
    torch.testing.assert_close(loss, toy_job().step(batch)[0])


def test_kept_statements_do_not_depend_on_what_came_before():
    job, other = toy_job(fixed_texts=True), toy_job(fixed_texts=True)
    batches = job.batches(0)
    first, second = next(batches).batch, next(batches).batch
    job.step._texts(first)
    assert torch.equal(job.step._texts(second), other.step._texts(second))


def test_metrics_of_clips_and_images_stand_apart():
    batch = first_batch(**TWO_KINDS)
    _, plain = toy_job().step(batch)
    _, labelled = toy_job().step(replace(batch, label="clips_"))
    assert {f"clips_{name}" for name in plain} == set(labelled)
