"""The parser against replies that break others, generated options, and the real questions."""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.answer_parser import MAX_OPTIONS, RULES, UNPARSED, parse_choice

A = "a person reading a book"
B = "C was preparing a meal by chopping vegetables"
C = "a man playing the piano. He sings"
D = "C talks to a woman"
E = "C is reading a book"
OPTIONS = (A, B, C, D, E)


def letter_read(reply: str, options: tuple[str, ...] = OPTIONS) -> str | None:
    answer = parse_choice(reply, options).answer
    return None if answer is None else chr(ord("A") + answer)


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("C is chopping vegetables, so the answer is B.", "B"),
        (B, "B"),
        ("I think C is reading a book, so E", "E"),
        ("Based on the video, C is reading a book. E", "E"),
        ("A person reading a book. Answer: E", "E"),
        ("The correct answer is **E**. Here's why", "E"),
        ("Answer: E", "E"),
        ("b", "B"),
        ("<think>A or B? C is the wearer.</think>E", "E"),
        ("I cannot determine the answer.", None),
        ("", None),
    ],
)
def test_replies_of_the_published_protocol(reply, letter):
    assert letter_read(reply) == letter


@pytest.mark.parametrize(
    "reply",
    [
        "The cooking was done by C",
        "A man is helping C.",
        "The camera wearer (C) is cooking.",
        "The camera wearer is C.",
        "#C C opens the door",
        "C, the camera wearer.",
        "Vitamin C.",
        "To answer the question, the person is C.",
        "The answer is the wearer, C",
        "It should answer C's question",
        "The answer is C reading on a sofa",
        "Answer: C was making lunch",
        "A: C is reading quietly",
    ],
)
def test_the_camera_wearer_is_no_answer(reply):
    assert letter_read(reply) is None


@pytest.mark.parametrize("reply", ["C", "C.", "(C)", "The answer is C.", "The answer is C because he sings", "so C"])
def test_the_letter_c_still_answers_where_an_answer_stands(reply):
    assert letter_read(reply) == "C"


@pytest.mark.parametrize(
    "reply",
    [
        "E)",
        "(E)",
        "[E]",
        "**E**",
        "e.",
        "E:",
        "`E`",
        "Option E",
        "option e",
        "\uff25",
        "\uff08E\uff09",
        "_E_",
        '"E"',
    ],
)
def test_a_lone_letter_in_any_dress(reply):
    assert parse_choice(reply, OPTIONS) == parse_choice("E", OPTIONS)
    assert letter_read(reply) == "E"


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("The answer is C is reading a book", "E"),
        ("Answer: C was preparing a meal by chopping vegetables", "B"),
        ("answer is a person reading a book", "A"),
        ("The answer is that C is reading a book.", "E"),
        ("Answer: C TALKS to\n a woman!", "D"),
        ('The answer is "C talks to a woman".', "D"),
        ("The answer is E, C is reading a book.", "E"),
        ("The answer is (E) C is reading a book.", "E"),
        ("Therefore, the answer is option D: C talks to a woman", "D"),
        ("Sure! The answer is:\n\n**D. C talks to a woman**", "D"),
        ("answer: d) C talks to a woman", "D"),
        ("The answer that best describes what C does is B", "B"),
        ("The most likely answer is D.", "D"),
        ("Final Answer: The final answer is E. I hope it is correct.", "E"),
        ("### Answer\nD", "D"),
        ("Answer\uff1aE", "E"),
        ("The answer is probably E, not B.", "E"),
        ("B is the correct answer.", "B"),
        ("I would go with (B) since C cooks", "B"),
        ("The answer is B. Option A is wrong because nobody reads. So is option C.", "B"),
        ("Answer: B. A, C and D are wrong", "B"),
        ("Answer: a man plays", None),
        ("Answer: e.g. a man", None),
        ("Is the answer B?", None),
        ("If the answer is A, someone reads.", None),
        ("Answer: N/A", None),
    ],
)
def test_statements(reply, letter):
    assert letter_read(reply) == letter


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("Answer: A. No wait, the answer is B", "B"),
        ("Answer: A. No wait, B.", "B"),
        ("Answer: A or B. Finally, the answer is B", "B"),
    ],
)
def test_the_last_statement_corrects_the_first(reply, letter):
    assert letter_read(reply) == letter


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("not B", None),
        ("it is not A, so E", "E"),
        ("The answer is not B but E.", "E"),
        ("The answer is not B.", None),
        ("The answer cannot be B.", None),
        ("I don't think the answer is B.", None),
        ("I would not choose B.", None),
        ("C is not reading a book", None),
        ("It is unclear whether C is reading a book.", None),
        ("Option A is incorrect. Option B is wrong. Option E matches.", "E"),
        ("A. This option is wrong because", None),
    ],
)
def test_denials(reply, letter):
    assert letter_read(reply) == letter


@pytest.mark.parametrize(
    "reply",
    [
        "either A or B",
        "The answer is either A or B.",
        "The answer is A or B.",
        "Answer: A, B",
        "Answer: A/B",
        "A and B",
        "A\nB\nC",
        f"A. {A}\nB. {B}",
        f"Option A: {A}\nOption B: {B}",
        f"{A} and {D} are both shown",
        '{"answer": ["A", "B"]}',
    ],
)
def test_several_options_choose_none(reply):
    assert letter_read(reply) is None


@pytest.mark.parametrize("reply", [f"C. {E}", f"Answer: A. {E}"])
def test_a_label_that_contradicts_its_text_chooses_none(reply):
    assert letter_read(reply) is None


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        (r"\boxed{E}", "E"),
        (r"The answer is $\boxed{\text{E}}$.", "E"),
        ('{"answer": "E"}', "E"),
        ('```json\n{"answer": "E", "why": "C is sitting"}\n```', "E"),
        ('{"answer": "C is reading a book"}', "E"),
        ('{"A": 0.1, "B": 0.9}', None),
        ("C is at home <answer>E</answer>", "E"),
    ],
)
def test_machine_readable_forms(reply, letter):
    assert letter_read(reply) == letter


@pytest.mark.parametrize("reply", ['{"answer": 4}', "4", "option 4", "The answer is 4"])
def test_digits_are_never_an_options_number(reply):
    assert letter_read(reply) is None


@pytest.mark.parametrize("reply", ["F", "The answer is F.", "F. something else"])
def test_a_letter_beyond_the_last_option_is_no_answer(reply):
    assert letter_read(reply) is None
    assert letter_read(reply, (*OPTIONS, "a sixth option")) == "F"


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B. C was making lunch.", "B"),
        ("E: C is reading a book", "E"),
        ("E\n\nThe video shows C with a book.", "E"),
        ("Q: What does C do?\nA: E", None),
    ],
)
def test_labels_at_a_lines_beginning(reply, letter):
    assert letter_read(reply) == letter


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("<think>The answer is A", None),
        ("E<think>The answer is A", "E"),
        ("The answer is A</think>E", "E"),
        ("<think>A<think>B</think>C</think>E", "E"),
        ("<THINKING>A</THINKING>\nAnswer: E", "E"),
    ],
)
def test_reasoning_holds_no_answer(reply, letter):
    assert letter_read(reply) == letter


def test_an_option_inside_another_is_not_quoted_by_it():
    options = ("reading", "reading a book", "C is reading a book", "is reading a book. Answer: A")
    assert [letter_read(option, options) for option in options] == ["A", "B", "C", "D"]


def test_a_short_option_is_not_found_in_the_middle_of_a_clause():
    assert letter_read("There is no evidence", ("yes", "no")) is None
    assert letter_read("I looked and my answer is no.", ("yes", "no")) == "B"


def test_a_text_shared_by_two_options_needs_its_letter():
    options = (E, A, E)
    assert letter_read(E, options) is None
    assert letter_read(f"Answer: C. {E}", options) == "C"


@pytest.mark.parametrize("count", [1, MAX_OPTIONS + 1])
def test_option_counts_without_letters_are_refused(count):
    with pytest.raises(ValueError, match=f"{count} options"):
        parse_choice("A", ["text"] * count)


def test_each_rule_is_the_first_to_read_some_reply():
    replies = ["E", E, "It must be so. E", "The answer is E.", "E. Because.", f"Clearly {E} here"]
    assert [parse_choice(reply, OPTIONS).rule for reply in replies] == [name for name, _ in RULES]


UNITS = [
    "the answer is ",
    "answer: ",
    "answer is not ",
    "A. ",
    "A\n",
    "so A. ",
    "( ",
    '"[(:',
    " ",
    "\n",
    "A",
    "n't ",
    "<think>",
    "<think></think>",
    "option A ",
    "C is reading a ",
    "best option ",
    "is ",
    "A, A or ",
    "answer likely ",
]


@pytest.mark.parametrize("unit", UNITS)
def test_100_000_characters_take_less_than_half_a_second(unit):
    reply = (unit * 100_000)[:100_000] + "!x"
    start = time.process_time()
    parse_choice(reply, OPTIONS)
    assert time.process_time() - start < 0.5


# Options as benchmarks write them: full stops, quotes, the wearer C, letters with dots, statements.
WORDS = st.sampled_from(
    [
        "C",
        "the man",
        "a woman",
        "B. the man",
        "D.",
        "picks",
        "cuts",
        "isn't",
        "not",
        "e.g.",
        "so E",
        "(A)",
        "or",
        "says 'no'",
        'says "stop."',
        "Answer: A",
        "the answer is B",
        "Dr. A. Smith",
        "caf\u00e9",
        "\u6599\u7406",
        "3.5",
        "c's",
    ]
)
TEXTS = st.lists(WORDS, min_size=1, max_size=5).map(lambda words: f"{' '.join(words)} in the room")


LEAD_IN = re.compile(r"^(?:answer: |the answer is |(?:so|or|not) |\W*[a-z]\b\W*)+", re.IGNORECASE)


def distinct(options: list[str]) -> bool:
    """No option is another with a letter or a statement before it: quoting those is ambiguous."""
    return len({LEAD_IN.sub("", option).casefold() for option in options}) == len(options)


OPTION_LISTS = st.lists(TEXTS, min_size=2, max_size=8, unique=True).filter(distinct)
FORMS = [
    "{letter}",
    "({letter})",
    "The answer is {letter}.",
    "**Answer: {letter}**",
    "{letter}. {text}",
    "{text}",
    "Answer: {letter}. {text}",
    "Answer: {text}",
    "The answer is {text}",
    "{letter}: {text}",
    "{text}\nAnswer: {letter}",
    "I think {text}, so {letter}",
    "{text}. {letter}",
    "<think>{other} Answer: B</think>{letter}",
    "<think>{other}</think>\n{text}",
    "A</think>The answer is {letter}",
    "{other}? No. The answer is {letter}.",
    "{other} is not shown. Answer: {letter}",
    '{{"answer": "{letter}"}}',
    "  {text}!\n",
    "<think>{other}</think>**{text}**",
]


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60)
@given(data=st.data())
def test_generated_options_are_read_in_every_form(form, data):
    options = data.draw(OPTION_LISTS)
    index = data.draw(st.integers(0, len(options) - 1))
    other = options[data.draw(st.integers(0, len(options) - 1))]
    reply = form.format(letter=chr(ord("A") + index), text=options[index], other=other)
    assert parse_choice(reply, options).answer == index


@settings(max_examples=100)
@given(
    options=OPTION_LISTS,
    seed=st.integers(0, 99),
    form=st.sampled_from(["{}", "Answer: {}", "Clearly {} here", "{} {}"]),
)
def test_permuting_the_options_permutes_the_answer(options, seed, form):
    reply = form.format(options[0], options[1])
    permuted = random.Random(seed).sample(options, len(options))
    before, after = parse_choice(reply, options), parse_choice(reply, permuted)
    assert before.rule == after.rule
    assert (before.answer is None) == (after.answer is None)
    if before.answer is not None and after.answer is not None:
        assert options[before.answer] == permuted[after.answer]


@settings(max_examples=100)
@given(
    options=OPTION_LISTS,
    words=st.lists(st.sampled_from(["C", "a man", "helps", "and", "is", "with", "B"])),
)
def test_replies_without_a_statement_or_an_option_stay_unparsed(options, words):
    reply = f"We see {' '.join(words)} there"
    assert parse_choice(reply, options).rule == UNPARSED


PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        "Answer: ",
        "The answer is ",
        "A",
        "c",
        "Z",
        ". ",
        "\n",
        "(",
        ")",
        "\ue001",
        "\ue01a",
        "option ",
        "not ",
        "so ",
        E,
        "\\boxed{",
        "\u212a",
        "\u0130",
        "\u0301",
        "\x00",
        "\u2028",
    ]
)


@settings(max_examples=300)
@given(
    reply=st.text() | st.lists(PIECES | st.text(max_size=3)).map("".join),
    options=st.lists(st.text(max_size=8) | PIECES, min_size=2, max_size=MAX_OPTIONS),
)
def test_any_text_gives_an_option_in_range_or_none(reply, options):
    parsed = parse_choice(reply, options)
    if parsed.answer is None:
        assert parsed.rule == UNPARSED
    else:
        assert 0 <= parsed.answer < len(options)
        assert parsed.rule in dict(RULES)


@pytest.mark.parametrize("reply", ["", ".", " !", "\ue000", "Answer: ."])
def test_options_without_words_are_never_quoted(reply):
    assert letter_read(reply, ("", ".", " !")) is None


def test_real_questions_are_read_by_text_and_by_letter(shared_data: Path):
    questions = json.loads((shared_data / "egoschema" / "questions.json").read_text(encoding="utf-8"))
    for question in random.Random(0).sample(questions, 100):
        options = [question[f"option {i}"] for i in range(5)]
        for index, text in enumerate(options):
            letter = "ABCDE"[index]
            for reply in (
                f"Answer: {letter}. {text}",
                f"The answer is {letter}. C does it.",
                f"<think>{text}</think>{letter}",
            ):
                assert parse_choice(reply, options).answer == index, reply
            if options.count(text) == 1:
                assert parse_choice(text, options).answer == index
                assert parse_choice(f"I believe the answer is {text}", options).answer == index
