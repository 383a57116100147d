"""A benchmark as data: a folder's settings and rows, read strictly, as tasks like any other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.captioning import CaptioningTask
from tasks.errors import DataError
from tasks.folder import answer_index, chance_of, folder_benchmark, read_folder
from tasks.labels import labels_of
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask
from tasks.retrieval import RetrievalTask
from tasks.routes import Route
from tasks.statistics import fraction_metric, grouped_metric
from tasks.task import Clip, Prediction
from tests.evals.conftest import calls_of

ROW: dict[str, Any] = {"video": "a.mp4", "end": 9, "question": "What?", "options": ["This", "That"], "answer": 1}
CAPTION: dict[str, Any] = {"video": "a.mp4", "end": 9, "references": ["A man cooks."]}
PAIR: dict[str, Any] = {"video": "a.mp4", "end": 9, "text": "A man cooks."}


def write(
    folder: Path, *rows: Mapping[str, Any], toml: str | None = 'name = "mine"\n', file: str = "questions.jsonl"
) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    if toml is not None:
        (folder / "benchmark.toml").write_text(toml, encoding="utf-8")
    return folder


def load(folder: Path, pool: str = "all", **settings: Any) -> Any:
    return folder_benchmark(folder, lambda path: 12.0).load(folder, pool, **settings)  # type: ignore[operator]


def summary_of(task: MultipleChoiceTask, choice: int) -> dict[str, Any]:
    scores = [task.score(item, Prediction(item.id, choice)) for item in task.items()]
    return {metric.name: metric for metric in task.summarise(scores, np.random.default_rng(0)).metrics}


def test_a_video_without_its_suffix_is_found_by_any_suffix_the_usual_first(tmp_path: Path) -> None:
    (tmp_path / "videos" / "sub").mkdir(parents=True)
    for name in ("a.WEBM", "a.mkv", "b.Mp4", "sub/c.mov", "d", "._e.mp4"):
        (tmp_path / "videos" / name).touch()
    (tmp_path / "b.mp4").touch()
    (tmp_path / "e.mp4").mkdir()
    names = ["a", "b", "sub/c", "d", "e", "sub/none", "no/f", "c\0d"]
    items = load(write(tmp_path, *({**ROW, "video": name} for name in names))).items()
    found = [item.clip.path and str(item.clip.path.relative_to(tmp_path)) for item in items]
    assert found == ["videos/a.mkv", "videos/b.Mp4", "videos/sub/c.mov", "videos/d", None, None, None, None]


def test_questions_about_one_segment_share_it_and_equal_labels_are_one(tmp_path: Path) -> None:
    rows = [{**ROW, "labels": {"kind": kind}, "end": end} for kind, end in (("x", 9), ("y", 9), ("x", 8))]
    first, second, third = load(write(tmp_path, *rows)).items()
    assert first.clip is second.clip != third.clip
    assert first.labels is third.labels != second.labels


def test_looking_for_videos_that_are_missing_takes_few_calls_however_many_suffixes_there_are(tmp_path: Path) -> None:
    def calls(count: int) -> int:
        folder = write(tmp_path / str(count), *({**ROW, "video": f"v{n}"} for n in range(count)))
        return calls_of(lambda: load(folder))

    calls(1)
    assert (calls(200) - calls(100)) / 100 < 400  # some 200; 2,400 when each suffix was tried in both folders


# --- Settings ---------------------------------------------------------------------------------------


def test_of_the_settings_only_a_name_is_needed(tmp_path: Path) -> None:
    info = load(write(tmp_path, ROW)).info
    assert (info.name, info.family, info.version, info.cluster) == ("mine@all", "multiple-choice", "1", "video")
    assert (info.primary_metric, info.chance, info.item_count) == ("accuracy", 0.5, 1)


def test_all_settings_stand_in_the_tasks_description(tmp_path: Path) -> None:
    toml = """
    name = "mine"
    version = "2"
    title = "Mine: what is done?"
    licence = "CC-BY-4.0"
    citation = "Me, 2026"
    source = "https://example.org"
    cluster = "source video"
    videos = "Ask {me} for them."
    """
    benchmark = folder_benchmark(write(tmp_path, ROW, toml=toml), lambda path: 12.0)
    info = load(tmp_path).info
    assert (benchmark.title, benchmark.videos) == ("Mine: what is done?", "Ask {me} for them.")
    assert (info.version, info.licence, info.citation) == ("2", "CC-BY-4.0", "Me, 2026")
    assert (info.source, info.cluster) == ("https://example.org", "source video")


def test_without_settings_a_folder_is_named_by_the_digest_of_its_rows(tmp_path: Path) -> None:
    one = load(write(tmp_path / "one", ROW, toml=None)).info
    other = load(write(tmp_path / "other", {**ROW, "answer": 0}, toml=None)).info
    assert one.name == f"own-{one.items_sha256[:8]}@1" != other.name


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('title = "x"\n', r"benchmark\.toml: field 'name' is missing"),
        ('name = "x"\nlicense = "MIT"\n', r"unknown field 'license', did you mean 'licence'"),
        ('name = "x"\nversion = 2\n', "field 'version' must be a text, not 2"),
        ('name = "a@b"\n', "field 'name': a name needs letters or digits and may hold no @"),
        ('name = ".."\n', "field 'name': a name needs letters or digits"),
        ('name = "x"\n[pools."a/b"]\n', "field 'pools': a name .* may hold no @, /"),
        ('name = "x"\n[pools.all]\n', "the pool 'all' is always that of all rows"),
        ('name = "x"\n[pools.dev]\nlabel = {}\n', "unknown field 'pools, dev, label', did you mean 'labels'"),
        ('name = "x"\nprimary = "macro"\n', r"field 'primary' must be \"mean over items\" or \"mean over LABEL\""),
        ('name = "x"\n[prompts]\nletter = "$question"\n', r"field 'prompts, letter' may hold .*\$options"),
        ('name = "x"\n[prompts]\nloglik = "$questoin"\n', r"field 'prompts, loglik' may hold \$question"),
        ('name = "x"\n[prompts]\ngenerate = "5 $ $question $options"\n', r"a dollar sign is written \$\$"),
        ('name = "x"\n[prompts]\nletters = "x"\n', "unknown field 'prompts, letters', did you mean 'letter'"),
        ('name = "x"\n[prompts]\ncaption = "x"\n', "field 'prompts, caption': no model is asked so"),
        ("name = mine\n", "is not TOML .texts need quotes."),
    ],
)
def test_a_fault_in_the_settings_is_named_with_its_field(tmp_path: Path, toml: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(write(tmp_path, ROW, toml=toml))


@pytest.mark.parametrize(
    ("files", "found"), [((), "none"), (("questions.jsonl", "pairs.jsonl"), "questions.jsonl and pairs.jsonl")]
)
def test_a_folder_has_one_file_of_rows(tmp_path: Path, files: Sequence[str], found: str) -> None:
    for name in files:
        write(tmp_path, ROW, file=name)
    with pytest.raises(DataError, match=f"must hold exactly one of .*; found {found}"):
        read_folder(tmp_path)


@pytest.mark.parametrize(("file", "row"), [("captions.jsonl", CAPTION), ("pairs.jsonl", PAIR)])
def test_the_mean_over_a_label_is_for_questions(tmp_path: Path, file: str, row: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"field 'primary' is for questions\.jsonl"):
        load(write(tmp_path, row, toml='name = "x"\nprimary = "mean over kind"\n', file=file))


# --- Rows -------------------------------------------------------------------------------------------


def test_a_question_needs_a_video_a_question_and_options_alone(tmp_path: Path) -> None:
    write(tmp_path, {"video": "a.mp4", "question": "What?", "options": ["This", "That"]})
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    (item,) = load(tmp_path).items()
    assert (item.id, item.cluster, item.answer, item.clip.start, item.clip.end) == ("q1", "a.mp4", None, 0.0, 12.0)
    assert item.clip.path == tmp_path / "videos" / "a.mp4"


def test_a_question_may_tell_everything(tmp_path: Path) -> None:
    row = {
        **ROW,
        "id": 7,
        "start": 2,
        "labels": {"kind": "order", "length": "short"},
        "evidence": [[3, 4.5], [6, 6]],
        "subtitles": "subs/a.srt",
        "cluster": "film",
    }
    (item,) = load(write(tmp_path, row)).items()
    assert (item.id, item.cluster, item.clip.start, item.evidence) == ("7", "film", 2.0, ((3.0, 4.5), (6.0, 6.0)))
    assert item.clip.subtitles == tmp_path / "subs" / "a.srt"
    assert labels_of(item) == {"kind": "order", "length": "short"}


@pytest.mark.parametrize("file", ["questions.jsonl", "captions.jsonl", "pairs.jsonl"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vidoe": "x"}, "unknown field 'vidoe', did you mean 'video'"),
        ({"label": {}}, "unknown field 'label', did you mean 'labels'"),
        ({"zzz": 1}, "unknown field 'zzz'$"),
        ({"labels": {"kind": 3}}, "field 'labels, kind' must be a text, not 3"),
        ({"end": "9"}, "field 'end' must be a number, not \"9\""),
        ({"start": 9, "end": 9}, "the clip must begin before it ends, not 9 to 9 s"),
        ({"subtitles": 5}, "field 'subtitles' must be a text, not 5"),
        ({"id": None}, "field 'id' must be a text or a whole number, not null"),
        ({"video": ""}, "field 'video'"),
    ],
)
def test_a_fault_in_a_row_is_named_by_file_line_and_field(
    tmp_path: Path, file: str, change: dict[str, Any], message: str
) -> None:
    row = {"questions.jsonl": ROW, "captions.jsonl": CAPTION, "pairs.jsonl": PAIR}[file]
    with pytest.raises(DataError, match=rf"{file}, line 2: {message}"):
        load(write(tmp_path, row, {**row, **change}, file=file))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": ["This"]}, "field 'options'"),
        ({"options": [str(n) for n in range(27)]}, r"27 options, but a question has 2 to 26 \(field 'options'\)"),
        ({"options": ["a", 2]}, "field 'options, entry 2' must be a text, not 2"),
        ({"evidence": [[1, 2, 3]]}, "field 'evidence, entry 1'"),
        ({"evidence": [[5, 4]]}, "field 'evidence' must hold segments that begin before they end, not 5 to 4 s"),
        ({"evidence": [["1", 2]]}, "field 'evidence, entry 1, entry 1' must be a number"),
        ({"answer": 2}, "answer 2 is not the index of an option, 0 to 1"),
        ({"answer": -1}, "answer -1 is not the index of an option, 0 to 1"),
        ({"answer": True}, "field 'answer' must be"),
        ({"answer": 1.0}, "field 'answer' must be"),
        ({"answer": "C"}, r"field 'answer' must be an option's index from 0, its letter \(A to B\) or its text"),
        ({"answer": "Thta"}, ".*or its text, not \"Thta\", did you mean 'That'"),
        ({"options": ["B", "A"], "answer": "A"}, "field 'answer': \"A\" matches several options; give the index"),
        ({"options": ["x", "x"], "answer": "x"}, "field 'answer': \"x\" matches several options; give the index"),
    ],
)
def test_a_fault_in_a_question_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"questions\.jsonl, line 1: {message}"):
        load(write(tmp_path, {**ROW, **change}))


def test_26_options_are_taken(tmp_path: Path) -> None:
    (item,) = load(write(tmp_path, {**ROW, "options": [f"n{n}" for n in range(26)], "answer": "Z"})).items()
    assert item.answer == 25


@given(options=st.lists(st.text(min_size=2), min_size=2, max_size=26, unique=True), data=st.data())
def test_index_letter_and_text_are_the_same_answer(options: list[str], data: st.DataObject) -> None:
    right = data.draw(st.integers(0, len(options) - 1))
    assert {answer_index(form, options) for form in (right, ascii_uppercase[right], options[right])} == {right}


@given(options=st.lists(st.text(min_size=1, max_size=2), min_size=2, max_size=26), answer=st.text(max_size=3))
def test_a_text_is_an_answer_only_where_it_can_be_one_alone(options: list[str], answer: str) -> None:
    places = {place for place, option in enumerate(options) if option == answer}
    letter = ascii_uppercase.find(answer) if len(answer) == 1 else -1
    places |= {letter} if 0 <= letter < len(options) else set()
    if len(places) == 1:
        assert answer_index(answer, options) in places
    else:
        with pytest.raises(DataError, match="field 'answer'"):
            answer_index(answer, options)


def test_a_video_is_found_by_its_name_or_without_its_ending_in_either_place(tmp_path: Path) -> None:
    write(tmp_path, *({**ROW, "id": name, "video": name} for name in ("a.mp4", "b", "c.mkv", "d")))
    (tmp_path / "videos").mkdir()
    for name in ("videos/a.mp4", "videos/b.webm", "c.mkv"):
        (tmp_path / name).touch()
    found = {item.id: item.clip.path for item in load(tmp_path).items()}
    inside = tmp_path / "videos"
    assert found == {"a.mp4": inside / "a.mp4", "b": inside / "b.webm", "c.mkv": tmp_path / "c.mkv", "d": None}


def test_a_row_without_end_and_video_can_be_scored_and_not_asked(tmp_path: Path) -> None:
    write(tmp_path, {key: value for key, value in ROW.items() if key != "end"})
    (item,) = load(tmp_path).items()
    assert item.clip.end == float("inf")
    assert "length" not in labels_of(item)
    with pytest.raises(DataError, match=r"questions\.jsonl, line 1: there is no video .*a\.mp4; .* --videos"):
        load(tmp_path, to_ask=True)


def test_the_items_of_a_named_benchmark_are_the_same_with_and_without_its_videos(tmp_path: Path) -> None:
    write(tmp_path, {key: value for key, value in ROW.items() if key != "end"})
    without = load(tmp_path).info.items_sha256
    (tmp_path / "a.mp4").touch()
    assert load(tmp_path, to_ask=True).info.items_sha256 == without


@pytest.mark.parametrize(
    "change",
    [
        {"question": "Who?"},
        {"options": ["This", "Them"]},
        {"answer": 0},
        {"end": 8},
        {"start": 1},
        {"video": "b.mp4", "cluster": "a.mp4"},
        {"cluster": "x"},
        {"id": "x"},
    ],
)
def test_what_is_asked_decides_the_digest(tmp_path: Path, change: dict[str, Any]) -> None:
    one, other = load(write(tmp_path / "one", ROW)), load(write(tmp_path / "other", {**ROW, **change}))
    assert one.info.items_sha256 != other.info.items_sha256


def test_labels_evidence_and_subtitles_decide_nothing(tmp_path: Path) -> None:
    told = {**ROW, "labels": {"kind": "x"}, "evidence": [[1, 2]], "subtitles": "a.srt"}
    one, other = load(write(tmp_path / "one", ROW)), load(write(tmp_path / "other", told))
    assert one.info.items_sha256 == other.info.items_sha256


def test_captions_and_pairs_are_tasks_of_their_families(tmp_path: Path) -> None:
    captions = load(write(tmp_path / "c", {**CAPTION, "references": ["One.", "Two."]}, file="captions.jsonl"))
    pairs = load(write(tmp_path / "p", PAIR, {**PAIR, "text": "He eats."}, file="pairs.jsonl"))
    assert isinstance(captions, CaptioningTask)
    assert (captions.items()[0].references, captions.info.primary_metric) == (("One.", "Two."), "micro_cider_d")
    assert isinstance(pairs, RetrievalTask)
    assert ([item.text for item in pairs.items()], pairs.info.chance) == (["A man cooks.", "He eats."], 0.5)


# --- Pools ------------------------------------------------------------------------------------------

POOLS = """name = "mine"
[pools.dev]
labels = {split = "dev"}
[pools.hard]
labels = {split = ["dev", "test"], kind = "hard"}
[pools.listed]
ids = "listed.txt"
"""


def pooled(folder: Path, toml: str = POOLS, listed: str = "q3\n\nq1\n") -> Path:
    splits = [("dev", "easy"), ("dev", "hard"), ("test", "hard")]
    rows = [{**ROW, "labels": {"split": split, "kind": kind}} for split, kind in splits]
    write(folder, *rows, toml=toml)
    (folder / "listed.txt").write_text(listed)
    return folder


@pytest.mark.parametrize(
    ("pool", "ids"),
    [("all", ["q1", "q2", "q3"]), ("dev", ["q1", "q2"]), ("hard", ["q2", "q3"]), ("listed", ["q1", "q3"])],
)
def test_a_pool_is_the_rows_with_its_labels_or_ids(tmp_path: Path, pool: str, ids: list[str]) -> None:
    task = load(pooled(tmp_path), pool)
    assert ([item.id for item in task.items()], task.info.name) == (ids, f"mine@{pool}")


@pytest.mark.parametrize(
    ("toml", "pool", "message"),
    [
        (POOLS, "test", "has no pool 'test'.*; pools are all, dev, hard, listed"),
        ('name = "m"\n[pools.p]\nlabels = {splti = "dev"}\n', "p", "has the label 'splti', did you mean 'split'"),
        ('name = "m"\n[pools.p]\nlabels = {split = "dve"}\n', "p", "'split' is 'dve', did you mean 'dev'"),
        ('name = "m"\n[pools.p]\nlabels = {split = "test", kind = "easy"}\n', "p", "no row is in this pool"),
        ('name = "m"\n[pools.p]\nids = "none.txt"\n', "p", r"none\.txt does not exist"),
    ],
)
def test_a_pool_of_nothing_is_refused(tmp_path: Path, toml: str, pool: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(pooled(tmp_path, toml), pool)


@pytest.mark.parametrize(
    ("listed", "message"),
    [("q1\nq9\n", r"line 2: no row of .* has the id 'q9'"), ("q1\nq1\n", "line 2: the id 'q1' is used twice")],
)
def test_a_pools_ids_are_rows_each_once(tmp_path: Path, listed: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"listed\.txt, {message}"):
        load(pooled(tmp_path, listed=listed), "listed")


# --- Prompts ----------------------------------------------------------------------------------------


def test_prompts_are_ours_where_the_folder_has_none(tmp_path: Path) -> None:
    task = load(write(tmp_path, ROW, toml='name = "mine"\n[prompts]\nletter = "Q: $question\\n$options"\n'))
    letter, generate = task.prompts.of(Route.LETTER_LOGPROB), task.prompts.of(Route.GENERATE)
    assert letter is not None
    assert (letter.name, letter.fill("user", question="a $5", options="b")) == ("mine-letter", "Q: a $5\nb")
    assert letter.fill("reply") == "Answer:"
    assert generate is not None
    assert generate.name == "own-generate.v1"


def test_a_prompts_digest_changes_with_each_of_its_words(tmp_path: Path) -> None:
    texts = ("$question $options", "$question\n$options", "$question $options\n=== reply\nIt is", "$options $question")
    digests = set()
    for number, text in enumerate(texts):
        toml = f'name = "mine"\n[prompts]\nletter = {json.dumps(text)}\n'
        prompt = load(write(tmp_path / str(number), ROW, toml=toml)).prompts.of(Route.LETTER_LOGPROB)
        digests.add(prompt.sha256)
    assert len(digests) == len(texts)
    assert prompt.sections.keys() == {"user", "reply"}


def test_a_caption_prompt_is_the_folders_own(tmp_path: Path) -> None:
    write(tmp_path, CAPTION, file="captions.jsonl", toml='name = "mine"\n[prompts]\ncaption = "Say it in French."\n')
    assert load(tmp_path).ask.wording.fill("user") == "Say it in French."


# --- Figures ----------------------------------------------------------------------------------------


def test_chance_is_the_mean_of_every_questions_own(tmp_path: Path) -> None:
    rows = [{**ROW, "options": [f"n{n}" for n in range(count)], "answer": 0} for count in (2, 4, 5)]
    assert load(write(tmp_path, *rows)).info.chance == pytest.approx((1 / 2 + 1 / 4 + 1 / 5) / 3)


def grouped(folder: Path) -> MultipleChoiceTask:
    """Two videos each have three easy questions, right at B, and one hard one of three options, right at A."""
    rows = [{**ROW, "video": f"v{v}", "labels": {"question kind": "easy"}} for v in range(2) for _ in range(3)]
    hard = {**ROW, "options": ["x", "y", "z"], "answer": 0, "labels": {"question kind": "hard"}}
    toml = 'name = "mine"\nprimary = "mean over question kind"\n'
    task: MultipleChoiceTask = load(write(folder, *rows, *({**hard, "video": f"v{v}"} for v in range(2)), toml=toml))
    return task


def test_the_mean_over_a_label_counts_every_group_the_same(tmp_path: Path) -> None:
    task = grouped(tmp_path)
    metrics = summary_of(task, 1)
    assert (metrics["accuracy_by_question_kind"].value, metrics["accuracy"].value) == (0.5, 0.75)
    assert metrics["accuracy_by_question_kind"].primary
    assert not metrics["accuracy"].primary
    assert task.info.primary_metric == "accuracy_by_question_kind"
    assert task.info.chance == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_the_label_that_the_figure_is_over_is_part_of_the_items(tmp_path: Path) -> None:
    toml = 'name = "m"\nprimary = "mean over kind"\n'
    one, other = (
        load(write(tmp_path / kind, {**ROW, "labels": {"kind": kind}}, toml=toml)).info.items_sha256
        for kind in ("a", "b")
    )
    assert one != other


def test_a_row_without_the_label_that_the_figure_is_over_is_refused_by_line(tmp_path: Path) -> None:
    toml = 'name = "mine"\nprimary = "mean over kind"\n'
    with pytest.raises(DataError, match=r"questions\.jsonl, line 2: field 'labels' must have 'kind'"):
        load(write(tmp_path, {**ROW, "labels": {"kind": "a"}}, ROW, toml=toml))


def test_one_group_has_the_interval_of_the_mean_over_items() -> None:
    rng = np.random.default_rng(5)
    values, clusters = rng.integers(0, 2, 60).astype(float).tolist(), [str(n // 4) for n in range(60)]
    plain, group = fraction_metric("a", values, clusters), grouped_metric("a", values, clusters, ["g"] * 60)
    assert plain.interval is not None
    assert group.interval == pytest.approx(plain.interval)
    assert (group.value, group.n, group.clusters) == (pytest.approx(plain.value), 60, 15)


def test_a_group_of_one_cluster_gives_no_interval_and_says_why() -> None:
    metric = grouped_metric("a", [0.0, 1.0, 1.0, 0.0], ["u", "v", "v", "u"], ["x", "x", "y", "x"])
    assert (metric.value, metric.interval) == (pytest.approx((1 / 3 + 1) / 2), None)
    assert metric.method == "none (all items of 'y' are of one cluster)"


def test_the_interval_of_a_mean_over_groups_holds_its_level() -> None:
    rng, truth, covered, runs = np.random.default_rng(2), np.array([0.4, 0.7, 0.6]), 0, 300
    groups = [(k * 2 + j) % 3 for k in range(40) for j in range(1 + k % 6)]
    clusters = [k for k in range(40) for _ in range(1 + k % 6)]
    for _ in range(runs):
        shift = rng.normal(0, 0.1, 40)
        values = [float(rng.random() < truth[g] + shift[k]) for g, k in zip(groups, clusters, strict=True)]
        interval = grouped_metric("a", values, list(map(str, clusters)), list(map(str, groups))).interval
        assert interval is not None
        covered += interval[0] <= truth.mean() <= interval[1]
    assert 0.92 <= covered / runs <= 0.98


def test_without_labels_chance_is_over_items() -> None:
    items = [ChoiceItem(str(n), "v", Clip("v", 0, 9), "What?", tuple("abcde"[:n]), 0) for n in (2, 5)]
    assert chance_of(items) == pytest.approx(0.35)
