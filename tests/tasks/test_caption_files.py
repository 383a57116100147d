"""Caption files: what is refused, and what comes out."""

import json

import pytest

from tasks.caption_files import paired, read_captions, score_caption_files
from tasks.caption_metrics.meteor import (
    JAR_VARIABLE,
    MeteorError,
    MeteorJar,
    NotRun,
    find_meteor,
    meteor_statistics,
)
from tasks.caption_metrics.ngrams import Corpus
from tasks.errors import DataError
from tasks.tokenizers import tokenizer


def _write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_perfect_caption_has_full_marks_and_meteor_says_why_it_was_not_run(tmp_path):
    hypotheses = _write(tmp_path / "h.json", {"a": "stir the red soup well", "b": ["cut a big loaf of bread"]})
    references = _write(tmp_path / "r.json", {"b": ["cut a big loaf of bread"], "a": ["Stir the red soup, well!", "x"]})
    found = score_caption_files(hypotheses, references, tokenizer("ptb"), NotRun("no jar today"))
    assert list(found) == [
        *("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d", "meteor", "items", "meteor_not_run")
    ]
    assert found["bleu_4"] == pytest.approx(1)
    assert found["rouge_l"] == pytest.approx(1)
    assert (found["meteor"], found["meteor_not_run"], found["items"]) == (None, "no jar today", 2)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"a": "x", "a": "y"}', "bad.json has the key 'a' twice"),
        ("[1]", "JSON object"),
        ("{}", "at least one id"),
        ("{", "is not valid JSON"),
        ('{"q7": 3}', "field 'q7' must be a text or a list, not 3"),
        ('{"q7": []}', "'q7' needs a text"),
        ('{"q7": ["x", null]}', "field 'q7, entry 2' must be a text, not null"),
    ],
)
def test_a_file_that_is_not_ids_to_texts_is_refused_by_name(tmp_path, content, complaint):
    with pytest.raises(DataError, match=complaint) as caught:
        read_captions(_write(tmp_path / "bad.json", content))
    assert "bad.json" in str(caught.value)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"none\.json"):
        read_captions(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("hypotheses", "references", "complaint"),
    [
        ({"a": "x"}, {"a": "x", "lost": "y"}, r"h\.json lacks ids that have references: lost"),
        ({"a": "x", "extra": "y"}, {"a": "x"}, r"r\.json lacks ids that have a hypothesis: extra"),
        ({"twice": ["x", "y"]}, {"twice": "x"}, r"h\.json has several hypotheses \(give one\) for ids: twice"),
        ({"bare": "x"}, {"bare": ["x", "  "]}, r"r\.json has an empty reference for ids: bare"),
    ],
)
def test_ids_that_do_not_pair_are_refused_by_file_and_name(tmp_path, hypotheses, references, complaint):
    with pytest.raises(DataError, match=complaint):
        paired(_write(tmp_path / "h.json", hypotheses), _write(tmp_path / "r.json", references))


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    path = tmp_path / "h.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": "x"}')
    assert read_captions(path) == {"a": ("x",)}


def test_an_empty_hypothesis_scores_nothing_and_is_not_refused(tmp_path):
    hypotheses = _write(tmp_path / "h.json", {"a": "", "b": "cut the bread"})
    references = _write(tmp_path / "r.json", {"a": "stir the soup", "b": "cut the bread"})
    found = score_caption_files(hypotheses, references, tokenizer("ptb"), NotRun("-"))
    assert found["rouge_l"] == pytest.approx(0.5)


def test_without_java_meteor_is_not_run_with_a_reason(tmp_path, monkeypatch):
    jar = tmp_path / "meteor-1.5.jar"
    jar.touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_meteor(jar)
    assert isinstance(found, NotRun)
    assert "java" in found.reason


def test_a_named_jar_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(JAR_VARIABLE, str(tmp_path / "gone.jar"))
    with pytest.raises(DataError, match=r"gone\.jar"):
        find_meteor()


@pytest.mark.parametrize(
    ("script", "complaint"),
    [("exit 3", "exit 3"), ("echo hello", "answered .hello.|results"), ("sleep 5", "within")],
)
def test_a_jar_that_fails_or_stalls_is_an_error_never_a_figure(tmp_path, script, complaint):
    java = _write(tmp_path / "java", f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)
    corpus = Corpus((("a",),), ((("a",),),))
    with pytest.raises(MeteorError, match=complaint):
        meteor_statistics(corpus, MeteorJar(java, tmp_path / "x.jar", timeout=0.5))


@pytest.mark.parametrize(
    ("reference", "name"), [("...", "ptb"), (" - ", "ptb"), ("两只狗在雪地里玩", "letters"), ("42", "letters")]
)
def test_a_reference_of_which_no_token_is_left_is_refused_by_id(tmp_path, reference, name):
    hypotheses = _write(tmp_path / "h.json", {"a": "a man", "b": reference})
    references = _write(tmp_path / "r.json", {"a": ["a man"], "b": ["two dogs", reference]})
    with pytest.raises(DataError, match=r"r\.json has a reference without any token for ids: b"):
        score_caption_files(hypotheses, references, tokenizer(name), NotRun("no jar today"))


def test_a_caption_without_a_token_is_named(tmp_path):
    hypotheses = _write(tmp_path / "h.json", {"a": "a man", "b": "?!..."})
    references = _write(tmp_path / "r.json", {"a": ["a man"], "b": ["two dogs"]})
    hypotheses.write_text('{"a": "a man", "b": "..."}')
    (warning,) = score_caption_files(hypotheses, references, tokenizer("ptb"), NotRun("no jar today"))["warnings"]
    assert "1 of 2 items have a caption without a token (b)" in warning


@pytest.mark.parametrize("ids", [["a"], ["a", "b", "c"]])
def test_items_whose_references_are_all_alike_are_said_to_have_no_idf(tmp_path, ids):
    hypotheses = _write(tmp_path / "h.json", dict.fromkeys(ids, "a man rides a horse"))
    references = _write(tmp_path / "r.json", {key: ["a man rides a horse"] for key in ids})
    found = score_caption_files(hypotheses, references, tokenizer("ptb"), NotRun("no jar today"))
    assert found["cider_d"] == 0
    assert any("CIDEr-D is 0 for any captions" in warning for warning in found["warnings"])
