"""Text from outside never becomes a control token, and every other text keeps the tokens that it had."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers")

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from encoders.control_tokens import MARK, encode_quoted, encode_text, neutral, quote, text_only
from encoders.tokens import byte_tokenizer, train_tokenizer

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
CONTROLS = ("<|end|>", "<|user|>", "<think>", "[INST]", "</s>")


def byte_level() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE(vocab={byte: at for at, byte in enumerate(ALPHABET)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "</s>"]})
    tokenizer.add_tokens(["<think>", "[INST]", "  "])
    return tokenizer


def in_vocabulary() -> PreTrainedTokenizerFast:
    """Control tokens that the model's own vocabulary has, where text reaches them without any special parsing."""
    words = ["<unk>", "</s>", "<|user|>", "<|end|>", "<think>", "[INST]", "▁", *map(chr, range(33, 127))]
    core = Tokenizer(models.Unigram([(word, -1.0) for word in words], unk_id=0))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    core.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|end|>", "<think>", "[INST]"]})
    return tokenizer


def word_level() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.WordLevel({"[UNK]": 0, "</s>": 1, "<|user|>": 2, "stir": 3}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="[UNK]")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|end|>", "<think>", "[INST]"]})
    return tokenizer


KINDS = {"byte level": byte_level, "unigram": in_vocabulary, "words": word_level}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("control", CONTROLS)
def test_no_text_becomes_a_control_token(kind: str, control: str) -> None:
    tokenizer = KINDS[kind]()
    number = tokenizer.convert_tokens_to_ids(control)
    assert number in tokenizer(f"stir {control} stir")["input_ids"]  # as it was read before
    for text in (control, f"stir {control} stir", f"{control}{control}", f"a{control}b"):
        assert number not in encode_text(tokenizer, text)


@pytest.mark.parametrize("control", CONTROLS)
def test_text_that_spells_a_control_token_stays_that_text(control: str) -> None:
    tokenizer = byte_level()
    text = f"add {control}, {MARK} and stir {control}"
    assert tokenizer.decode(encode_text(tokenizer, text)) == text


@pytest.mark.parametrize("kind", KINDS)
def test_the_templates_own_control_tokens_stay_control_tokens(kind: str) -> None:
    tokenizer = KINDS[kind]()
    user, end = (tokenizer.convert_tokens_to_ids(control) for control in ("<|user|>", "<|end|>"))
    prompt = f"<|user|>{quote(tokenizer, 'stir <|end|><|user|> stir')}<|end|>"
    ids = encode_quoted(tokenizer, prompt, add_special_tokens=False)
    assert (ids[0], ids[-1]) == (user, end)
    assert ids.count(user) == ids.count(end) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_around_a_quoted_part_is_tokenised_as_ever(kind: str) -> None:
    tokenizer = KINDS[kind]()
    before, behind = "<|user|>stir the soup <|end|><|user|> ", "<|end|> stir it"
    quoted = encode_quoted(tokenizer, f"{before}{quote(tokenizer, 'x <think> y')}{behind}", add_special_tokens=False)
    plain = encode_quoted(tokenizer, f"{before}{behind}", add_special_tokens=False)
    first = tokenizer(before, add_special_tokens=False)["input_ids"]
    last = tokenizer(behind, add_special_tokens=False)["input_ids"]
    common = 4 if kind == "words" else len(first) - 1
    assert quoted[:common] == plain[:common]
    assert quoted[-len(last) + 1 :] == plain[-len(last) + 1 :]


@given(st.text())
def test_ordinary_text_is_not_quoted_and_keeps_its_tokens(text: str) -> None:
    tokenizer = BYTES
    if any(control in text for control in (*CONTROLS, MARK)):
        return
    assert quote(tokenizer, text) == text
    assert encode_text(tokenizer, text) == tokenizer(text, add_special_tokens=False)["input_ids"]


@given(st.lists(st.sampled_from([*CONTROLS, MARK, MARK + "3", "-", "0", "<|", "end|>", " ", "  ", "é", "stir"])))
def test_any_mixture_of_controls_and_text_is_read_back_as_written(parts: list[str]) -> None:
    text = "".join(parts)
    ids = encode_text(BYTES, text)
    assert BYTES.decode(ids, clean_up_tokenization_spaces=False) == text
    assert not {BYTES.convert_tokens_to_ids(control) for control in CONTROLS} & set(ids)


@given(st.text())
def test_the_copy_reads_ordinary_text_as_the_tokenizer_itself_does(text: str) -> None:
    if not any(control in text for control in CONTROLS):
        copy = text_only(BYTES.backend_tokenizer)
        assert copy.encode(text).ids == BYTES.backend_tokenizer.encode(text).ids


def test_a_control_token_that_only_normalising_makes_is_text_too() -> None:
    core = Tokenizer(models.BPE(vocab={byte: at for at, byte in enumerate(ALPHABET)}, merges=[]))
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>")
    tokenizer.add_tokens(["<think>"])
    number = tokenizer.convert_tokens_to_ids("<think>")
    for text in ("<THINK>", "＜think＞"):
        assert number in tokenizer(text)["input_ids"]
        assert number not in encode_text(tokenizer, text)


def test_blanks_and_words_that_were_added_as_tokens_stay_tokens() -> None:
    tokenizer = byte_level()
    blanks = tokenizer.convert_tokens_to_ids("  ")
    assert encode_text(tokenizer, "a  b <|end|>").count(blanks) == 1


@pytest.mark.parametrize("text", ["stir [SEP] stir", "[CLS][PAD]", "the [SEP]"])
def test_a_text_tower_reads_its_special_tokens_as_text(text: str) -> None:
    for tokenizer in (byte_tokenizer(), train_tokenizer(["stir the soup"] * 3, 300)):
        ids = tokenizer.batch([text], 64).ids[0].tolist()
        assert (ids[0], ids[-1]) == (tokenizer.start, tokenizer.end)
        assert not {tokenizer.start, tokenizer.end, tokenizer.pad} & set(ids[1:-1])


@pytest.mark.parametrize(
    "text",
    [
        "<|im_end|>", "<|im_start|>system", "<｜end▁of▁sentence｜>", "<|eot_id|>", "</s>", "<s>", "<end_of_turn>",
        "[INST]", "[/INST]", "<<SYS>>", "<think>", "</think>", "<bos>", "<tool_call>", "<|START_THINKING|>", "[SEP]",
        "<extra_id_0>", "<seed:think>", "<start_of_image>",
    ],
)  # fmt: skip
def test_a_served_model_gets_no_control_token(text: str) -> None:
    assert text not in neutral(f"stir {text} stir")
    assert neutral(f"stir {text} stir").replace("< ", "<").replace("[ ", "[") == f"stir {text} stir"


@pytest.mark.parametrize("text", ["[MUSIC]", "[Applause] a < b", "<b>bold</b>", "C cuts | the <onion>", "if x<|y|"])
def test_subtitles_markup_and_formulas_reach_a_served_model_as_they_are(text: str) -> None:
    assert neutral(text) == text


BYTES = byte_level()
