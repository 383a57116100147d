import pytest
import torch
from torch.nn import functional

from encoders.vit import (
    TUBES,
    Kernel,
    Positions,
    extend,
    read_table,
    space_coordinates,
    time_coordinates,
    video_kernels,
)
from tests.encoders.small import vision

TUBELET = Kernel(2, 8, (2, 8))


def positions(**changes):
    module = Positions(vision(**changes))
    torch.nn.init.normal_(module.space)
    if module.time is not None:
        torch.nn.init.normal_(module.time)
    return module


def test_time_positions_of_16_frames_extend_to_256_by_linear_interpolation():
    table = torch.randn(8, 5)
    expected = functional.interpolate(table.T[None], 128, mode="linear", align_corners=True)[0].T
    torch.testing.assert_close(extend(table, 128), expected)


def test_extended_time_keeps_both_ends_and_tells_all_steps_apart():
    table = torch.arange(8.0)[:, None]
    longer = extend(table, 128)
    assert longer[0] == table[0]
    assert longer[-1] == table[-1]
    assert bool((longer.diff(dim=0) > 0).all())


def test_a_longer_video_reads_the_extended_table():
    module = positions(frames=16)
    at = module(TUBELET, (256, 32, 32)).view(128, 16, -1)
    torch.testing.assert_close(at[:, 3], extend(module.time, 128) + module.space[3])


def test_a_shorter_video_reads_the_first_entries():
    module = positions(frames=16)
    at = module(TUBELET, (6, 32, 32)).view(3, 16, -1)
    torch.testing.assert_close(at, module.time[:3, None] + module.space)


def test_positions_of_kept_tokens_are_those_of_the_dense_grid():
    module = positions()
    keep = torch.tensor([[0, 5, 63], [17, 18, 40]])
    torch.testing.assert_close(module(TUBELET, (8, 32, 32), keep), module(TUBELET, (8, 32, 32))[keep])


def test_another_image_size_reads_space_as_bilinear_interpolation_does():
    module = positions()
    table = module.space.view(1, 4, 4, -1).permute(0, 3, 1, 2)
    expected = functional.interpolate(table, (8, 6), mode="bilinear", align_corners=False)
    read = module.at_places(TUBELET, 64, 48)
    torch.testing.assert_close(read, expected[0].flatten(1).T, rtol=1e-5, atol=1e-5)


def test_images_and_frame_level_encoders_have_no_time():
    module = positions()
    torch.testing.assert_close(module(Kernel(1, 8, (1, 8)), (1, 32, 32)), module.space)
    assert Positions(vision(attention="frame", patches="image")).time is None


def test_a_tube_is_placed_at_its_centre():
    config = vision(patches="tubes", size=64, patch=16, frames=32)
    frame, row = Kernel(1, 16, (32, 16)), Kernel(8, 8, (16, 32))
    assert space_coordinates(config, frame, 64) == [0, 1, 2, 3]
    assert space_coordinates(config, row, 64) == [0, 1.75]  # pixels 32-39 centre on 36 of 16-pixel cells
    assert time_coordinates(config, row, 32) == [1.5, 9.5]  # frames 0-7 span steps 0-3


def test_all_kernels_of_tubes_read_positions_within_the_tables():
    config = vision(patches="tubes", size=64, patch=16, frames=32)
    for kernel in TUBES:
        for frames in (20, 32, 128):
            assert all(0 <= at <= 15 for at in time_coordinates(config, kernel, frames))


def test_regular_tubelets_read_whole_entries():
    config = vision(frames=16)
    assert time_coordinates(config, video_kernels(config)[0], 16) == list(range(8))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_reading_between_entries_mixes_the_neighbours(share):
    table = torch.randn(4, 3)
    torch.testing.assert_close(read_table(table, [1 + share * 1.0])[0], torch.lerp(table[1], table[2], share))
