import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from encoders.vit import (
    TUBES,
    Kernel,
    Patches,
    PixelNorm,
    boxes,
    check_video,
    flatten_convolution,
    grid_axes,
    inflate,
    random_keep,
    token_count,
)
from tasks.errors import ModelError
from tests.encoders.small import generator, videos, vision

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
TUBE_GRIDS = (2 * 7 * 7, 3 * 7 * 7, 2 * 7 * 7, 1 * 14 * 14)


def normalised(pixels):
    return ((pixels / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 4, 1, 2, 3)


@pytest.mark.parametrize(
    "kernel",
    [Kernel(2, 8, (2, 8)), Kernel(4, 8, (4, 8)), Kernel(2, 16, (2, 16)), Kernel(1, 8, (1, 8)), *TUBES],
)
def test_a_kernel_computes_what_a_3d_convolution_of_normalised_pixels_does(kernel):
    pixels = videos(2, 32, 64)
    convolution = torch.nn.Conv3d(
        3,
        12,
        (kernel.frames, kernel.patch, kernel.patch),
        (kernel.stride[0], kernel.stride[1], kernel.stride[1]),
    )
    patches = Patches(kernel, 12)
    with torch.no_grad():
        patches.proj.weight.copy_(flatten_convolution(convolution.weight))
        patches.proj.bias.copy_(convolution.bias)
    time, space = kernel.offset
    expected = convolution(normalised(pixels)[:, :, time:, space:, space:]).flatten(2).transpose(1, 2)
    torch.testing.assert_close(patches(pixels, PixelNorm(MEAN, STD)), expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=25)
@given(st.integers(1, 64), st.integers(0, 2**31))
def test_gathering_before_projecting_equals_projecting_then_dropping(kept, seed):
    kernel, pixels = Kernel(2, 8, (2, 8)), videos(2, 8, 32)
    patches, norm = Patches(kernel, 6), PixelNorm(MEAN, STD)
    keep = random_keep(2, 64, kept, generator(seed))
    dense = patches(pixels, norm)
    dropped = dense.gather(1, keep[..., None].expand(-1, -1, 6))
    torch.testing.assert_close(patches(pixels, norm, keep), dropped)


def test_boxes_share_the_video_s_memory():
    pixels = videos()
    assert boxes(pixels, Kernel(2, 8, (2, 8))).untyped_storage().data_ptr() == pixels.untyped_storage().data_ptr()


def test_normalisation_keeps_its_constants_exact_after_a_cast_to_bf16():
    norm = PixelNorm(MEAN, STD).to(torch.bfloat16)
    rows = videos(1, 1, 8).flatten(2)
    expected = normalised(videos(1, 1, 8)).permute(0, 2, 3, 4, 1).flatten(2)
    torch.testing.assert_close(norm(rows, torch.float32), expected)


def test_an_inflated_kernel_projects_a_repeated_frame_like_the_frame():
    flat = torch.randn(5, 8 * 8 * 3)
    frame = torch.randn(7, 8 * 8 * 3)
    tubelet = frame.repeat(1, 4)
    torch.testing.assert_close(
        functional.linear(tubelet, inflate(flat, 4)), functional.linear(frame, flat), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(("patch", "tubelet", "count"), [(16, 2, 1568), (16, 4, 784), (32, 2, 392), (32, 4, 196)])
def test_coarse_patches_halve_and_quarter_the_tokens_of_16_frames(patch, tubelet, count):
    assert token_count(vision(size=224, patch=patch, tubelet=tubelet, frames=16), 16, 224, 224) == count


def test_tubes_of_32_frames_give_the_tokens_of_their_four_grids():
    assert token_count(vision(patches="tubes", size=224, patch=16, frames=32), 32, 224, 224) == sum(TUBE_GRIDS)


def test_every_token_of_every_tube_has_a_step_and_a_place_on_the_grid():
    config = vision(patches="tubes", size=64, patch=16, frames=32)
    for kernel in TUBES:
        steps, places = grid_axes(config, kernel, 32, 64, 64)
        assert len(steps) * len(places) == kernel.count(32, 64, 64)
        assert 0 <= min(steps) <= max(steps) < 16
        assert 0 <= min(places) <= max(places) < 16


@pytest.mark.parametrize(("frames", "height", "width"), [(7, 32, 32), (8, 30, 32), (8, 32, 36), (0, 32, 32)])
def test_a_video_that_does_not_divide_into_tokens_is_refused(frames, height, width):
    with pytest.raises(ModelError, match="divide"):
        check_video(vision(), frames, height, width)


def test_tubes_refuse_a_video_shorter_than_their_longest_kernel():
    with pytest.raises(ModelError, match="tubes"):
        check_video(vision(patches="tubes"), 8, 32, 32)
