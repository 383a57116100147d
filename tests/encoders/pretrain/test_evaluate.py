import pytest
import torch
from torch.nn import functional

from encoders.pretrain.data import TextView
from encoders.pretrain.evaluate import PER_KIND, Evaluation, _asked
from encoders.pretrain.kitchen import KitchenSource
from encoders.pretrain.settings import KitchenSettings
from encoders.pretrain.step import Request
from encoders.tokens import byte_tokenizer
from tasks.kitchen.texts import KINDS
from tests.encoders.pretrain.toy import COLOURS, CORNERS, ToySource
from tests.encoders.small import encoder

DEVICE = torch.device("cpu")


class Seer:
    """Knows colour and corner from pixels and from words."""

    def __init__(self, blind=False):
        self.config = encoder().config
        self.blind = blind

    def embed_video(self, pixels, keep=None):
        assert keep is None
        rows = [self._of_pixels(video[0]) for video in pixels]
        return functional.normalize(torch.stack(rows), dim=1)

    def _of_pixels(self, frame):
        if self.blind:
            return torch.ones(8)
        out = torch.zeros(8)
        for number, (top, left) in enumerate(CORNERS.values()):
            part = frame[top : top + 16, left : left + 16].reshape(-1, 3)
            for other, colour in enumerate(COLOURS.values()):
                if bool((part == torch.tensor(colour)).all()):
                    out[number], out[4 + other] = 1, 1
        return out

    def embed_text(self, batch):
        tokenizer = byte_tokenizer().tokenizer
        rows = []
        for ids in batch.ids.tolist():
            text = tokenizer.decode(ids)
            names = (*CORNERS, *COLOURS)
            rows.append(torch.tensor([float(name in text) for name in names]) + 1e-3)
        return functional.normalize(torch.stack(rows), dim=1)


def evaluate(model, source=None):
    return Evaluation(model, byte_tokenizer(), source or ToySource(), 16, 5, DEVICE, "float32")()


def test_one_who_knows_is_right_throughout():
    assert evaluate(Seer()) == {
        "text_to_video_r1": 1,
        "video_to_text_r1": 1,
        "accuracy": 1,
        "accuracy_place": 1,
    }


def test_one_who_sees_nothing_gets_nothing_by_ties():
    found = evaluate(Seer(blind=True))
    assert found["text_to_video_r1"] == 0
    assert found["accuracy"] == 0


def test_equal_captions_are_each_others_right_answers():
    found = Evaluation(Seer(), byte_tokenizer(), ToySource(32), 32, 8, DEVICE, "float32")()
    assert found["text_to_video_r1"] == found["video_to_text_r1"] == 1


def test_unread_samples_are_counted():
    found = evaluate(Seer(), ToySource(broken=frozenset({2, 5})))
    assert found["unread"] == 2
    assert found["text_to_video_r1"] == 1


def test_the_encoder_itself_can_be_asked():
    found = evaluate(encoder())
    assert 0 <= found["accuracy_place"] <= 1
    assert found == pytest.approx(evaluate(encoder()))


def test_outcomes_say_of_each_video_what_the_figures_say_of_all():
    asked = Evaluation(encoder(), byte_tokenizer(), ToySource(broken=frozenset({1})), 16, 5, DEVICE, "float32")
    found, figures = asked.outcomes(), asked()
    assert found.keys == tuple(f"toy{i}" for i in range(16) if i != 1)
    assert found.text_to_video.mean() == figures["text_to_video_r1"]
    assert [video for video, _ in found.statements["place"]] == list(range(15))
    assert sum(right for _, right in found.statements["place"]) / 15 == figures["accuracy_place"]


def test_chance_follows_from_how_many_false_ones_there_are():
    asked = Evaluation(encoder(), byte_tokenizer(), ToySource(), 16, 5, DEVICE, "float32")
    assert asked.outcomes().chances == {"place": 1 / len(CORNERS)}


def test_few_statements_of_a_kind_are_spread_from_the_first_to_the_last():
    for count in range(1, 40):
        views = [TextView(str(n), ("no",), "order") for n in range(count)]
        asked = [int(view.text) for _, view in _asked([views])]
        assert len(asked) == len(set(asked)) == min(count, PER_KIND)
        assert asked[0] == 0
        if count > 1:
            assert asked[-1] == count - 1


def test_every_kind_of_statement_and_of_question_of_the_kitchen_is_measured():
    settings = KitchenSettings(videos=8, split="val", brief_apart=True)
    source = KitchenSource(settings, "video", frames=8, fps=1.0, size=32, centred=True)
    found = Evaluation(encoder(), byte_tokenizer(), source, 4, 4, DEVICE, "float32")()
    kinds = {view.kind for sample in source.load([Request(0, 0)]) for view in sample.statements}
    assert {"accents", "accents-before", "accents-when", "count", "cause", "missing", "next"} <= kinds
    assert {f"accuracy_{kind}" for kind in kinds} <= set(found)
    asked = {f"questions_{kind}" for kind in KINDS}
    assert asked <= set(found)
    assert found["questions"] == pytest.approx(sum(found[name] for name in asked) / len(asked))
