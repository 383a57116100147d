from itertools import islice

import pytest
import torch

from encoders.pretrain.data import mixed, prefetched
from encoders.pretrain.step import Loaded, request_at, seed_of
from encoders.pretrain.world import World
from tasks.errors import DataError, ModelError
from tests.encoders.pretrain.toy import ToySource, toy_job


def batches(count, first=0, **options):
    return [loaded.batch for loaded in islice(toy_job(**options).batches(first), count)]


def test_each_epoch_holds_every_sample_once_in_another_order():
    epochs = [[request_at(0, epoch * 50 + i, 50).index for i in range(50)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_draws_differ_from_epoch_to_epoch_and_seed_to_seed():
    draws = {request_at(seed, position, 5).draw for seed in range(3) for position in range(100)}
    assert len(draws) == 300


def test_seeds_of_different_purposes_are_unrelated():
    assert len({seed_of(0, "a", 1), seed_of(0, "a", 2), seed_of(0, "b", 1), seed_of(1, "a", 1)}) == 4


def test_a_later_start_gives_the_same_batches():
    whole, later = batches(6), batches(3, first=3)
    for expected, found in zip(whole[3:], later, strict=True):
        assert torch.equal(found.pixels, expected.pixels)
        assert torch.equal(found.keep, expected.keep)
        assert torch.equal(found.roles.captions, expected.roles.captions)
        assert all(torch.equal(a.ids, b.ids) for a, b in zip(found.texts, expected.texts, strict=True))


def test_processes_share_a_batch_out_without_changing_it():
    whole = batches(3)
    halves = [batches(3, world=World(rank, 2)) for rank in range(2)]
    for step, batch in enumerate(whole):
        parts = [half[step] for half in halves]
        assert torch.equal(torch.cat([part.pixels for part in parts]), batch.pixels)
        assert torch.equal(torch.cat([part.keep for part in parts]), batch.keep)
        assert torch.equal(torch.cat([part.roles.ids for part in parts]), batch.roles.ids)


def test_a_batch_that_processes_cannot_share_is_refused():
    with pytest.raises(ModelError, match="evenly"):
        toy_job(World(0, 3))


def test_a_source_smaller_than_a_batch_is_refused():
    with pytest.raises(DataError, match="fewer than one batch"):
        toy_job(source=ToySource(4))


def counted(name):
    def stream(first):
        while True:
            yield Loaded((name, first), 1)
            first += 1

    return stream


def test_images_come_at_every_nth_step_and_a_later_start_meets_the_same():
    stream = mixed(counted("video"), counted("image"), 3)
    whole = [loaded.batch for loaded in islice(stream(0), 9)]
    assert [name for name, _ in whole] == ["video", "video", "image"] * 3
    assert [at for name, at in whole if name == "video"] == list(range(6))
    assert [at for name, at in whole if name == "image"] == list(range(3))
    for first in range(9):
        assert [loaded.batch for loaded in islice(stream(first), 9 - first)] == whole[first:]


def test_batches_made_ahead_are_the_same_in_the_same_order():
    plain, ahead = counted("video")(3), prefetched(counted("video"))(3)
    assert [loaded.batch for loaded in islice(ahead, 20)] == [loaded.batch for loaded in islice(plain, 20)]
    ahead.close()


def test_an_error_of_the_data_reaches_the_trainer():
    def broken(first):
        yield Loaded("batch", 1)
        raise DataError("it is broken")

    ahead = prefetched(broken)(0)
    assert next(ahead).batch == "batch"
    with pytest.raises(DataError, match="it is broken"):
        next(ahead)


def test_families_stay_together_and_are_shuffled():
    found = [request_at(0, position, 24, family=4).index for position in range(24)]
    groups = [found[at : at + 4] for at in range(0, 24, 4)]
    assert sorted(groups) == [list(range(at, at + 4)) for at in range(0, 24, 4)]
    assert groups != sorted(groups)
