from collections import Counter

import pytest

from encoders.pretrain.contrastive import Question, ask, truth_of
from encoders.pretrain.data import TextView

FIRST = TextView("a before b", ("b before a",))
SECOND = TextView("b before a", ("a before b",))
OTHER = TextView("c before a", ("a before c",))


def asked(*views, circle=1, drawn=None):
    rows = [[view] for view in views]
    return ask(drawn or rows, [truth_of(row) for row in rows], circle)


def test_a_statement_is_a_question_to_its_own_video():
    assert asked(FIRST, SECOND) == [
        Question(0, "a before b", ("b before a",), 1.0),
        Question(1, "b before a", ("a before b",), 1.0),
    ]


def test_within_a_circle_it_is_put_to_all_who_know_the_answer():
    found = asked(FIRST, SECOND, OTHER, circle=3, drawn=[[FIRST], [], []])
    assert found == [Question(0, "a before b", ("b before a",), 0.5), Question(1, "b before a", ("a before b",), 0.5)]


def test_a_statement_brought_twice_is_asked_once():
    assert len(asked(FIRST, FIRST, circle=2)) == 2
    assert {question.weight for question in asked(FIRST, FIRST, circle=2)} == {0.5}


def test_circles_do_not_meet():
    found = asked(FIRST, OTHER, SECOND, OTHER, circle=2, drawn=[[FIRST], [], [], []])
    assert [question.row for question in found] == [0]


def test_who_knows_only_that_all_are_false_is_not_asked():
    three = TextView("one time", ("two times", "three times"))
    four = TextView("four times", ("one time", "two times", "three times"))
    assert [question.row for question in asked(three, four, circle=2, drawn=[[three], []])] == [0]


def test_what_is_unknown_to_a_video_is_no_option_for_it():
    three = TextView("one time", ("two times", "three times"))
    fewer = TextView("two times", ("one time",))
    found = asked(three, fewer, circle=2, drawn=[[three], []])
    assert found[1] == Question(1, "two times", ("one time",), 0.5)


def test_balanced_by_kinds_every_kind_weighs_the_same_however_many_questions_it_has():
    views = [
        [TextView(f"{n} first", (f"{n} last",), "order") for n in range(9)],
        [TextView("twice", ("once",), "count")],
    ]
    known = [truth_of([*views[0], *views[1]])] * 2
    found = ask(views, known, 2, "kinds")
    shares = Counter()
    for question in found:
        shares[question.kind] += question.weight
    assert Counter(question.kind for question in found) == {"order": 18, "count": 2}
    assert shares == pytest.approx({"order": 1, "count": 1})
