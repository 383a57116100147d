"""Published scores and pycocoevalcap's own code, on real captions."""

import json
import random
import time

import numpy as np
import pytest

from tasks.caption_metrics.conventions import METRIC_NAMES, CaptionedItem, score_captions, score_conventions
from tasks.caption_metrics.meteor import MeteorJar, NotRun, find_meteor, meteor_score, summable
from tasks.statistics import jackknife_errors
from tasks.tokenizers import tokenizer

NO_METEOR = NotRun("not wanted here")


def _values(items, convention="micro", name="none", meteor=NO_METEOR):
    values = score_captions(items, convention, tokenizer(name), meteor).values
    return [values[metric] for metric in METRIC_NAMES[:6]]


def test_the_thousand_image_fixture_scores_as_published(shared_data):
    references = json.loads((shared_data / "metric_fixtures" / "gts.json").read_text())
    captions = json.loads((shared_data / "metric_fixtures" / "res.json").read_text())
    items = [CaptionedItem(name, name, captions[name][0], tuple(references[name])) for name in references]
    published = [0.5793995754573356, 0.40439129741018104, 0.2785363856619147, 0.1908290437674253]
    published += [0.39625269357570847, 0.5997905185184199]
    assert _values(items) == pytest.approx(published, abs=1e-9)


@pytest.mark.parametrize(
    ("file", "published"),
    [
        ("good_captions.json", [0.6667, 0.4899, 0.3469, 0.4280, 0.5637]),
        ("bad_captions.json", [0.4815, 0.2404, 0.1359, 0.3121, 0.2790]),
    ],
)
def test_two_image_sets_score_as_published(shared_data, file, published):
    folder = shared_data / "metric_fixtures" / "clipscore"
    references = json.loads((folder / "refs.json").read_text())
    captions = json.loads((folder / file).read_text())
    items = [CaptionedItem(name, name, captions[name], tuple(references[name])) for name in references]
    values = _values(items, name="ptb")
    assert [*values[:3], *values[4:]] == pytest.approx(published, abs=5e-5)


@pytest.fixture
def svpc(shared_data):
    folder = shared_data / "predictions"
    references = json.loads((folder / "youcook2_svpc_references.json").read_text())
    predictions = json.loads((folder / "youcook2_svpc_full.json").read_text())["results"]
    return references, predictions


def _svpc_paragraphs(references, predictions):
    texts = {name: "".join(f"{part['sentence']}. " for part in predictions[name]) for name in references}
    return [CaptionedItem(name, name, texts[name], (references[name],)) for name in references]


def _svpc_sentences(predictions):
    return [
        CaptionedItem(f"{name}/{i}", name, part["sentence"], (part["gt_sentence"],))
        for name, parts in predictions.items()
        for i, part in enumerate(parts)
    ]


SVPC = [0.490481, 0.306774, 0.190690, 0.119573, 0.398944, 0.756081]


def test_svpc_paragraphs_score_as_published(svpc):
    assert _values(_svpc_paragraphs(*svpc), name="letters") == pytest.approx(SVPC, abs=1e-6)


def test_the_paragraph_convention_joins_segments_to_the_published_score(svpc):
    assert _values(_svpc_sentences(svpc[1]), "paragraph", "letters") == pytest.approx(SVPC, abs=1e-6)


def _coco(items, tokenize):
    bleu = pytest.importorskip("pycocoevalcap.bleu.bleu", reason="pip install pycocoevalcap to compare with it")
    cider = pytest.importorskip("pycocoevalcap.cider.cider")
    rouge = pytest.importorskip("pycocoevalcap.rouge.rouge")
    references = {item.id: [" ".join(tokenize(text)) for text in item.references] for item in items}
    captions = {item.id: [" ".join(tokenize(item.hypothesis))] for item in items}
    return [
        *bleu.Bleu(4).compute_score(references, captions, verbose=0)[0],
        rouge.Rouge().compute_score(references, captions)[0],
        cider.Cider().compute_score(references, captions)[0],
    ]


def test_each_video_alone_scores_as_pycocoevalcap_scores_it_and_macro_is_their_mean(svpc):
    chosen = dict(list(svpc[1].items())[:40])
    items = _svpc_sentences(chosen)
    tokenize = tokenizer("ptb")
    alone = [_coco([item for item in items if item.cluster == name], tokenize) for name in chosen]
    assert _values(items, "macro", "ptb") == pytest.approx(np.mean(alone, axis=0), abs=1e-9)


def test_a_video_of_one_segment_counts_in_macro_with_a_cider_of_zero():
    texts = ["cut the red onion well", "fry it in a hot pan", "boil the salted water"]
    items = [
        CaptionedItem(str(i), video, text, (text,)) for i, (video, text) in enumerate(zip("vvw", texts, strict=True))
    ]
    scores = score_captions(items, "macro", tokenizer("ptb"), NO_METEOR)
    by_video = scores.sums.figures(np.eye(2))
    assert by_video["cider_d"].tolist() == [pytest.approx(10.0), 0.0]
    assert scores.values["cider_d"] == pytest.approx(5.0)
    assert scores.values["rouge_l"] == by_video["rouge_l"][1] == pytest.approx(1.0)


def test_random_texts_with_several_references_score_as_pycocoevalcap_scores_them():
    rng = random.Random(3)

    def text(low):
        return " ".join(rng.choices(["a", "b", "c", "1\u00a01/2", "e"], k=rng.randint(low, 9)))

    items = [
        CaptionedItem(str(i), str(i % 7), text(0), tuple(text(1) for _ in range(rng.randint(1, 4)))) for i in range(60)
    ]

    def at_spaces(words):
        return tuple(words.split(" ")) if words else ()

    values = score_captions(items, "micro", at_spaces, NO_METEOR).values
    assert [values[name] for name in METRIC_NAMES[:6]] == pytest.approx(_coco(items, at_spaces), abs=1e-9)


def _hard_corpus(rng, size):
    """Captions that equal a reference, are empty, of one token, repeated, or the reference's words in another order."""
    words = ["cut", "the", "red", "onion", "well", "fry", "it", "in", "a", "hot", "pan", "and", "serve", "1\xa01/2"]

    def text(low, high):
        return " ".join(rng.choices(words, k=rng.randint(low, high)))

    items = []
    for i in range(size):
        references = tuple(text(1, 9) for _ in range(rng.randint(1, 3)))
        if items and rng.random() < 0.2:
            references = rng.choice(items).references
        kinds = (references[0], rng.choice(references), "", rng.choice(words), text(2, 9), references[0][::-1])
        shuffled = " ".join(sorted(references[0].split(" ")))
        items.append(CaptionedItem(str(i), str(i % 5), rng.choice((*kinds, shuffled)), references))
    return items


def _at_spaces(words):
    return tuple(words.split(" ")) if words else ()


@pytest.mark.parametrize("seed", range(12))
def test_exact_empty_short_and_repeated_captions_score_as_pycocoevalcap_scores_them(seed):
    items = _hard_corpus(random.Random(seed), 1 if seed == 0 else 3 + 4 * seed)
    values = score_captions(items, "micro", _at_spaces, NO_METEOR).values
    assert [values[name] for name in METRIC_NAMES[:6]] == pytest.approx(_coco(items, _at_spaces), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_macro_and_paragraphs_of_such_captions_are_those_of_pycocoevalcap(seed):
    items = _hard_corpus(random.Random(seed), 15)
    items = [CaptionedItem(i.id, i.cluster, i.hypothesis, i.references[:1]) for i in items]
    videos = sorted({item.cluster for item in items})
    alone = [_coco([item for item in items if item.cluster == video], _at_spaces) for video in videos]
    macro = score_captions(items, "macro", _at_spaces, NO_METEOR).values
    assert [macro[name] for name in METRIC_NAMES[:6]] == pytest.approx(np.mean(alone, axis=0), abs=1e-9)
    members = {video: [item for item in items if item.cluster == video] for video in videos}
    joined = [
        CaptionedItem(v, v, " ".join(i.hypothesis for i in m), (" ".join(i.references[0] for i in m),))
        for v, m in members.items()
    ]
    paragraph = score_captions(items, "paragraph", tokenizer("none"), NO_METEOR).values
    expected = _coco(joined, tokenizer("none"))
    assert [paragraph[name] for name in METRIC_NAMES[:6]] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_weight_counts_a_videos_captions_that_many_times(seed):
    items = _hard_corpus(random.Random(seed), 20)
    weights = np.array([[0.0, 2.0, 1.0, 0.0, 3.0]])
    repeated = [
        CaptionedItem(f"{item.id}/{time}", item.cluster, item.hypothesis, item.references)
        for item in items
        for time in range(int(weights[0, int(item.cluster)]))
    ]
    weighted = score_captions(items, "micro", _at_spaces, NO_METEOR).sums.figures(weights)
    anew = _coco(repeated, _at_spaces)
    # CIDEr-D keeps the whole set's idf, so that it is not that of the repeated captions alone
    names = [name for name in METRIC_NAMES[:6] if name != "cider_d"]
    assert [weighted[name][0] for name in names] == pytest.approx(anew[:5], abs=1e-7)


# the jar's answers to SCORE lines (an exact caption, a poor one, one word, none, an exact one, its words in another
# order, half a paraphrase, nothing right), its figures for each, and for their sum
JAR_STATISTICS = """
5 5 2 2 3 3 2 2 0 0 0 0 0 0 0 0 0 0 0 0 1 5 5
3 7 1 4 0 0 1 1 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1
1 1 0 0 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1
0 5 0 2 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
5 5 2 2 3 3 2 2 0 0 0 0 0 0 0 0 0 0 0 0 1 5 5
5 5 2 2 3 3 2 2 0 0 0 0 0 0 0 0 0 0 0 0 5 5 5
4 4 1 1 2 2 1 1 1 1 0 0 0 0 0 0 0 0 0 0 2 4 4
3 3 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
"""
JAR_FIGURES = [1.0, 0.03305785123966942, 1.0, 0.0, 1.0, 0.4, 0.42034930257964653, 0.0]
JAR_TOGETHER = 0.31086100626213636


def test_meteor_of_segments_and_of_their_sum_is_the_jars_to_the_last_digit():
    rows = summable(np.array([[float(n) for n in line.split()] for line in JAR_STATISTICS.split("\n") if line]))
    assert meteor_score(rows).tolist() == JAR_FIGURES
    assert float(meteor_score(rows.sum(axis=0))) == JAR_TOGETHER
    assert float(meteor_score(rows[[0, 2, 4]].sum(axis=0))) == 1.0


@pytest.mark.slow
def test_meteor_with_exact_captions_is_pycocoevalcaps_to_the_last_digit(jar: MeteorJar):
    meteor = pytest.importorskip("pycocoevalcap.meteor.meteor").Meteor()
    items = _hard_corpus(random.Random(1), 40)
    items = [CaptionedItem(i.id, i.cluster, i.hypothesis, i.references[:1]) for i in items]
    scores = score_conventions(items, ("micro", "macro"), tokenizer("none"), jar)

    def theirs(members):
        return meteor.compute_score(
            {i.id: [" ".join(i.references[0].split())] for i in members},
            {i.id: [" ".join(i.hypothesis.split())] for i in members},
        )[0]

    assert scores["micro"].values["meteor"] == theirs(items)
    alone = [theirs([item for item in items if item.cluster == video]) for video in scores["macro"].clusters]
    assert scores["macro"].values["meteor"] == pytest.approx(np.mean(alone), abs=1e-15)


@pytest.fixture(scope="module")
def jar():
    found = find_meteor()
    if isinstance(found, NotRun):
        pytest.skip(found.reason)
    return found


@pytest.mark.slow
def test_meteor_of_svpc_paragraphs_is_as_published(svpc, jar: MeteorJar):
    values = score_captions(_svpc_paragraphs(*svpc), "micro", tokenizer("letters"), jar).values
    assert values["meteor"] == pytest.approx(0.21435752147827855, abs=1e-6)


@pytest.mark.slow
def test_meteor_of_three_conventions_from_one_run_is_that_of_three_runs(svpc, jar: MeteorJar):
    items = _svpc_sentences(dict(list(svpc[1].items())[:8]))
    names, tokenize = ("micro", "macro", "paragraph"), tokenizer("ptb")
    together = score_conventions(items, names, tokenize, jar)
    assert [together[name].values for name in names] == [
        score_captions(items, name, tokenize, jar).values for name in names
    ]


@pytest.mark.slow
def test_captions_with_line_breaks_and_bars_keep_meteor_in_step(jar: MeteorJar):
    plain = CaptionedItem("a", "a", "put the onion in the pan", ("put an onion in a pan",))
    rough = ["", "stir\r\nthe ||| pot", "mix\rwell\x85now\u2028", "|||", "☃ 🍕"]
    items = [CaptionedItem(f"r{i}", "r", text, ("stir the pot well",)) for i, text in enumerate(rough)]
    alone = score_captions([plain], "micro", tokenizer("none"), jar).values["meteor"]
    scores = score_captions([*items, plain], "macro", tokenizer("none"), jar)
    assert scores.sums.figures(np.array([[0.0, 1.0]]))["meteor"][0] == pytest.approx(alone, abs=1e-9)


@pytest.mark.slow
def test_validation_segments_take_half_of_pycocoevalcaps_time_and_intervals_five_seconds(shared_data):
    ptb = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer", reason="pip install pycocoevalcap")
    content = json.loads((shared_data / "youcook2" / "youcookii_annotations_trainval.json").read_text())["database"]
    parts = [
        (v, part) for v, video in content.items() if video["subset"] == "validation" for part in video["annotations"]
    ]
    sentences = [part["sentence"] for _, part in parts]
    items = [
        CaptionedItem(str(i), video, sentences[i - 1], (part["sentence"],)) for i, (video, part) in enumerate(parts)
    ]
    begin = time.perf_counter()
    ours = score_captions(items, "micro", tokenizer("ptb"), NO_METEOR)
    our_seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    texts = ptb.PTBTokenizer().tokenize({item.id: [{"caption": item.references[0]}] for item in items})
    other = ptb.PTBTokenizer().tokenize({item.id: [{"caption": item.hypothesis}] for item in items})
    made = [CaptionedItem(item.id, item.cluster, other[item.id][0], (texts[item.id][0],)) for item in items]
    theirs = _coco(made, lambda text: tuple(text.split(" ")))
    their_seconds = time.perf_counter() - begin
    assert [ours.values[name] for name in METRIC_NAMES[:6]] == pytest.approx(theirs, abs=1e-6)
    assert our_seconds <= their_seconds / 2, (our_seconds, their_seconds)
    begin = time.perf_counter()
    jackknife_errors(ours.sums.figures, ours.sums.counted)
    assert time.perf_counter() - begin < 5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\u5207\u6d0b\u8471", True),
        ("\u7537\u6027\u304c\u30ae\u30bf\u30fc\u3092\u5f3e\u3044\u3066\u3044\u308b\u3002", True),
        ("\u5207 \u6d0b\u8471", False),
        ("cut the onion", False),
        ("caf\u00e9", False),
    ],
)
def test_texts_in_a_script_without_spaces_are_said_to_be_one_word(text, told):
    items = [CaptionedItem("a", "v", "cut", (text,)), CaptionedItem("b", "v", "fry", ("fry it",))]
    warnings = score_captions(items, "micro", tokenizer("ptb"), NO_METEOR).warnings
    assert [warning[:12] for warning in warnings if "script without spaces" in warning] == ["1 of 2 items"] * told
