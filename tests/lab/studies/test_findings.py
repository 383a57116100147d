import pytest

from lab.studies.run import studied_methods
from lab.studies.summary import COARSE, FIXED, LADDER, MEMORY, at_memory, findings, judge

BYTES = {"jst-mask88": 50, "jst-mask75": 100, "jst-mask50": 200, "jst-mask25": 300, "jst-mask0": 400}


@pytest.mark.parametrize("name", LADDER)
def test_the_memory_of_a_mask_is_compared_with_that_mask_alone(name):
    assert at_memory(BYTES[name], BYTES) == pytest.approx({name: 1.0})


def test_between_two_masks_both_are_mixed_by_log_memory():
    mixed = at_memory(round((100 * 200) ** 0.5 * 1000), {name: size * 1000 for name, size in BYTES.items()})
    assert mixed == pytest.approx({"jst-mask75": 0.5, "jst-mask50": 0.5}, abs=1e-3)


@pytest.mark.parametrize(("wanted", "name"), [(10, "jst-mask88"), (4000, "jst-mask0")])
def test_beyond_the_masks_the_nearest_is_taken(wanted, name):
    assert at_memory(wanted, BYTES) == {name: 1.0}


def test_of_masks_that_were_not_run_none_is_mixed_in():
    ran = {name: BYTES[name] for name in ("jst-mask75", "jst-mask0")}
    assert set(at_memory(200, ran)) == {"jst-mask75", "jst-mask0"}
    assert at_memory(10, ran) == {"jst-mask75": 1.0}


def test_coarse_methods_are_asked_about_where_their_memory_is_known():
    names = [finding.text for finding in findings({**BYTES, "tubevit": 150, "coarse-time": 200})]
    assert [name for name in COARSE if any(text.startswith(name) for text in names)] == ["coarse-time", "tubevit"]


def test_findings_name_methods_of_the_study_and_compare_like_with_like():
    known = {method.name for method in studied_methods(4)}
    for finding in findings(dict.fromkeys(known, 100)):
        assert set(finding.weights) <= known
        assert sum(finding.weights.values()) == pytest.approx(0)
    assert {finding.large for finding in MEMORY} | {finding.small for finding in MEMORY} <= known


@pytest.mark.parametrize(
    ("value", "interval", "verdict"),
    [
        (0.05, (0.01, 0.09), "reproduced"),
        (0.05, (-0.01, 0.11), "undecided"),
        (-0.05, (-0.09, -0.01), "not reproduced"),
        (0.05, None, "undecided"),
    ],
)
def test_only_a_whole_interval_decides(value, interval, verdict):
    assert judge(value, interval, 0.0) == verdict


def test_a_small_loss_is_within_the_bound():
    least = FIXED[0].least
    assert judge(-0.005, (-0.015, 0.005), least) == "reproduced"
    assert judge(-0.005, (-0.03, 0.02), least) == "undecided"
    assert judge(-0.05, (-0.07, -0.03), least) == "not reproduced"
