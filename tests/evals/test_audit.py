"""`longvid audit`: what in a benchmark's own files spoils figures is found, told and counted."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.evals.conftest import longvid

ROW: dict[str, Any] = {"question": "What?", "end": 9}
ALPHABET = ("one", "six", "ten", "two")


def rows(count: int = 24) -> list[dict[str, Any]]:
    """Clean questions of options of one length, about as many videos as questions, right at every place alike."""
    return [
        {**ROW, "video": f"v{n}.mp4", "question": f"Number {n}?", "options": list(ALPHABET), "answer": n % 4}
        for n in range(count)
    ]


def write(
    folder: Path, found: Sequence[Mapping[str, Any] | str], file: str = "questions.jsonl", toml: str = 'name = "mine"\n'
) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "benchmark.toml").write_text(toml)
    lines = (row if isinstance(row, str) else json.dumps(row) for row in found)
    (folder / file).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def audited(target: object, *arguments: object, code: int | None = None) -> dict[str, dict[str, Any]]:
    """The findings by check; the exit code is 1 where one of them spoils figures."""
    done = longvid("audit", target, "--json", *arguments)
    told = json.loads(done.stdout)
    assert done.returncode == int(told["spoils"]) == int(any(row["spoils"] for row in told["findings"])), done.stderr
    assert code is None or done.returncode == code, told
    return {row["check"]: row for row in told["findings"]}


def test_a_clean_benchmark_spoils_nothing(tmp_path: Path) -> None:
    found = audited(write(tmp_path / "set", rows()), code=0)
    assert not any(finding["spoils"] for finding in found.values())
    assert found["missing videos"]["count"] == 24


def test_the_table_fits_80_columns_and_says_what_spoils(tmp_path: Path) -> None:
    long = {**rows()[0], "id": "a-very-long-id-" * 9, "options": ["Same", " same ", "other"], "answer": 0}
    done = longvid("audit", write(tmp_path / "set", [*rows(), long]))
    assert done.returncode == 1
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert done.stdout.splitlines()[-1] == "What spoils figures of mine@all: equal options."
    assert "mine@all: 25 items in 24 clusters (video)" in done.stdout


@pytest.mark.parametrize(
    ("options", "answer", "spoils"),
    [
        (["Red", "  red", "blue"], 0, True),
        (["Red", "  red", "blue"], 2, False),
        (["Red", "RED", "blue"], None, True),
        (["a  b", "a b", "c"], 1, True),
        (["ß", "SS", "c"], 2, False),
    ],
)
def test_options_that_are_equal_but_for_case_and_spaces_are_found(
    tmp_path: Path, options: list[str], answer: int | None, spoils: bool
) -> None:
    found = audited(write(tmp_path / "set", [*rows(), {**rows()[0], "id": "x", "options": options, "answer": answer}]))
    equal = found["equal options"]
    assert (equal["count"], equal["ids"], equal["spoils"]) == (1, ["x"], spoils)


def test_answers_that_are_none_or_several_options_are_counted_and_the_others_still_examined(tmp_path: Path) -> None:
    bad = [{**rows()[0], "answer": "seven"}, {**rows()[1], "options": ["six", "six", "ten"], "answer": "six"}]
    found = audited(write(tmp_path / "set", [*rows(), *bad]))
    assert found["answers"]["count"] == 2
    assert found["answers"]["ids"] == ["q25", "q26"]
    assert found["answers"]["found"].startswith("2 at fault; the first: line 25: field 'answer' must be an option's")
    assert (found["answers"]["spoils"], found["equal options"]["ids"]) == (True, ["q26"])


def test_rows_that_can_t_be_taken_are_all_counted(tmp_path: Path) -> None:
    bad = [{"question": "no video"}, {**rows()[0], "options": ["one"]}, {**rows()[0], "start": 9}]
    found = audited(write(tmp_path / "set", [*rows(), *bad]), code=1)
    assert found["rows"]["count"] == 3
    assert "line 25: field 'video' is missing" in found["rows"]["found"]
    assert found["missing videos"]["found"].startswith("24 of 24")


def test_a_benchmark_of_faults_alone_is_one_line(tmp_path: Path) -> None:
    done = longvid("audit", write(tmp_path / "set", ["{"]))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "line 1 is not valid JSON" in done.stderr


def test_answers_that_are_not_public_spoil_nothing(tmp_path: Path) -> None:
    hidden = [{key: value for key, value in row.items() if key != "answer"} for row in rows()]
    found = audited(write(tmp_path / "set", [*rows(), *hidden]), code=0)
    assert found["answers"]["found"] == "24 of 48 known, all among the options"
    assert found["the longest option"]["count"] == 24


def test_a_question_that_stands_twice_is_found_and_one_with_two_answers_spoils(tmp_path: Path) -> None:
    first = rows()[0]
    again = {**first, "question": "NUMBER  0?", "options": list(reversed(ALPHABET)), "answer": "one"}
    found = audited(write(tmp_path / "set", [*rows(), again]), code=0)
    assert found["repeated questions"]["ids"] == ["q25"]
    found = audited(write(tmp_path / "set", [*rows(), {**again, "answer": "six"}]), code=1)
    assert found["contradictions"]["ids"] == ["q1", "q25"]


def test_the_same_question_about_another_clip_is_no_repeat(tmp_path: Path) -> None:
    same = [{**row, "question": "What is it?"} for row in rows()]
    assert audited(write(tmp_path / "set", same), code=0)["repeated questions"]["count"] == 0


def test_a_right_answer_that_is_mostly_the_longest_spoils(tmp_path: Path) -> None:
    long = [
        {
            **row,
            "options": [f"{o} and more" if place == row["answer"] and n % 4 else o for place, o in enumerate(ALPHABET)],
        }
        for n, row in enumerate(rows(60))
    ]
    found = audited(write(tmp_path / "set", long), code=1)
    rule = found["the longest option"]
    assert rule["value"] == pytest.approx(0.75 + 0.25 * 1, abs=0.26)
    assert (rule["chance"], rule["spoils"]) == (0.25, True)
    assert rule["interval"][0] > 0.25
    assert not found["the shortest option"]["spoils"]


def test_of_equally_long_options_the_first_is_taken(tmp_path: Path) -> None:
    first = [{**row, "answer": 0} for row in rows()]
    found = audited(write(tmp_path / "set", first), code=1)
    assert found["the longest option"]["value"] == found["the shortest option"]["value"] == 1.0
    assert found["always A, the best"]["spoils"]
    assert found["right answers' places"]["p"] < 1e-10


def test_with_options_of_any_number_chance_is_each_questions_own(tmp_path: Path) -> None:
    mixed = [{**row, "options": list(ALPHABET[: 2 + n % 3]), "answer": n % 2} for n, row in enumerate(rows(36))]
    found = audited(write(tmp_path / "set", mixed))
    assert found["the longest option"]["chance"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)
    assert 0 < found["right answers' places"]["p"] < 0.05


def test_rules_score_by_the_mean_over_groups_where_that_is_the_primary_figure(tmp_path: Path) -> None:
    found = [
        {**row, "answer": 0 if n < 20 else 1, "labels": {"kind": "a" if n < 20 else "b"}}
        for n, row in enumerate(rows())
    ]
    folder = write(tmp_path / "set", found, toml='name = "mine"\nprimary = "mean over kind"\n')
    assert audited(folder)["the longest option"]["value"] == 0.5
    write(folder, found)
    assert audited(folder)["the longest option"]["value"] == pytest.approx(20 / 24)


def test_unequal_groups_of_a_label_are_told(tmp_path: Path) -> None:
    told = [{**row, "labels": {"kind": "a" if n < 5 else "b"}} if n else row for n, row in enumerate(rows())]
    found = audited(write(tmp_path / "set", told), code=0)
    assert found["label kind"]["found"] == "2 groups of 4 to 19 items: unequal; 1 without"


def test_clips_and_evidence_past_the_end_of_their_video_are_found(shared_data: Path, tmp_path: Path) -> None:
    folder = write(
        tmp_path / "set",
        [
            *({**row, "video": "ego.mp4", "end": 1.5} for row in rows(8)),
            {**rows()[0], "id": "over", "video": "ego.mp4", "end": 60},
            {**rows()[1], "id": "out", "video": "ego.mp4", "end": 1.5, "evidence": [[1, 4]]},
            {**rows()[2], "id": "broken", "video": "broken.mp4", "end": 1.5},
        ],
    )
    (folder / "videos").mkdir()
    shutil.copy(shared_data / "videos" / "natural" / "ego_frying_2s.mp4", folder / "videos" / "ego.mp4")
    (folder / "videos" / "broken.mp4").write_bytes(b"no video")
    found = audited(folder, code=1)
    assert (found["ends of clips"]["ids"], found["ends of clips"]["spoils"]) == (["over"], True)
    assert (found["evidence"]["ids"], found["evidence"]["spoils"]) == (["out"], False)
    assert (found["unreadable videos"]["count"], found["unreadable videos"]["ids"]) == (1, ["broken"])
    assert found["missing videos"]["count"] == 0


def test_missing_subtitles_are_counted_by_file(tmp_path: Path) -> None:
    told = [{**row, "subtitles": "there.srt" if n % 2 else "lost.srt"} for n, row in enumerate(rows())]
    folder = write(tmp_path / "set", told)
    (folder / "there.srt").touch()
    assert audited(folder, code=0)["missing subtitles"]["found"] == "1 of 2 subtitle files are missing: q1"


def test_videos_are_looked_for_where_is_said(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for n in range(24):
        (tmp_path / "elsewhere" / f"v{n}.mp4").touch()
    folder = write(tmp_path / "set", rows())
    assert audited(folder, "--videos", tmp_path / "elsewhere")["missing videos"]["count"] == 0


def test_a_pool_is_audited_alone(tmp_path: Path) -> None:
    told = [{**row, "labels": {"split": "dev" if n < 6 else "test"}} for n, row in enumerate(rows())]
    told[9]["answer"] = "none of them"
    folder = write(tmp_path / "set", told, toml='name = "mine"\n[pools.dev]\nlabels = {split = "dev"}\n')
    assert audited(f"{folder}@dev")["answers"]["count"] == 0
    assert audited(folder, code=1)["answers"]["count"] == 1


def test_repeated_texts_of_pairs_bound_strict_recall(tmp_path: Path) -> None:
    pairs = [{"video": f"v{n}", "end": 9, "text": f"text {n}"} for n in range(40)]
    folder = write(tmp_path / "set", [*pairs, {**pairs[0], "video": "w", "text": "TEXT  0"}], "pairs.jsonl")
    found = audited(folder, code=0)["repeated texts"]
    assert "strict recall at 1 can't pass 97.6 %" in found["found"]
    assert (found["count"], found["ids"]) == (2, ["p41"])
    write(folder, [{**pair, "text": "the same"} for pair in pairs], "pairs.jsonl")
    assert audited(folder, code=1)["repeated texts"]["spoils"]


def test_empty_texts_and_references_spoil(tmp_path: Path) -> None:
    pairs = [{"video": f"v{n}", "end": 9, "text": f"text {n}" if n else " "} for n in range(4)]
    assert audited(write(tmp_path / "p", pairs, "pairs.jsonl"), code=1)["texts"]["ids"] == ["p1"]
    captions = [{"video": f"v{n}", "end": 9, "references": [f"text {n}"] if n else [" ", "..."]} for n in range(4)]
    found = audited(write(tmp_path / "c", captions, "captions.jsonl"), code=1)
    assert found["references"]["ids"] == ["c1"]


# --- Real files ---------------------------------------------------------------------------------------


def test_egoschemas_500_questions_are_clean_and_their_right_options_short(shared_data: Path) -> None:
    found = audited("egoschema@500", "--data", shared_data, code=0)
    assert found["equal options"]["ids"] == ["0d173aa3-9a94-4ba4-84bc-949d3254a63d"]
    assert (found["the longest option"]["value"], found["the shortest option"]["value"]) == (0.072, 0.184)
    assert found["the longest option"]["interval"][1] < 0.2
    assert "A 101, B 108, C 91, D 83, E 117" in found["right answers' places"]["found"]
    assert found["missing videos"]["count"] == 500


def test_youcook2_s_pool_has_77_texts_that_stand_before(shared_data: Path) -> None:
    found = audited("youcook2-retrieval", "--data", shared_data, code=0)["repeated texts"]
    assert "can't pass 97.7 %" in found["found"]
    assert found["count"] == 141


def nextqa(shared_data: Path) -> Iterator[dict[str, Any]]:
    with (shared_data / "nextqa" / "val.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            options = [row[f"a{n}"] for n in range(5)]
            place = {"id": f"{row['video']}_{row['qid']}", "video": row["video"], "labels": {"type": row["type"][0]}}
            yield {**place, "question": row["question"], "options": options, "answer": int(row["answer"])}


def mlvu(shared_data: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((shared_data / "mlvu").glob("*.json")):
        for row in json.loads(path.read_text(encoding="utf-8")):
            if "candidates" in row:
                place = {"video": row["video"], "end": row["duration"], "labels": {"task": row["question_type"]}}
                yield {**place, **{k: row[k] for k in ("question", "answer")}, "options": row["candidates"]}


def cgbench(shared_data: Path) -> Iterator[dict[str, Any]]:
    for row in json.loads((shared_data / "cgbench" / "cgbench_mini.json").read_text(encoding="utf-8")):
        place = {"id": row["qid"], "video": row["video_uid"], "end": row["duration"], "evidence": row["clue_intervals"]}
        yield {**place, "question": row["question"], "options": row["choices"], "answer": row["right_answer"]}


def test_the_known_defects_of_nextqa_are_found_and_published_predictions_score_as_published(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = write(tmp_path / "set", list(nextqa(shared_data)))
    found = audited(folder, code=0)
    assert found["equal options"]["count"] == 3
    assert found["the longest option"]["value"] == pytest.approx(0.20, abs=0.01)
    assert found["the shortest option"]["value"] == pytest.approx(0.23, abs=0.01)
    published = json.loads((shared_data / "predictions" / "nextqa_hga_val.json").read_text(encoding="utf-8"))
    choices = {key: row["prediction"] for key, row in published.items()}
    (tmp_path / "choices.json").write_text(json.dumps(choices))
    done = longvid("import", folder, tmp_path / "choices.json", "--name", "HGA", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert " 49.7 % " in done.stdout


def test_the_known_defects_of_mlvu_are_found(shared_data: Path, tmp_path: Path) -> None:
    toml = 'name = "mlvu"\nprimary = "mean over task"\n[pools.needle]\nlabels = {task = "findNeedle"}\n'
    folder = write(tmp_path / "set", list(mlvu(shared_data)), toml=toml)
    found = audited(folder, code=1)
    assert (found["equal options"]["count"], found["answers"]["count"], found["long clips"]["count"]) == (16, 8, 14)
    assert "6 of them the right one" in found["equal options"]["found"]
    assert "the longest 32,550 s" in found["long clips"]["found"]
    assert round(found["the longest option"]["value"], 3) == 0.321
    needle = audited(f"{folder}@needle", code=1)
    assert round(needle["the longest option"]["value"], 3) == 0.515
    assert needle["answers"]["count"] == 2


def test_cgbench_has_five_to_eight_options_and_its_chance(shared_data: Path, tmp_path: Path) -> None:
    found = audited(write(tmp_path / "set", list(cgbench(shared_data))))
    assert round(found["the longest option"]["chance"], 3) == 0.146
    assert (found["answers"]["count"], found["evidence"]["count"]) == (0, 0)
