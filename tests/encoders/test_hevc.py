"""Pictures of HEVC that no other refers to are left out, and the others come out as if they had not been."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from encoders import decode
from encoders.frames import read_frames
from encoders.hevc import HevcPackets, NoSuchLayerError, hevc_packets
from encoders.sampling import FramePolicy
from tests.encoders.videos import clip, plain_read, write_video

NAME = "hevc10_hdr_13s.mp4"
SEVEN = FramePolicy(count=7, size=48, fit="squash")
CODED = {
    "pyramid": "bframes=4:b-pyramid=1:keyint=250",
    "open groups": "bframes=3:open-gop=1:keyint=20:min-keyint=20",
    "many in a row": "bframes=8:b-adapt=0:b-pyramid=0",
    "in three layers": "bframes=7:b-adapt=0:temporal-layers=3",
    "none": "bframes=0",
}


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A video in every way of `CODED`."""
    folder = tmp_path_factory.mktemp("hevc")
    made = {name: folder / f"{at}.{'mkv' if at % 2 else 'mp4'}" for at, name in enumerate(CODED)}
    for name, path in made.items():
        options = {"preset": "veryfast", "x265-params": f"{CODED[name]}:log-level=none:pools=1:frame-threads=1"}
        write_video(path, [i / 25 for i in range(150)], codec="libx265", options=options)
    return made


def split(path: Path) -> tuple[list[int], dict[int, np.ndarray]]:
    """Times of the pictures that can be left out, and what the decoder makes of the others by their times."""
    left_out: list[int] = []
    shown = {}
    with av.open(path) as container:
        stream = container.streams.video[0]
        known = hevc_packets(stream)
        assert known is not None
        for packet in container.demux(stream):
            if packet.size and known.unreferenced(packet):
                left_out.append(packet.pts)
            else:
                shown |= {frame.pts: frame.to_ndarray() for frame in packet.decode()}
    return left_out, shown


def all_shown(path: Path) -> dict[int, np.ndarray]:
    with av.open(path) as container:
        return {frame.pts: frame.to_ndarray() for frame in container.decode(video=0)}


def the_others_are_unchanged(path: Path) -> int:
    left_out, shown = split(path)
    everything = all_shown(path)
    assert shown.keys() | set(left_out) == everything.keys()
    assert not shown.keys() & set(left_out)
    assert all(np.array_equal(shown[at], everything[at]) for at in shown)
    return len(left_out)


def test_a_real_video_is_whole_without_half_its_pictures(shared_data: Path) -> None:
    assert the_others_are_unchanged(shared_data / "videos" / "broken" / NAME) == 193


@pytest.mark.parametrize(("name", "least"), [("pyramid", 50), ("open groups", 40), ("many in a row", 100), ("none", 0)])
def test_no_other_picture_refers_to_those_that_are_left_out(coded: dict[str, Path], name: str, least: int) -> None:
    found = the_others_are_unchanged(coded[name])
    assert found >= least
    assert found == 0 or name != "none"


def test_of_several_layers_the_highest_alone_is_left_out(coded: dict[str, Path]) -> None:
    with av.open(coded["in three layers"]) as container:
        known = hevc_packets(container.streams.video[0])
    assert known is not None
    assert known.top == 2
    assert the_others_are_unchanged(coded["in three layers"]) > 0


@pytest.mark.parametrize("name", CODED)
def test_frames_are_those_of_a_plain_read(coded: dict[str, Path], name: str) -> None:
    plain = plain_read(coded[name])
    for start, threads in ((0.0, 1), (2.3, 1), (2.3, 2)):
        frames = read_frames(clip(coded[name], start, 5.7), SEVEN, threads=threads)
        assert np.array_equal(frames.pixels, plain.pixels[[plain.shown_at(s) for s in frames.seconds]])


def test_a_layer_that_the_file_says_nothing_of_is_read_in_full(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shared_data / "videos" / "broken" / NAME
    asked = []

    def wrong(_stream: object) -> HevcPackets:
        asked.append(1)
        return HevcPackets(4, -1)

    plain = plain_read(path)
    monkeypatch.setattr(decode, "hevc_packets", wrong)
    frames = read_frames(clip(path, 0, 13), SEVEN)
    assert asked
    assert np.array_equal(frames.pixels, plain.pixels[[plain.shown_at(s) for s in frames.seconds]])


def test_a_picture_is_judged_by_its_type_and_its_layer() -> None:
    def packet(kind: int, layer: int = 0) -> av.Packet:
        prefix = bytes([0, 0, 0, 2, 35 << 1, 1])  # a delimiter comes first
        return av.Packet(prefix + bytes([0, 0, 0, 3, kind << 1, layer + 1, 0]))

    of_one, of_two = HevcPackets(4, 0), HevcPackets(4, 1)
    assert [kind for kind in range(32) if of_one.unreferenced(packet(kind))] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert not of_two.unreferenced(packet(0))
    assert of_two.unreferenced(packet(0, layer=1))
    with pytest.raises(NoSuchLayerError):
        of_one.unreferenced(packet(1, layer=1))
    assert not of_one.unreferenced(av.Packet(b"\x00\x00"))


def test_other_codecs_have_nothing_to_tell_apart(shared_data: Path) -> None:
    with av.open(shared_data / "videos" / "natural" / "bikes_10s.mp4") as container:
        assert hevc_packets(container.streams.video[0]) is None
