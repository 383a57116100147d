import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from encoders.vit import flat_keep, kept_count, random_keep, sample_keep, token_count
from tasks.errors import ModelError
from tests.encoders.small import generator, vision

FRAME = {"attention": "frame", "patches": "image"}


@given(st.integers(1, 5), st.integers(1, 60), st.data())
def test_kept_indices_are_distinct_ascending_and_in_range(rows, tokens, data):
    keep = data.draw(st.integers(1, tokens))
    index = random_keep(rows, tokens, keep, generator(data.draw(st.integers(0, 99))))
    assert index.shape == (rows, keep)
    assert bool((index.diff(dim=1) > 0).all())
    assert 0 <= int(index.min()) <= int(index.max()) < tokens


def test_the_same_seed_draws_the_same_indices_and_another_seed_others():
    first = random_keep(2, 100, 25, generator(1))
    assert torch.equal(first, random_keep(2, 100, 25, generator(1)))
    assert not torch.equal(first, random_keep(2, 100, 25, generator(2)))


def test_sampling_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    sample_keep(vision(), (2, 8, 32, 32), 0.5, generator())
    assert torch.equal(before, torch.random.get_rng_state())


def test_every_token_is_kept_equally_often():
    counts = torch.bincount(random_keep(8000, 16, 4, generator()).flatten(), minlength=16)
    assert counts.sum() == 32000
    assert bool((counts - 2000).abs().max() < 200)  # 200 is 5.2 standard deviations


@pytest.mark.parametrize("mask", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("changes", [{}, FRAME, {"attention": "factorized"}])
def test_the_share_dropped_is_the_share_asked_for(changes, mask):
    config = vision(**changes)
    keep = sample_keep(config, (2, 8, 32, 32), mask, generator())
    steps = 8 if changes == FRAME else 4
    flat = flat_keep(config, keep, steps, 16)
    assert flat.shape == (2, round(token_count(config, 8, 32, 32) * (1 - mask)))


def test_no_mask_draws_nothing():
    assert sample_keep(vision(), (2, 8, 32, 32), 0, generator()) is None


def test_factorised_masks_keep_the_same_places_at_every_step():
    config = vision(attention="factorized")
    keep = sample_keep(config, (3, 8, 32, 32), 0.5, generator())
    places = (flat_keep(config, keep, 4, 16) % 16).view(3, 4, -1)
    assert bool((places == places[:, :1]).all())
    assert not torch.equal(places[0], places[1])


def test_frame_level_masks_differ_between_frames():
    config = vision(**FRAME)
    keep = sample_keep(config, (1, 8, 32, 32), 0.5, generator())
    assert keep.shape == (1, 8, 8)
    assert not torch.equal(keep[0, 0], keep[0, 1])


@pytest.mark.parametrize("mask", [1, -0.1, 1.5])
def test_a_mask_that_is_no_share_is_refused(mask):
    with pytest.raises(ModelError, match="share"):
        kept_count(16, mask)


def test_tubes_refuse_a_mask():
    with pytest.raises(ModelError, match="tubes"):
        sample_keep(vision(patches="tubes", frames=32), (1, 32, 32, 32), 0.5, generator())


@pytest.mark.parametrize(
    ("changes", "shape"),
    [({"attention": "factorized"}, (2, 8)), ({"attention": "factorized"}, (2, 4, 8)), (FRAME, (2, 8))],
)
def test_indices_drawn_for_another_attention_are_refused(changes, shape):
    with pytest.raises(ModelError, match="sample_keep"):
        flat_keep(vision(**changes), torch.zeros(shape, dtype=torch.long), 4, 16)


@given(st.sampled_from([0.25, 0.5, 0.75]), st.integers(0, 50))
def test_masked_by_time_every_step_keeps_as_many_tokens_at_places_of_its_own(mask, seed):
    config = vision()
    keep = sample_keep(config, (3, 8, 32, 32), mask, generator(seed), "time")
    kept = kept_count(16, mask)
    assert keep.shape == (3, 4 * kept)
    assert bool((keep.diff(dim=1) > 0).all())
    assert torch.equal(keep // 16, torch.arange(4).repeat_interleave(kept).expand(3, -1))
    assert torch.equal(flat_keep(config, keep, 4, 16), keep)
    assert len({tuple(row) for row in (keep % 16).view(12, kept).tolist()}) > 1
