"""Published predictions score what their authors published; files with faults are refused with the ids named."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals.imports import import_run
from evals.new_run import describe_import
from evals.record import Results
from evals.store import read_samples
from evals.submission import write_submission
from tasks.choice_files import checked_answers, prediction, read_choices, read_predictions
from tasks.errors import DataError, RecordError
from tasks.family import PredictionsFile
from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.conftest import toy_task

Answers = Sequence[tuple[object, object]]
IDS = [f"q{i:02d}" for i in range(12)]
GOOD: Answers = [(key, i % 5) for i, key in enumerate(IDS)]


def bring_in(path: Path, task: MultipleChoiceTask, everything: MultipleChoiceTask, folder: Path) -> Results:
    answers = read_choices(PredictionsFile(path), task, everything).answers
    return import_run(task, describe_import(task, "theirs", {"route": "unknown"}, "digest", []), folder, answers)


def test_the_akeys_predictions_score_66_percent(
    shared_data: Path, egoschema_500: MultipleChoiceTask, egoschema_5031: MultipleChoiceTask, tmp_path: Path
) -> None:
    path = shared_data / "predictions" / "egoschema_akeys_gpt4o.json"
    results = bring_in(path, egoschema_500, egoschema_5031, tmp_path / "run")
    assert results.primary.value == 330 / 500
    assert results.cost.frames_per_item == pytest.approx(22.832, abs=1e-9)
    assert (results.status, results.imported, results.primary.clusters) == ("complete", True, 347)


def test_the_vamos_submission_scores_57_2_percent_on_the_500(
    shared_data: Path, egoschema_500: MultipleChoiceTask, egoschema_5031: MultipleChoiceTask, tmp_path: Path
) -> None:
    path = shared_data / "predictions" / "egoschema_vamos_gpt4o_submission.csv"
    results = bring_in(path, egoschema_500, egoschema_5031, tmp_path / "run")
    assert results.primary.value == 286 / 500


def test_the_vamos_submission_on_all_has_a_public_figure_and_no_other(
    shared_data: Path, egoschema_5031: MultipleChoiceTask, tmp_path: Path
) -> None:
    path = shared_data / "predictions" / "egoschema_vamos_gpt4o_submission.csv"
    results = bring_in(path, egoschema_5031, egoschema_5031, tmp_path / "run")
    metrics = {metric.name: metric for metric in results.metrics}
    assert (metrics["accuracy"].value, metrics["accuracy"].primary) == (None, True)
    assert (metrics["accuracy_public"].value, metrics["accuracy_public"].n) == (286 / 500, 500)
    assert results.status == "complete"


def as_json_map(path: Path, answers: Answers) -> None:
    path.write_text("{" + ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in answers) + "}")


def as_json_rows(path: Path, answers: Answers) -> None:
    path.write_text(json.dumps([{"q_uid": key, "answer": value} for key, value in answers]))


def as_json_nested(path: Path, answers: Answers) -> None:
    path.write_text("{" + ", ".join(f'{json.dumps(k)}: {{"pred": {json.dumps(v)}}}' for k, v in answers) + "}")


def as_csv(path: Path, answers: Answers) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("q_uid", "answer"), *answers])


FORMS: Mapping[str, tuple[str, Callable[[Path, Answers], None]]] = {
    "json map": ("p.json", as_json_map),
    "json rows": ("p.json", as_json_rows),
    "json nested": ("p.json", as_json_nested),
    "csv": ("p.csv", as_csv),
}


@pytest.fixture(params=FORMS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Answers], Path]:
    """Writes answers to a file in each of the forms."""
    name, form = FORMS[request.param]

    def to_file(answers: Answers) -> Path:
        form(tmp_path / name, answers)
        return tmp_path / name

    return to_file


def check(path: Path, task: MultipleChoiceTask, larger: MultipleChoiceTask | None = None) -> dict[str, int]:
    found = checked_answers(path, read_predictions(path), task.items(), (larger or task).items())
    return {key: index for key, (index, _) in found.items()}


def test_all_forms_read_the_same(write: Callable[[Answers], Path], task: MultipleChoiceTask) -> None:
    assert check(write(GOOD), task) == dict(GOOD)


@pytest.mark.parametrize("form", ["{}", "{} ", "({})", "{}."])
@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_letters_are_options_from_a_where_no_answer_is_an_index(
    write: Callable[[Answers], Path], task: MultipleChoiceTask, form: str, case: Callable[[str], str]
) -> None:
    assert check(write([(key, case(form.format("ABCDE"[int(str(place))]))) for key, place in GOOD]), task) == dict(GOOD)


def test_a_letter_that_no_option_has_is_refused_with_its_id(
    write: Callable[[Answers], Path], task: MultipleChoiceTask
) -> None:
    letters = [(key, "ABCDE"[int(str(place))]) for key, place in GOOD]
    with pytest.raises(DataError, match=r"1 answers outside the options: q03; --count-invalid-as-wrong"):
        check(write([*letters[:3], ("q03", "F"), *letters[4:]]), task)


def test_letters_among_indices_are_refused_however_invalid_answers_count(
    write: Callable[[Answers], Path], task: MultipleChoiceTask
) -> None:
    path = write([("q00", "A"), ("q01", "b"), *GOOD[2:]])
    with pytest.raises(DataError, match=r"outside the options: q00, q01; .*2 letters among indices"):
        check(path, task)
    with pytest.raises(DataError, match=r"refused: 2 letters among indices.*: q00, q01"):
        checked_answers(path, read_predictions(path), task.items(), task.items(), invalid_as_wrong=True)


def test_right_answers_and_choices_may_both_be_letters(tmp_path: Path) -> None:
    task = toy_task()
    right = {item.id: item.answer or 0 for item in task.items()}
    rows = [{"q_uid": key, "answer": "ABCDE"[place], "pred": "ABCDE"[4 - place]} for key, place in right.items()]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    answers = read_choices(PredictionsFile(tmp_path / "p.json"), task, task).answers
    chosen = {key: getattr(found, "answer", None) for key, found in answers.items()}
    assert chosen == {key: 4 - place for key, place in right.items()}


def test_an_answer_out_of_range_is_refused_with_its_id(
    write: Callable[[Answers], Path], task: MultipleChoiceTask
) -> None:
    path = write([*GOOD[:3], ("q03", 5), *GOOD[4:]])
    with pytest.raises(DataError, match=rf"{path} is refused: 1 answers outside the options: q03; "):
        check(path, task)


@pytest.mark.parametrize("answer", [-1, 2.5, "B", "³", "9" * 5000, "1e0"])
def test_an_answer_that_is_no_index_is_refused_with_its_id(
    write: Callable[[Answers], Path], task: MultipleChoiceTask, answer: object
) -> None:
    with pytest.raises(DataError, match=r"answers outside the options: q03; --count-invalid-as-wrong"):
        check(write([*GOOD[:3], ("q03", answer), *GOOD[4:]]), task)


@pytest.mark.parametrize("answer", [True, False, [1], {"a": 1}])
def test_a_json_answer_of_another_type_is_refused_with_its_id(
    tmp_path: Path, task: MultipleChoiceTask, answer: object
) -> None:
    as_json_rows(tmp_path / "p.json", [*GOOD[:3], ("q03", answer), *GOOD[4:]])
    with pytest.raises(DataError, match=r"answers outside the options: q03; --count"):
        check(tmp_path / "p.json", task)


def test_a_missing_id_is_refused_by_name(write: Callable[[Answers], Path], task: MultipleChoiceTask) -> None:
    with pytest.raises(DataError, match=r"refused: 1 missing ids: q11; --count-invalid-as-wrong"):
        check(write(GOOD[:-1]), task)


def test_a_repeated_id_is_refused_by_name(write: Callable[[Answers], Path], task: MultipleChoiceTask) -> None:
    with pytest.raises(DataError, match=r"refused: 1 repeated ids: q04$"):
        check(write([*GOOD, ("q04", 4)]), task)


@pytest.mark.parametrize("answer", [1, None, 99, "?"])
def test_an_id_outside_the_pool_never_stops_an_import(
    write: Callable[[Answers], Path], task: MultipleChoiceTask, answer: object
) -> None:
    assert check(write([*GOOD, ("stranger", answer), ("stranger", answer)]), task) == dict(GOOD)


def test_all_faults_are_named_at_once_and_long_lists_are_cut(tmp_path: Path, task: MultipleChoiceTask) -> None:
    as_json_map(tmp_path / "p.json", [("q00", 9), ("x", 1)])
    with pytest.raises(DataError) as refusal:
        check(tmp_path / "p.json", task)
    assert "1 answers outside the options: q00; 11 missing ids: q01, q02, q03, q04, q05 …; 1 unknown ids: x" in str(
        refusal.value
    )


def test_a_file_for_the_larger_pool_may_be_cut_to_the_smaller(tmp_path: Path) -> None:
    as_csv(tmp_path / "p.csv", GOOD)
    results = bring_in(tmp_path / "p.csv", toy_task(6), toy_task(12), tmp_path / "run")
    assert (results.status, list(read_samples(tmp_path / "run"))) == ("complete", IDS[:6])


def test_part_of_the_larger_pool_is_enough_where_it_holds_the_smaller(tmp_path: Path) -> None:
    as_csv(tmp_path / "p.csv", GOOD[:8])
    assert check(tmp_path / "p.csv", toy_task(6), toy_task(12)) == dict(GOOD[:6])


def rows_file(path: Path, *rows: Mapping[str, object]) -> Path:
    path.write_text(json.dumps([*rows, *({"q_uid": key, "answer": value} for key, value in GOOD[len(rows) :])]))
    return path


@pytest.mark.parametrize("other", ["pred", "prediction", "predicted_answer", "model_answer", "response", "choice"])
@pytest.mark.parametrize("value", [3, "3", "D", None])
def test_two_answer_fields_that_differ_are_refused_until_one_is_named(
    tmp_path: Path, task: MultipleChoiceTask, other: str, value: object
) -> None:
    path = rows_file(tmp_path / "p.json", {"q_uid": "q00", "answer": 0, other: value})
    with pytest.raises(DataError, match=r"1 ids whose answer fields differ \(name the model's by --field\): q00"):
        check(path, task)
    assert checked_answers(path, read_predictions(path, "answer"), task.items(), task.items())["q00"] == (0, None)


@pytest.mark.parametrize("other", ["model", "letter", "selected", "top1", "label"])
@pytest.mark.parametrize("value", [2, "2", "C", "(c)"])
def test_right_answers_throughout_beside_choices_of_any_name_are_refused(
    tmp_path: Path, other: str, value: object
) -> None:
    task = toy_task()
    rows = [{"q_uid": item.id, "answer": item.answer, other: value} for item in task.items()]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=rf"every answer is right, and '{other}' may be the model's \(name .* --field"):
        read_choices(PredictionsFile(tmp_path / "p.json"), task, task)
    for field, right in ((other, False), ("answer", True)):
        found = read_choices(PredictionsFile(tmp_path / "p.json", field), task, task).answers
        assert all(found[item.id].answer == item.answer for item in task.items()) == right  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "name",
    ["response", "prediction", "model_output", "raw_reply", "raw", "completion", "generated", "filtered_resps", "text"],
)
@pytest.mark.parametrize("reply", ["The answer is (B).", ["B"], {"text": "B"}])
@pytest.mark.parametrize("given", [12, 11])
def test_right_answers_beside_replies_in_words_are_refused(
    tmp_path: Path, name: str, reply: object, given: int
) -> None:
    task = toy_task()
    rows = [{"id": item.id, "answer": "ABCDE"[item.answer or 0], name: reply} for item in task.items()[:given]]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=rf"every answer is right, and '{name}' may be the model's"):
        read_choices(PredictionsFile(tmp_path / "p.json", invalid_as_wrong=given < 12), task, task)
    taken = PredictionsFile(tmp_path / "p.json", "answer", invalid_as_wrong=given < 12)
    assert read_choices(taken, task, task).answers["q02"] == prediction("q02", 4, None)


def test_options_counted_from_1_are_refused_though_invalid_answers_count_as_wrong(tmp_path: Path) -> None:
    task = toy_task()
    as_json_map(tmp_path / "p.json", [(key, int(index) + 1) for key, index in GOOD])  # type: ignore[call-overload]
    with pytest.raises(DataError, match="2 answers that seem to be counted from 1"):
        read_choices(PredictionsFile(tmp_path / "p.json", invalid_as_wrong=True), task, task)
    as_json_map(tmp_path / "p.json", [("q00", 0), ("q01", 5)])
    found = read_choices(PredictionsFile(tmp_path / "p.json", invalid_as_wrong=True), task, task).answers
    assert found["q01"] == prediction("q01", None, None)


def test_that_no_answer_is_the_first_option_is_said_of_many(tmp_path: Path) -> None:
    task = toy_task(24)
    for first, said in ((1, True), (0, False)):
        as_json_map(tmp_path / "p.json", [(f"q{i:02d}", first + i % 4) for i in range(24)])
        notes = read_choices(PredictionsFile(tmp_path / "p.json"), task, task).notes
        assert any("no answer is 0" in note for note in notes) == said


@pytest.mark.parametrize("form", ["{}.0", "{}.00", " {} "])
def test_whole_numbers_as_tables_write_them_are_indices(
    write: Callable[[Answers], Path], task: MultipleChoiceTask, form: str
) -> None:
    assert check(write([(key, form.format(index)) for key, index in GOOD]), task) == dict(GOOD)


@pytest.mark.parametrize(("name", "mark"), [("p.csv", ";"), ("p.csv", "\t"), ("p.tsv", "\t"), ("p.csv", ", ")])
def test_tables_with_other_marks_between_cells_are_read(
    tmp_path: Path, task: MultipleChoiceTask, name: str, mark: str
) -> None:
    lines = [f"q_uid{mark}answer", *(f"{key}{mark}{index}" for key, index in GOOD)]
    (tmp_path / name).write_text("\n".join(lines))
    assert check(tmp_path / name, task) == dict(GOOD)


def test_right_answers_beside_numbers_that_are_no_choices_are_taken(tmp_path: Path) -> None:
    task = toy_task()
    rows = [
        {"q_uid": item.id, "answer": item.answer, "seconds": 180, "count_frame": 4, "same": item.answer}
        for item in task.items()
    ]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    found = read_choices(PredictionsFile(tmp_path / "p.json"), task, task).answers
    assert {key: row.answer for key, row in found.items()} == {item.id: item.answer for item in task.items()}  # type: ignore[union-attr]


def test_two_answer_fields_that_agree_are_one_answer(tmp_path: Path, task: MultipleChoiceTask) -> None:
    path = rows_file(tmp_path / "p.json", {"q_uid": "q00", "answer": 0, "pred": "0", "response": "It is the first."})
    assert check(path, task) == dict(GOOD)


def test_the_named_field_is_the_answer_and_none_other(
    shared_data: Path, tmp_path: Path, task: MultipleChoiceTask
) -> None:
    rows = {key: {"prediction": value, "answer": 4 - value} for key, value in GOOD}
    (tmp_path / "p.json").write_text(json.dumps(rows))
    found = checked_answers(
        tmp_path / "p.json", read_predictions(tmp_path / "p.json", "prediction"), *[task.items()] * 2
    )
    assert {key: index for key, (index, _) in found.items()} == dict(GOOD)
    with pytest.raises(DataError, match="no row has the field 'guess'"):
        read_predictions(tmp_path / "p.json", "guess")
    hga = shared_data / "predictions" / "nextqa_hga_val.json"
    chosen = {row.id: row.answer for row in read_predictions(hga, "prediction")}
    truth = {row.id: row.answer for row in read_predictions(hga, "answer")}
    assert sum(chosen[key] == truth[key] for key in truth) / len(truth) == pytest.approx(0.4974, abs=5e-5)


def test_a_null_is_called_a_null(tmp_path: Path, task: MultipleChoiceTask) -> None:
    as_json_map(tmp_path / "p.json", [("q00", None), *GOOD[1:]])
    with pytest.raises(DataError, match=r"refused: 1 null answers: q00; --count-invalid-as-wrong"):
        check(tmp_path / "p.json", task)


def test_invalid_and_missing_answers_count_as_wrong_on_request(tmp_path: Path) -> None:
    task = toy_task()
    truth = {item.id: item.answer for item in task.items()}
    bad: Answers = [("q00", None), ("q01", 7), ("q02", "none of these")]
    as_json_map(tmp_path / "p.json", [*bad, *((key, truth[key]) for key in IDS[3:-1])])
    found = read_choices(PredictionsFile(tmp_path / "p.json", invalid_as_wrong=True), task, task)
    assert found.notes == ("4 of 12 choices are missing or none of the options: counted as wrong",)
    run = describe_import(task, "theirs", {"route": "unknown"}, "digest", [])
    results = import_run(task, run, tmp_path / "run", found.answers)
    assert (results.status, results.primary.value, results.details["unparsed"]) == (
        "complete",
        pytest.approx(8 / 12),
        4,
    )


def test_a_file_of_which_nothing_can_be_read_is_never_a_figure(tmp_path: Path, task: MultipleChoiceTask) -> None:
    as_json_map(tmp_path / "p.json", [(key, "?") for key in IDS])
    with pytest.raises(DataError, match="0 answers that can be read"):
        checked_answers(
            tmp_path / "p.json",
            read_predictions(tmp_path / "p.json"),
            task.items(),
            task.items(),
            invalid_as_wrong=True,
        )


@pytest.mark.parametrize("count", [1.5, True, "many", -2, [8]])
def test_a_frame_count_that_is_none_is_refused_and_not_dropped(
    tmp_path: Path, task: MultipleChoiceTask, count: object
) -> None:
    path = rows_file(tmp_path / "p.json", {"q_uid": "q00", "answer": 0, "count_frame": count})
    with pytest.raises(DataError, match="1 ids whose count_frame is not a whole number: q00"):
        check(path, task)


def test_json_lines_are_read(tmp_path: Path, task: MultipleChoiceTask) -> None:
    lines = "\n".join(json.dumps({"q_uid": key, "answer": value}) for key, value in GOOD)
    (tmp_path / "p.JSONL").write_text(lines)
    assert check(tmp_path / "p.JSONL", task) == dict(GOOD)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("p.json", '{"q00": 1', "not valid JSON"),
        ("p.json", "3", "must hold an object of ids to answers or a list of rows"),
        ("p.json", "[1, 2]", "entry 1 must be an object, not 1"),
        ("p.json", '[{"q_uid": "q00"}]', "no row has an answer"),
        ("p.json", '{"q00": ' + "9" * 5000 + "}", "a number of 5000 digits"),
        ("p.csv", "q00,1\nq01,2\n", "a row lacks an id"),
        ("p.csv", "q_uid,answer\nq00\n", "line 2 has 1 cells, the header 2"),
        ("p.csv", "q_uid,answer\nq00," + "1" * 200_000, "not valid CSV"),
        ("p.csv", "", "12 missing ids"),
        ("p.json", "{}", "12 missing ids"),
    ],
    ids=range(10),
)
def test_a_file_that_is_no_list_of_answers_is_refused_by_name(
    tmp_path: Path, task: MultipleChoiceTask, name: str, content: str, named: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=named) as refusal:
        check(tmp_path / name, task)
    assert str(tmp_path / name) in str(refusal.value)


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"q_uid,answer\n\xff\xfe")
    with pytest.raises(DataError, match=r"p\.csv, line 2 is not UTF-8 \(byte 0xff\)"):
        read_predictions(tmp_path / "p.csv")
    with pytest.raises(DataError, match=r"none\.json does not exist"):
        read_predictions(tmp_path / "none.json")


def test_a_csv_with_windows_line_ends_and_a_byte_order_mark_is_read(tmp_path: Path, task: MultipleChoiceTask) -> None:
    lines = ["q_uid,answer", *(f"{key},{answer}" for key, answer in GOOD)]
    (tmp_path / "p.csv").write_bytes("\ufeff".encode() + "\r\n".join(lines).encode())
    assert check(tmp_path / "p.csv", task) == dict(GOOD)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(choices=st.lists(st.integers(0, 4), min_size=12, max_size=12))
def test_written_submissions_read_back_as_they_were(
    choices: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, task = tmp_path_factory.mktemp("round"), toy_task()
    as_json_map(folder / "in.json", list(zip(IDS, choices, strict=True)))
    bring_in(folder / "in.json", task, task, folder / "run")
    files = write_submission(task, folder / "run")
    assert check(files.csv_path, task) == check(files.json_path, task) == dict(zip(IDS, choices, strict=True))


def test_importing_the_same_file_again_changes_nothing(tmp_path: Path, task: MultipleChoiceTask) -> None:
    as_csv(tmp_path / "p.csv", GOOD)
    first = bring_in(tmp_path / "p.csv", task, task, tmp_path / "run")
    before = (tmp_path / "run" / "samples.jsonl").read_bytes()
    assert bring_in(tmp_path / "p.csv", task, task, tmp_path / "run") == first
    assert (tmp_path / "run" / "samples.jsonl").read_bytes() == before


def test_another_file_is_not_imported_over_the_first(tmp_path: Path, task: MultipleChoiceTask) -> None:
    as_csv(tmp_path / "p.csv", GOOD)
    bring_in(tmp_path / "p.csv", task, task, tmp_path / "run")
    run = describe_import(task, "theirs", {"route": "unknown"}, "another digest", [])
    with pytest.raises(RecordError, match=r"different: model\.details\.predictions_sha256"):
        import_run(task, run, tmp_path / "run", {key: prediction(key, 1, None) for key in IDS})


@pytest.mark.parametrize("invalid_as_wrong", [True, False])
def test_ids_in_other_case_or_with_spaces_are_refused_and_do_not_count_as_wrong(
    task: MultipleChoiceTask, tmp_path: Path, invalid_as_wrong: bool
) -> None:
    path = tmp_path / "p.csv"
    as_csv(path, [("Q00", 1), ("q01 ", 1), *GOOD[2:]])
    with pytest.raises(DataError, match=r"2 ids that differ .* in upper and lower case or in spaces: Q00, q01"):
        checked_answers(path, read_predictions(path), task.items(), task.items(), invalid_as_wrong=invalid_as_wrong)
