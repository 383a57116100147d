from dataclasses import replace

import pytest
import torch

from encoders.config import AdaptConfig
from encoders.transfer import transfer
from encoders.vit import extend, sample_keep
from tasks.errors import ModelError
from tests.encoders.small import encoder, generator, still, stir, videos

FRAME = {"attention": "frame", "patches": "image"}


def stage(**changes):
    model = encoder(**changes)
    stir(model)
    return model


@torch.no_grad()
@pytest.mark.parametrize("attention", ["joint", "factorized"])
def test_an_image_encoder_made_a_video_encoder_embeds_stills_as_before(attention):
    image = stage(**FRAME)
    video = transfer(image, encoder(attention=attention).config)
    torch.testing.assert_close(video.embed_video(still()), image.embed_video(still()), rtol=0, atol=1e-5)
    torch.testing.assert_close(video.embed_video(videos(2, 1)), image.embed_video(videos(2, 1)), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_longer_stage_keeps_the_weights_and_stretches_time():
    short = stage(frames=8)
    long = transfer(short, encoder(frames=64).config)
    assert torch.equal(long.vision.positions.time, extend(short.vision.positions.time, 32))
    same = [n for n, _ in short.named_parameters() if n != "vision.positions.time"]
    assert all(torch.equal(long.state_dict()[n], short.state_dict()[n]) for n in same)
    keep = sample_keep(long.config.vision, (1, 64, 32, 32), 0.75, generator())
    assert bool(long.embed_video(videos(1, 64), keep).isfinite().all())


@torch.no_grad()
def test_new_time_positions_can_start_at_a_given_scale():
    video = transfer(stage(**FRAME), encoder().config, time_std=0.5)
    assert video.vision.positions.time.std().item() == pytest.approx(0.5)


@torch.no_grad()
@pytest.mark.parametrize("method", ["adapters", "lora", "last"])
def test_the_next_stage_can_be_adapted_and_still_agrees_at_step_0(method):
    short = stage()
    config = replace(short.config, adapt=AdaptConfig(method, last=1))
    assert torch.equal(transfer(short, config).embed_video(videos()), short.embed_video(videos()))


@pytest.mark.parametrize("changes", [{"width": 64}, {"depth": 2}, {"depth": 4}, FRAME, {"frames": 4}])
def test_stages_that_do_not_follow_on_each_other_are_refused(changes):
    with pytest.raises(ModelError):
        transfer(stage(), encoder(**changes).config)


@torch.no_grad()
@pytest.mark.parametrize("changes", [{"patch": 16}, {"patch": 4}, {"tubelet": 4}, {"tubelet": 4, "patch": 16}], ids=str)
def test_patches_of_another_size_see_plain_colours_as_the_image_encoder_does(changes):
    image = stage(**FRAME)
    video = transfer(image, encoder(**changes).config)
    plain = torch.randint(0, 256, (2, 1, 1, 1, 3), dtype=torch.uint8).expand(2, 8, 32, 32, 3)
    norm = image.vision.norm
    expected = image.vision.image(plain[:, :1], norm)[:, 0]
    torch.testing.assert_close(video.vision.video[0](plain, norm)[:, 0], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(video.vision.image(plain[:, :1], norm)[:, 0], expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_coarser_places_lie_amid_the_finer_ones():
    image = stage(**FRAME)
    space = transfer(image, encoder(patch=16).config).vision.positions.space
    fine = image.vision.positions.space.view(4, 4, -1)
    torch.testing.assert_close(space.view(2, 2, -1)[1, 0], fine[2:, :2].mean((0, 1)))


@torch.no_grad()
def test_every_tube_starts_from_the_image_kernel():
    size = {"size": 64, "patch": 16, "frames": 16}
    image = stage(**FRAME, **size)
    video = transfer(image, encoder(patches="tubes", **size).config)
    plain = torch.full((1, 16, 64, 64, 3), 90, dtype=torch.uint8)
    expected = image.vision.image(plain[:, :1], image.vision.norm)[0, 0]
    for tube in video.vision.video:
        torch.testing.assert_close(tube(plain, video.vision.norm)[0, 0], expected, rtol=1e-4, atol=1e-4)


def test_a_video_encoder_does_not_change_its_kernels():
    with pytest.raises(ModelError):
        transfer(stage(), encoder(patch=16).config)
