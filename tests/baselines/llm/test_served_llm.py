"""A model behind a server: the same numbers by hand, every route it can take, and clear words where it can't."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("httpx2")
pytest.importorskip("tenacity")

from baselines.llm.load import load_language_model
from baselines.llm.options import LanguageModelOptions, Serving
from baselines.llm.protocol import Chat
from tasks.errors import ModelError
from tasks.routes import Route
from tests.baselines.llm.server_process import FaultyServer, faulty_server

CHAT = Chat(user="Which?", system="Be brief.", reply_start="It is")
RENDERED = "<system>Be brief.<user>Which?<assistant>It is"


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with faulty_server() as started:
        yield started


@pytest.fixture(scope="module")
def chat_only() -> Iterator[FaultyServer]:
    with faulty_server(chat_only=True) as started:
        yield started


def serving(server: FaultyServer, **more: object) -> Serving:
    return Serving(base_url=server.base_url, retries=1, **more)  # type: ignore[arg-type]


def load(server: FaultyServer, context: int | None = None, *, scoring: bool = False, **more: object):
    return load_language_model("openai:toy", context=context, serving=serving(server, **more), scoring=scoring)


def by_hand(text: str) -> float:
    return -sum(map(ord, text)) / 100


def test_options_of_several_tokens_get_their_own_tokens_likelihoods(server: FaultyServer) -> None:
    score = load(server).score([CHAT], [[" cat", " a", " dogs"]])[0]
    assert score.logprobs == pytest.approx([by_hand(" cat"), by_hand(" a"), by_hand(" dogs")])
    assert score.tokens == (4, 2, 5)
    assert (score.usage.prompt, score.usage.completion) == (3 * len(RENDERED), 11)


def test_letters_take_one_prefill_together(server: FaultyServer) -> None:
    llm = load(server)
    before = len(server.log())
    score = llm.score([CHAT], [["A", "B", "C"]])[0]
    sent = server.log()[before:]
    assert score.logprobs == pytest.approx([by_hand("A"), by_hand("B"), by_hand("C")])
    assert (score.usage.prompt, score.usage.cached) == (len(RENDERED), len(RENDERED) // 2)
    assert [row["body"]["max_tokens"] for row in sent] == [1]
    assert sent[0]["text"] == RENDERED


def test_a_reply_continues_the_rendered_prompt_greedily(server: FaultyServer) -> None:
    reply = load(server).generate([CHAT], 16)[0]
    sent = server.log()[-1]
    assert (reply.text, reply.finished, reply.usage.prompt) == ("Answer: B", True, len(RENDERED))
    assert sent["text"] == RENDERED
    assert (sent["body"]["temperature"], sent["body"]["repetition_penalty"]) == (0, 1.0)


def test_a_reply_held_to_choices_is_asked_for_as_such_and_checked(server: FaultyServer) -> None:
    chat = Chat(user="Which?", choices=("A", "B"))
    assert load(server).generate([chat], 16)[0].text == "B"
    assert server.log()[-1]["body"]["structured_outputs"] == {"choice": ["A", "B"]}
    server.script(["loose"], match="Which loose?")
    with pytest.raises(ModelError, match="did not hold the reply to the choices: 'Answer: B'"):
        load(server).generate([Chat(user="Which loose?", choices=("A", "B"))], 16)


def test_many_chats_go_side_by_side_and_come_back_in_order(server: FaultyServer) -> None:
    server.script(["meet:4*"], match="chat number", most_busy=0)
    llm = load(server, concurrency=4)
    chats = [Chat(user=f"chat number {'x' * i}") for i in range(8)]
    replies = llm.generate(chats, 8)
    assert [reply.usage.prompt for reply in replies] == [llm.count_tokens(chat) for chat in chats]
    assert server.most_busy() == 4
    assert llm.batch_hint.lanes == 4


def test_the_servers_own_facts_are_recorded_and_its_address_only_by_host(server: FaultyServer) -> None:
    llm = load(server)
    assert (llm.info.name, llm.info.device, llm.context) == ("toy", "served", 8192)
    assert (llm.info.details["engine"], llm.info.details["server"]) == ("vllm 0.0.toy", "127.0.0.1")
    assert str(server.port) not in json.dumps(dict(llm.info.details))


def test_a_prompt_too_long_for_the_reply_is_refused_before_it_is_sent(server: FaultyServer) -> None:
    llm = load(server, context=50)
    before = len(server.log())
    with pytest.raises(ModelError, match=r"more than the context of 50 of 'toy'"):
        llm.generate([CHAT], 20)
    assert len(server.log()) == before


def test_a_chat_only_server_generates_from_messages(chat_only: FaultyServer) -> None:
    llm = load(chat_only, context=4096)
    reply = llm.generate([Chat(user="Which?", system="Be brief.")], 16)[0]
    assert (reply.text, chat_only.log()[-1]["path"]) == ("Answer: B", "/v1/chat/completions")
    assert "repetition_penalty" not in chat_only.log()[-1]["body"]
    assert llm.info.details["token_counts"] == "estimated"


def test_a_chat_only_server_is_refused_for_scoring_with_the_routes_that_work(chat_only: FaultyServer) -> None:
    with pytest.raises(ModelError, match=r"can't score options: .*here the route generate\+parse works"):
        load(chat_only, context=4096, scoring=True)


def test_a_server_without_likelihoods_of_prompts_is_refused_for_scoring(
    chat_only: FaultyServer, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    from tests.baselines.llm.conftest import byte_tokenizer

    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"can't score options: .*answered 404"):
        load(chat_only, context=4096, scoring=True, tokenizer=str(tmp_path))


def test_a_tokenizer_at_hand_writes_the_prompts_itself(server: FaultyServer, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tests.baselines.llm.conftest import byte_tokenizer

    byte_tokenizer().save_pretrained(tmp_path)
    llm = load(server, tokenizer=str(tmp_path))
    llm.generate([CHAT], 8)
    ids = server.log()[-1]["body"]["prompt"]
    assert byte_tokenizer().decode(ids) == "<|system|>Be brief.<|end|><|user|>Which?<|end|><|assistant|>It is"
    assert llm.info.details["chat_format"] == "template"


def test_a_chat_only_server_must_be_told_its_context(chat_only: FaultyServer) -> None:
    with pytest.raises(ModelError, match="states no longest context: give one"):
        load(chat_only)


def test_guided_choice_is_refused_where_the_server_cannot(chat_only: FaultyServer) -> None:
    with pytest.raises(ModelError, match="needs a vLLM server"):
        load(chat_only, context=4096).generate([Chat(user="Which?", choices=("A", "B"))], 8)


def test_guided_choice_goes_with_generating_only() -> None:
    with pytest.raises(ModelError, match=r"guided=true goes with route=generate\+parse"):
        LanguageModelOptions(guided=True, route=Route.LETTER_LOGPROB)


def test_an_absent_server_is_named_with_what_to_check() -> None:
    with pytest.raises(ModelError, match=r"127\.0\.0\.1:9/v1 can't be reached.*is the server running"):
        load_language_model("openai:toy", serving=Serving(base_url="http://127.0.0.1:9/v1"))


def test_an_address_without_its_path_is_named_with_what_it_lacks(server: FaultyServer) -> None:
    with pytest.raises(ModelError, match=r"answered 404: no such path; does base_url end in /v1\?"):
        load_language_model("openai:toy", serving=Serving(base_url=f"http://127.0.0.1:{server.port}/v2"))


def test_no_address_at_all_says_where_to_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ModelError, match=r"-M base_url=.* or \$OPENAI_BASE_URL"):
        load_language_model("openai:toy")


def test_a_model_that_is_not_served_is_refused_with_those_that_are(server: FaultyServer) -> None:
    with pytest.raises(ModelError, match="serves no model 'other'; it serves: toy"):
        load_language_model("openai:other", serving=serving(server))


def test_the_address_and_the_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_server(key="sk-open-sesame") as locked:
        monkeypatch.setenv("OPENAI_BASE_URL", locked.base_url)
        monkeypatch.setenv("MY_KEY", "sk-open-sesame")
        llm = load_language_model("openai:toy", serving=Serving(key_from="MY_KEY"))
        assert "sk-open-sesame" not in repr(llm.info)
        monkeypatch.setenv("MY_KEY", "sk-wrong")
        with pytest.raises(ModelError, match=r"answered 401: Incorrect key: Bearer \*\*\*; .*key_from"):
            load_language_model("openai:toy", serving=Serving(key_from="MY_KEY"))


def test_a_key_that_no_header_can_hold_is_refused_unshown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-\nsecret")
    with pytest.raises(ModelError, match=r"key in \$OPENAI_API_KEY") as caught:
        load_language_model("openai:toy", serving=Serving(base_url="http://127.0.0.1:9/v1"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"), [("concurrency", 0), ("timeout", 0.0), ("batch", -1), ("retries", -1), ("patience", -1.0)]
)
def test_an_option_out_of_range_is_refused_by_name(option: str, value: float) -> None:
    with pytest.raises(ModelError, match=option):
        Serving(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("fixture", ["server", "chat_only"])
def test_a_server_that_reads_a_part_of_the_prompt_gives_no_reply(request: pytest.FixtureRequest, fixture: str) -> None:
    server = request.getfixturevalue(fixture)
    llm = load(server, 8192)
    server.script([], read_most=300)
    try:
        with pytest.raises(ModelError, match=r"read 300 tokens of a prompt of .*\d: it cuts prompts off; raise its"):
            llm.generate([Chat(user="C cuts the red onion. " * 200)], 16)
    finally:
        server.script([], read_most=None)


@pytest.mark.parametrize("fixture", ["server", "chat_only"])
def test_a_count_that_leaves_out_cached_tokens_can_be_let_pass(request: pytest.FixtureRequest, fixture: str) -> None:
    server = request.getfixturevalue(fixture)
    serving = Serving(base_url=server.base_url, check_prompt=False)
    llm = load_language_model("openai:toy", context=8192, serving=serving)
    server.script([], read_most=300)
    try:
        assert llm.generate([Chat(user="C cuts the red onion. " * 200)], 16)[0].usage.prompt == 300
    finally:
        server.script([], read_most=None)


def test_letters_behind_a_part_of_the_prompt_are_not_scored(server: FaultyServer) -> None:
    llm = load(server)
    server.script([], read_most=10)
    try:
        with pytest.raises(ModelError, match=rf"read 10 tokens of a prompt of {len(RENDERED)}"):
            llm.score([CHAT], [["A", "B"]])
    finally:
        server.script([], read_most=None)
