import json
import time

import pytest
import torch

from encoders.config import TextConfig
from encoders.dual import BertTower, ClipTower
from encoders.tokens import byte_tokenizer, load_tokenizer, read_tokenizer, train_tokenizer
from tasks.errors import ModelError
from tests.encoders.small import encoder, stir

SHAPE = {"width": 32, "depth": 2, "heads": 2, "mlp": 64, "vocabulary": 260, "context": 16}
SENTENCES = ["chop the onion", "fry the onion in the pan", "the pan is hot", "chop chop"] * 5


@pytest.fixture(params=["bert", "clip"])
def tower(request):
    torch.manual_seed(0)
    module = (BertTower if request.param == "bert" else ClipTower)(TextConfig(kind=request.param, **SHAPE))
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return module.eval()


def test_bert_text_vector_is_the_average_over_token_outputs():
    torch.manual_seed(0)
    tower = BertTower(TextConfig(**SHAPE)).eval()
    batch = byte_tokenizer().batch(["pan"], 16)
    expected = tower.bert(batch.ids, batch.mask).mean(1)
    torch.testing.assert_close(tower(batch), expected)


def test_padding_does_not_change_a_text_vector(tower):
    tokenizer = byte_tokenizer()
    alone = tower(tokenizer.batch(["pan"], 16))
    beside = tower(tokenizer.batch(["pan", "a longer one"], 16))[:1]
    fixed = tower(tokenizer.batch(["pan"], 16, length=16))
    torch.testing.assert_close(beside, alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(fixed, alone, rtol=1e-5, atol=1e-5)


def test_a_text_longer_than_the_context_is_pooled_from_chunks_and_says_so(tower):
    batch = byte_tokenizer().batch(["x" * 30, "short"], 16)
    assert batch.chunks == (3, 1)  # 14 + 14 + 2 bytes
    assert batch.ids.shape == (4, 16)
    assert tower(batch).shape == (2, 32)


def test_the_end_of_a_long_text_reaches_its_vector(tower):
    batch = byte_tokenizer().batch(["x" * 29 + "a", "x" * 29 + "b"], 16)
    one, two = tower(batch)
    assert bool((one - two).norm() > 1e-3)


def test_every_token_of_a_chunked_bert_text_weighs_the_same():
    torch.manual_seed(0)
    tower = BertTower(TextConfig(**SHAPE)).eval()
    batch = byte_tokenizer().batch(["x" * 20], 16)
    outputs = tower.bert(batch.ids, batch.mask)
    torch.testing.assert_close(tower(batch)[0], outputs[batch.mask].mean(0))


def test_different_texts_give_different_vectors_and_a_batch_equals_single_texts():
    model = encoder()
    tokenizer, texts = byte_tokenizer(), ["chop", "chop the onion", ""]
    together = model.embed_text(tokenizer.batch(texts, 32))
    single = torch.cat([model.embed_text(tokenizer.batch([text], 32)) for text in texts])
    assert bool((torch.pdist(together) > 1e-3).all())
    torch.testing.assert_close(together, single, rtol=1e-5, atol=1e-5)


def test_clip_s_tower_reads_left_to_right():
    tower = ClipTower(TextConfig(kind="clip", **SHAPE)).eval()
    stir(tower)
    ids = torch.randint(0, 260, (1, 8))
    x = tower.embedding(ids)
    for block in tower.blocks:
        x = block(x, causal=True)
    changed = ids.clone()
    changed[0, -1] = (changed[0, -1] + 1) % 260
    y = tower.embedding(changed)
    for block in tower.blocks:
        y = block(y, causal=True)
    torch.testing.assert_close(x[:, :-1], y[:, :-1])


def test_frequent_words_become_one_token_whatever_their_case():
    tokenizer = train_tokenizer(SENTENCES, 300)
    known = tokenizer.tokenizer.encode("Chop the ONION", add_special_tokens=False)
    assert tokenizer.tokenizer.decode(known.ids) == "chop the onion"
    assert len(known.ids) == 3


def test_training_a_vocabulary_twice_gives_the_same_file():
    assert train_tokenizer(SENTENCES, 290).to_json() == train_tokenizer(SENTENCES, 290).to_json()


def test_a_tokenizer_survives_its_file(tmp_path):
    tokenizer = train_tokenizer(SENTENCES, 100)
    (tmp_path / "t.json").write_text(tokenizer.to_json(), encoding="utf-8")
    again = load_tokenizer(tmp_path / "t.json")
    assert torch.equal(again.batch(SENTENCES, 16).ids, tokenizer.batch(SENTENCES, 16).ids)


def test_bytes_cover_any_text():
    text = "½ zwiebel, 玉ねぎ 🧅"
    tokenizer = byte_tokenizer()
    batch = tokenizer.batch([text], 64)
    assert int(batch.mask.sum()) == len(text.encode()) + 2
    assert tokenizer.tokenizer.decode(batch.ids[0].tolist()) == text


def test_a_foreign_or_missing_tokenizer_file_is_refused_by_name(tmp_path):
    with pytest.raises(ModelError, match="no tokenizer at"):
        load_tokenizer(tmp_path / "none.json")
    with pytest.raises(ModelError, match=r"x\.json is not a tokenizer"):
        read_tokenizer("{}", "x.json")


@pytest.mark.parametrize("place", ["vocabulary", "added"])
def test_an_id_in_the_billions_is_refused_before_the_ids_below_it_are_counted(place: str) -> None:
    content = json.loads(byte_tokenizer().to_json())
    if place == "vocabulary":
        content["model"]["vocab"]["a"] = 10**9
    else:
        content["added_tokens"][0]["id"] = content["model"]["vocab"]["[PAD]"] = 10**9
    began = time.process_time()
    with pytest.raises(ModelError, match=r"^x\.json has a token with the id 1000000000, past any vocabulary's"):
        read_tokenizer(json.dumps(content), "x.json")
    assert time.process_time() - began < 1


def test_no_texts_are_refused():
    with pytest.raises(ModelError, match="no texts"):
        byte_tokenizer().batch([], 16)


@pytest.mark.parametrize("chosen", [[0], [1], [0, 2], [1, 2, 3]])
def test_some_texts_of_a_batch_are_the_batch_of_those_texts(chosen):
    words = ["pan", "x" * 30, "a longer one", "y" * 17]
    found = byte_tokenizer().batch(words, 16).of(chosen)
    expected = byte_tokenizer().batch([words[at] for at in chosen], 16)
    assert torch.equal(found.ids, expected.ids)
    assert torch.equal(found.mask, expected.mask)
    assert torch.equal(found.owner, expected.owner)
    assert found.texts == expected.texts


def test_a_tokenizer_whose_control_tokens_are_ordinary_words_is_refused_by_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(tokenizer: object) -> None:
        raise ModelError("the tokenizer's control token '[CLS]' can't be told from the same words in a text")

    monkeypatch.setattr("encoders.tokens.text_only", refuse)
    with pytest.raises(ModelError, match=r"^words/tokenizer\.json: the tokenizer's control token '\[CLS\]'"):
        read_tokenizer(byte_tokenizer().to_json(), "words/tokenizer.json")
