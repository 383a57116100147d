"""The PTB tokenizer against recorded tokens, and against the original on real captions."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.ptb_tokenizer import ptb_tokens
from tasks.tokenizers import tokenizer

GOLDEN = json.loads((Path(__file__).parent / "ptb_golden.json").read_text())
PUNCTUATION = {"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"}


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["text"][:30])
def test_tricky_text_has_the_tokens_recorded_from_the_original(entry):
    assert list(ptb_tokens(entry["text"])) == entry["tokens"]


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["text"][:30])
def test_a_line_break_is_a_space(entry):
    for mark in ("\n", "\r\n", "\r"):
        assert ptb_tokens(f"stir{mark}{entry['text']}") == ptb_tokens(f"stir {entry['text']}")


def _sentences(shared_data):
    content = json.loads((shared_data / "youcook2" / "youcookii_annotations_trainval.json").read_text())["database"]
    return [[part["sentence"] for part in video["annotations"]] for video in content.values()]


def test_all_youcook2_sentences_have_the_digest_of_the_originals_tokens(shared_data):
    lines = [" ".join(ptb_tokens(sentence)) for video in _sentences(shared_data) for sentence in video]
    assert len(lines) == 13_829
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == "87e091a92363218a98dced03674547160ba443bc21604f7c09471f793562fea0"


@pytest.fixture
def original(tmp_path):
    package = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer", reason="pip install pycocoevalcap")
    jar = Path(package.__file__).parent / package.STANFORD_CORENLP_3_4_1_JAR
    if shutil.which("java") is None or not jar.is_file():
        pytest.skip("needs java and the jar that pycocoevalcap installs")

    def run(texts):
        (tmp_path / "in").write_text("\n".join(texts), encoding="utf-8")
        command = ["java", "-Dfile.encoding=UTF-8", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer"]
        command += ["-preserveLines", "-lowerCase", str(tmp_path / "in")]
        lines = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\n")
        return [[word for word in line.strip(" ").split(" ") if word and word not in PUNCTUATION] for line in lines]

    return run


@pytest.mark.slow
def test_sentences_and_paragraphs_of_youcook2_have_the_originals_tokens(shared_data, original):
    videos = _sentences(shared_data)
    texts = [sentence for video in videos for sentence in video]
    texts += [" ".join(video) for video in videos]
    texts += [". ".join(sentence.capitalize() for sentence in video) + ". Done" for video in videos]
    wrong = [text for text, tokens in zip(texts, original(texts), strict=False) if list(ptb_tokens(text)) != tokens]
    assert wrong == []


@pytest.mark.slow
def test_one_in_a_thousand_egoschema_texts_at_most_differs_from_the_original(shared_data, original):
    questions = json.loads((shared_data / "egoschema" / "questions.json").read_text())
    texts = [entry[key] for entry in questions for key in ("question", "option 0", "option 1")]
    # the original looks past a line's end for the next capital letter: a plain line stands between
    lines = [" ".join(line.splitlines()) for text in texts for line in (text, "stir")]
    tokens = original(lines)[: len(lines) : 2]
    wrong = [text for text, found in zip(texts, tokens, strict=True) if list(ptb_tokens(text)) != found]
    assert len(wrong) <= len(texts) / 1000, wrong[:5]


def test_letters_keep_nothing_but_letters():
    assert tokenizer("letters")("Add 2 Tbsp. of crème!") == ("add", "tbsp", "of", "cr", "me")


def test_none_splits_at_white_space_and_changes_nothing():
    assert tokenizer("none")(" Add  It's\tnow. ") == ("Add", "It's", "now.")
