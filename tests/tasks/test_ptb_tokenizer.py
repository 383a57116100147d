"""The PTB tokenizer against recorded tokens, and against the original on real captions."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.tokenizers import ptb_tokens, tokenizer

GOLDEN = json.loads((Path(__file__).parent / "ptb_golden.json").read_text())
PUNCTUATION = {"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"}


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["text"][:30])
def test_tricky_text_has_the_tokens_recorded_from_the_original(entry):
    assert list(ptb_tokens(entry["text"])) == entry["tokens"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("add 2 tbsp. , stir ; then : wait", "add|2|tbsp|stir|then|wait"),
        ("add salt., then", "add|salt.|then"),
        ("stir!add the oil", "stir!add|the|oil"),
        ("what?no it's!done", "what?no|it|'s|done"),
        ("mix -LRB- the flour -RRB-", "mix|-lrb-|the|flour|-rrb-"),
        ("(555) 555-1234 or (555)555-1234", "-lrb-555-rrb-\u00a0555-1234|or|-lrb-555-rrb-555-1234"),
        ("+44 555 555 1234", "+44\u00a0555\u00a0555\u00a01234"),
        ("at 00:06:50,00:07:20 or -14:55", "at|00:06:50,00:07:20|or|-14:55"),
        ("58.com and knorr.com.ph and How2Expo.com.au", "58|com|and|knorr.com.ph|and|how2expo.com.au"),
        ("1.mp4 Work.MP4 a.b.mp4", "1|mp4|work.mp4|a.b.mp4"),
        ("in LA. What is a. What as a...", "in|la.|what|is|a|what|as|a."),
        ("salt,pepper-x U.S.-led A+B C++ >> x", "salt,pepper-x|u.s.-led|a+b|c++|>>|x"),
    ],
)
def test_space_or_no_space_beside_punctuation_is_read_as_the_original_reads_it(text, tokens):
    assert list(ptb_tokens(text)) == tokens.split("|")


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


@pytest.mark.slow
def test_unseen_captions_with_a_space_before_punctuation_have_the_originals_tokens(shared_data, original):
    speech = json.loads((shared_data / "youcook2" / "asr_transcripts.json").read_text())["annotations"]
    texts = [part.strip() for entry in speech for part in re.split(r"<time_token_\d+>", entry.get("asr_text") or "")]
    captions = json.loads((shared_data / "captions" / "egoschema_lavila_1s.json").read_text())
    texts += sorted({text for video in captions.values() for text in video})[::5]
    spaced = [re.sub(r"\s*([,;:.!?])", r" \1", text) for text in texts]
    lines = [" ".join(line.splitlines()) for text in (*texts, *spaced) for line in (text, "stir")]
    tokens = original(lines)[: len(lines) : 2]
    wrong = [text for text, found in zip((*texts, *spaced), tokens, strict=True) if list(ptb_tokens(text)) != found]
    assert wrong == []


def test_letters_keep_nothing_but_letters():
    assert tokenizer("letters")("Add 2 Tbsp. of crème!") == ("add", "tbsp", "of", "cr", "me")


def test_none_splits_at_white_space_and_changes_nothing():
    assert tokenizer("none")(" Add  It's\tnow. ") == ("Add", "It's", "now.")
