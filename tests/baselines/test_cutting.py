"""How clips are cut: rules by name, each covering the clip, given boundaries as they are given."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from baselines.segments import parse_cutting
from tasks.errors import DataError, ModelError
from tasks.task import Clip

CLIP = Clip("v", 10.0, 55.0)


def test_uniform_segments_have_the_length_asked_for_but_the_last() -> None:
    rule = parse_cutting("uniform:16")
    assert rule.name == "uniform 16 s"
    assert rule.cut(CLIP) == [(10, 26), (26, 42), (42, 55)]


def test_the_whole_clip_is_one_segment() -> None:
    assert parse_cutting("whole").cut(CLIP) == [(10.0, 55.0)]


def test_given_boundaries_are_those_of_the_clip_in_order(tmp_path: Path) -> None:
    path = tmp_path / "oracle.json"
    path.write_text(json.dumps({"v": [[40, 60], [0, 8], [12, 20]]}))
    rule = parse_cutting(str(path))
    assert rule.cut(CLIP) == [(12, 20), (40, 55)]
    assert rule.name.startswith("boundaries ")
    with pytest.raises(DataError, match="no segment of 'w'"):
        rule.cut(Clip("w", 0, 9))


def test_the_name_of_given_boundaries_changes_with_the_file(tmp_path: Path) -> None:
    names = []
    for number, end in enumerate((20, 21)):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({"v": [[12, end]]}))
        names.append(parse_cutting(str(path)).name)
    assert names[0] != names[1]


def test_youcook2s_own_steps_are_boundaries(shared_data: Path) -> None:
    path = shared_data / "youcook2" / "youcookii_annotations_trainval.json"
    video, row = next(iter(json.loads(path.read_text())["database"].items()))
    cut = parse_cutting(str(path)).cut(Clip(video, 0.0, row["duration"]))
    assert cut == [(float(a), float(b)) for a, b in (step["segment"] for step in row["annotations"])]


def test_shots_longer_than_asked_are_cut_into_equal_pieces(shared_data: Path) -> None:
    pytest.importorskip("scenedetect")
    clip = Clip("nasa", 0.0, 13.0, shared_data / "videos" / "natural" / "nasa_13s.mp4")
    whole, cut = (parse_cutting(text).cut(clip) for text in ("shots", "shots:2"))
    assert len(whole) == 3
    assert {start for start, _ in whole} <= {start for start, _ in cut}
    assert all(end - start <= 2.0 + 1e-9 for start, end in cut)
    assert all(one[1] == other[0] for one, other in pairwise(cut))
    assert (cut[0][0], cut[-1][1]) == (0.0, 13.0)
    assert "scenedetect" in parse_cutting("shots:2").name


@pytest.mark.parametrize("text", ["uniform", "uniform:0", "uniform:-3", "uniform:nan", "shots:none", "every:5", ""])
def test_a_rule_that_is_none_is_refused_with_the_rules_there_are(text: str) -> None:
    with pytest.raises(ModelError, match="uniform:"):
        parse_cutting(text)
