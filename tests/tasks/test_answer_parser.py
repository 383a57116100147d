"""The parser against replies that break others, generated options, and the real questions."""

from __future__ import annotations

import gc
import json
import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.answer_parser import RULES, UNPARSED, parse_choice
from tasks.routes import MAX_OPTIONS

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
    replies = ["<answer>E</answer>", "The answer is E.", "E. He sits.", "E", f"The video shows that {E}."]
    assert [parse_choice(reply, OPTIONS).rule for reply in replies] == list(RULES)


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
    "the ",
    "<",
    "[",
    '{"a":',
    '{"answer": ',
    "<answer>",
    "<|channel|>",
    "A \u274c ",
    "\u7b54\u6848\u662f",
    "- [x] A\n",
    "\\boxed{",
    "User: ",
    "No, ",
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
def test_the_time_grows_with_the_length_and_not_with_its_square(unit):
    def seconds(length: int) -> float:
        start = time.process_time()
        parse_choice((unit * length)[:length] + "!x", OPTIONS)
        return time.process_time() - start

    seconds(2_000)
    gc.disable()  # collecting what other tests left would be measured too
    try:
        # In proportion it would be 4 times, by the square 16; the rest is room for a busy machine.
        short, long = (min(seconds(length) for _ in range(2)) for length in (4_000, 16_000))
    finally:
        gc.enable()
    assert long < 10 * short + 0.4


@pytest.mark.slow
def test_a_reply_of_a_megabyte_is_read():
    reply = "C cuts the carrot, and a man looks on. " * 26_000 + "\nAnswer: E"
    assert len(reply) > 1_000_000
    assert letter_read(reply) == "E"


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
@settings(max_examples=15)
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
    # Where all bring their letters, whether these are the places' or the texts' depends on the order.
    assume(not all(re.match(r"\W*[A-Z]\W+", option) for option in options))
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


@settings(max_examples=150)
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
        assert parsed.rule in RULES


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


# --- Replies as models write them: our own by kind, and the shared ones ----------------------------

WRITTEN = json.loads((Path(__file__).parent.parent / "data" / "choice_replies.json").read_text(encoding="utf-8"))


def wrong_and_unread(rows, *, finished: bool = True) -> tuple[list[str], list[str]]:
    """The replies read as another letter than the right one, and those that are left unread though they choose."""
    wrong, unread = [], []
    for options, right, reply in rows:
        read = parse_choice(reply, options, finished=finished).answer
        if read is None and right is not None:
            unread.append(reply)
        elif read is not None and "ABCDEFGH"[read] != right:
            wrong.append(reply)
    return wrong, unread


@pytest.mark.parametrize("kind", sorted({row["kind"] for row in WRITTEN["replies"]}))
def test_replies_of_a_kind_are_read_rightly_or_not_at_all(kind):
    rows = [
        (WRITTEN["options"][row["options"]], row["right"], row["reply"])
        for row in WRITTEN["replies"]
        if row["kind"] == kind
    ]
    wrong, unread = wrong_and_unread(rows)
    assert wrong == []
    assert len(unread) <= 0.03 * len(rows), unread


def test_an_unfinished_reply_is_never_read_as_another_letter():
    rows = [
        (WRITTEN["options"][row["options"]], row["right"], row["reply"])
        for row in WRITTEN["replies"]
        if row["kind"] != "self-corrections"
    ]
    assert wrong_and_unread(rows, finished=False)[0] == []


def test_a_cut_reply_is_read_only_where_it_had_chosen_before_the_cut():
    rows = [(WRITTEN["options"][row["options"]], row["right"], row["reply"]) for row in WRITTEN["cut"]]
    assert wrong_and_unread(rows, finished=False) == ([], [])


@pytest.mark.parametrize(
    "turn",
    [
        *("But let me check option B, because", "However, option B", "Let me verify: in", "Though B might"),
        *("Let's go through the frames", "But let me double-check by", "但是，让我再看看B", "Pero la B"),
    ],
)
def test_a_cut_reply_that_weighs_on_after_its_choice_is_not_read(turn: str):
    options = WRITTEN["options"]["kitchen"]
    reply = f"The answer is A. {turn}"
    assert parse_choice(reply, options, finished=False).answer is None
    assert parse_choice(f"{reply} …. The answer is A.", options, finished=False).answer == 0


@pytest.mark.parametrize("reason", ["The person opens the", "But there is no", "It shows C at the"])
def test_a_cut_reply_that_gives_its_reasons_after_its_choice_is_read(reason: str):
    assert parse_choice(f"The answer is B. {reason}", WRITTEN["options"]["kitchen"], finished=False).answer == 1


def test_shared_replies_are_never_read_wrong_and_clear_ones_always(shared_data: Path):
    path = shared_data.parent / "cases" / "replies.jsonl"
    if not path.exists():
        pytest.skip(f"no {path}")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    wrong, _ = wrong_and_unread([(row["options"], row["right"], row["reply"]) for row in rows])
    _, unread = wrong_and_unread(
        [(row["options"], row["right"], row["reply"]) for row in rows if not row["may_be_unread"]]
    )
    assert (wrong, unread) == ([], [])


def test_shared_hedges_between_short_options_choose_none(shared_data: Path):
    path = shared_data.parent / "cases" / "hedged-replies" / "replies.jsonl"
    if not path.exists():
        pytest.skip(f"no {path}")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert wrong_and_unread([(row["options"], None, row["reply"]) for row in rows])[0] == []


KITCHEN = tuple(WRITTEN["options"]["kitchen"])
REASONING_REPLIES = [
    (
        f"To answer, let's evaluate each option.\n\nA. {KITCHEN[0]}\n- Not mentioned.\nB. {KITCHEN[1]}\n- Maybe.\n"
        f"D. {KITCHEN[3]}\n- Shown throughout.\n\nTherefore, the correct answer is D. {KITCHEN[3]}"
    ),
    f"Option A: {KITCHEN[0]}. The captions say that C cuts.\nOption B: {KITCHEN[1]}. Plausible.\nThe answer is D.",
    "<think>The answer might be A. So the answer is A? No.</think>\n\nThe answer is D because of the guitar.",
    "Based on the captions, A person sits. At first the answer seems to be A. The best option is D.",
    f"(A) {KITCHEN[0]}\nThis is plausible.\n(B) {KITCHEN[1]}\nThis is wrong.\n\n**Answer: (D)**",
    "A is unlikely. B is unlikely. If bread were baked, the answer would be A. But it isn't. So D.",
    '{"reasoning": "A is possible. The answer could be B.", "rejected": ["A", "B"], "answer": "D"}',
    "<|channel|>analysis<|message|>The answer is A.<|end|><|start|>assistant<|channel|>final<|message|>D is right.",
    "[THINK]The answer is B.[/THINK]The answer is D.",
    "analysisThe answer is A.assistantfinalD.",
    "\u6211\u4eec\u6765\u770b\u9009\u9879\u3002A\uff1a\u6ca1\u6709\u51fa\u73b0\u3002\u6240\u4ee5\u7b54\u6848\u662fD\u3002",
    "Examinemos: A no aparece. La respuesta no es B. Por lo tanto, la respuesta es D.",
    "As the video begins, a guitar is shown. Does A fit? No. The correct option is D.",
    "Step 1: exclude A. Step 2: exclude B, C and E.\n\\boxed{D}",
]


@pytest.mark.parametrize("reply", REASONING_REPLIES)
def test_no_cut_through_a_reasoning_reply_gives_a_wrong_letter(reply):
    read = {parse_choice(reply[:cut], KITCHEN, finished=False).answer for cut in range(len(reply) + 1)}
    assert read <= {None, 3}
    assert letter_read(reply, KITCHEN) == "D"


@pytest.mark.parametrize(
    ("reply", "whole", "cut"),
    [
        ("The answer is B. The tent is", "B", "B"),
        ("B\n\nThe captions mention", "B", "B"),
        ("The answer is B", "B", None),
        ("B", "B", None),
        (f"A. {KITCHEN[0]}\nThe captions say so.", "A", None),
        ("<answer>B</answer> since C", "B", "B"),
        ("<answer>B", "B", None),
    ],
)
def test_of_an_unfinished_reply_only_what_stands_before_the_cut_counts(reply, whole, cut):
    assert letter_read(reply, KITCHEN) == whole
    read = parse_choice(reply, KITCHEN, finished=False).answer
    assert (None if read is None else "ABCDE"[read]) == cut


@pytest.mark.parametrize(
    ("reply", "cut"),
    [
        ("Let's analyze the options one by one.\n\nA. C bakes bread - the video shows", None),
        ("The correct answer is most likely A, but let me check the", None),
        ("Consider option B. It says that C mends a tent. This is", None),
        ("The answer is B. Let me double-check option C", None),
        ('{"reasoning": "The answer A seems right", "ans', None),
        ("**Answer: E**\n\nThe person sorts the let", "E"),
    ],
)
def test_weighing_that_was_cut_is_no_answer_and_what_stood_before_it_is(reply, cut):
    read = parse_choice(reply, KITCHEN, finished=False).answer
    assert (None if read is None else "ABCDE"[read]) == cut


@pytest.mark.parametrize(
    "inner", ["B", "\\text{B}", "\\text{\\textbf{(B)}}", "\\text{B}. \\text{C is mending a torn tent}"]
)
def test_braces_within_a_box_belong_to_it(inner):
    assert parse_choice(f"\\boxed{{{inner}}}", KITCHEN) == parse_choice("\\boxed{B}", KITCHEN)
    assert letter_read(f"\\boxed{{\\text{{not }} {inner}}}", KITCHEN) is None


THOUGHTS = st.sampled_from(
    [
        ("<think>", "</think>"),
        ("<Thinking>\n", "\n</Thinking>\n"),
        ("[THINK]", "[/THINK]"),
        ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
        ("<seed:think>", "</seed:think>"),
        ("<analysis>", "</analysis>\n"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        ("analysisWell. ", "assistantfinal"),
        ("<reasoning>", "</reasoning>"),
        ("<|begin_of_thought|>", "<|end_of_thought|>\n"),
        ("<thought>", "</thought>"),
        ("", "</think>\n"),
        ("Thinking...\n", "\n...done thinking.\n\n"),
    ]
)
SAID = st.sampled_from(
    [
        "The answer is A.",
        "A",
        "Clearly A",
        "Answer: A",
        "I choose A.",
        "So A.",
        "A. Because.",
        "\\boxed{A}",
        "<answer>A</answer>",
    ]
)
FORM = st.sampled_from(
    [
        "{}",
        "({})",
        "**{}**",
        "The answer is {}.",
        "Answer: {}",
        "<answer>{}</answer>",
        "$\\boxed{{\\text{{{}}}}}$",
        '{{"final_answer": "{}"}}',
        "<p>{}</p>",
        "Option {} is correct.",
        "\u7b54\u6848\u662f{}",
        "\uc815\ub2f5\uc740 {}\uc785\ub2c8\ub2e4.",
        "Die Antwort ist {}.",
        "La respuesta es {}.",
        "I think it's {}.",
    ]
)
END = st.sampled_from(
    ["", "</s>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<eos>", "\n\n", "<|end|>\n<|user|>The answer is A."]
)


@settings(max_examples=150)
@given(marks=THOUGHTS, said=SAID, form=FORM, end=END, letter=st.sampled_from("BCDE"))
def test_whatever_wraps_an_answer_it_is_read_and_the_reasoning_is_not(marks, said, form, end, letter):
    reply = f"{marks[0]}{said}{marks[1]}{form.format(letter)}{end}"
    assert letter_read(reply, KITCHEN) == letter


@settings(max_examples=60)
@given(marks=THOUGHTS.filter(lambda marks: marks[0]), said=SAID)
def test_reasoning_that_never_ends_holds_no_answer(marks, said):
    # A tag of its own commits, whatever plain words led up to it.
    assume("<answer>" not in said or not marks[0].startswith("Thinking"))
    assert letter_read(f"{marks[0]}{said}", KITCHEN) is None


@settings(max_examples=100)
@given(
    before=st.sampled_from(
        [
            "I doubt that {}",
            "It is false that {}",
            "If he sews, {}",
            "One might say {}",
            "There is no evidence that {}",
            "Some claim that {}",
            "I am not sure whether {}",
            "It is unlikely that {}",
            "Nobody would say that {}",
            "{} - or not?",
            "{} is wrong",
            "Maybe {}",
        ]
    ),
    statement=st.sampled_from(["the answer is {}", "{} is correct", "option {} is right", "it's {}"]),
    letter=st.sampled_from("ABCDE"),
)
def test_a_statement_that_is_denied_supposed_or_somebody_elses_is_none(before, statement, letter):
    assert letter_read(f"{before.format(statement.format(letter))}.", KITCHEN) is None


@pytest.mark.parametrize(
    "adjective", ["wrong", "incorrect", "worst", "least likely", "second best", "rejected", "next best"]
)
@pytest.mark.parametrize("form", ["The {} answer is B.", "{} option: B", "The {} choice is (B)."])
def test_an_adjective_that_turns_the_answer_round_chooses_none(adjective, form):
    assert letter_read(form.format(adjective).capitalize(), KITCHEN) is None


def test_options_that_bring_their_letters_are_read_by_their_texts():
    options = ("A. the garage", "B. the market", "C. the office")
    assert [letter_read(reply, options) for reply in ("the market", "B. the market", "The answer is the office.")] == [
        "B",
        "B",
        "C",
    ]


def test_a_common_reply_takes_less_than_a_few_milliseconds():
    parse_choice("warm", KITCHEN)
    start = time.process_time()
    for _ in range(100):
        parse_choice("The correct answer is B. C is mending a torn tent, as the captions say.", KITCHEN)
    assert time.process_time() - start < 0.4
