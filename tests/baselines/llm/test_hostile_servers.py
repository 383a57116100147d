"""Servers that break HTTP, stall, flood, or echo the key: an error within the time-out, and never another's answer."""

from __future__ import annotations

import json
import logging
import re
import resource
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

pytest.importorskip("httpx2")
pytest.importorskip("tenacity")

from baselines.llm.client import ApiClient, Patience, RefusedError, ServerFaultError, Written, read_chat
from baselines.llm.outside import REPLACEMENT
from baselines.llm.served import look_up
from tasks.errors import ModelError
from tests.baselines.llm.faulty_server import plain
from tests.baselines.llm.server_process import FaultyServer, faulty_server

KEY = "sk-very-secret"
ONCE = Patience(timeout=20.0, retries=0, away=0.0)
HASTY = replace(ONCE, timeout=0.4)
LATE = "gave no answer within 0.4 s"


@pytest.fixture(scope="module")
def running() -> Iterator[FaultyServer]:
    with faulty_server() as server:
        yield server


@pytest.fixture
def server(running: FaultyServer) -> FaultyServer:
    running.script([], models=None)
    return running


def ask(server: FaultyServer, *faults: str, patience: Patience = ONCE, key: str | None = KEY) -> Written:
    server.script(faults)
    client = ApiClient(server.base_url, key, patience, 4)
    return post(client)


def post(client: ApiClient) -> Written:
    body = {"model": "toy", "messages": [{"role": "user", "content": "Which?"}]}
    return client.post(f"{client.base_url}/chat/completions", body, read_chat)


def says(body: object) -> str:
    """The fault that replies with this JSON."""
    return f"json:{json.dumps(body)}"


STALLS = ["drip-head", "drip-body", "drip-chunks", "drip-informational", "storm", "unending-chunks", "stall:30"]


@pytest.mark.parametrize("fault", STALLS)
def test_the_time_out_bounds_the_whole_request_however_the_server_drags_it_out(
    server: FaultyServer, fault: str
) -> None:
    started = time.monotonic()
    with pytest.raises(ServerFaultError, match=f"{LATE}|broke off"):
        ask(server, fault, patience=HASTY)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("fault", ["drip-head", "drip-body"])
def test_the_time_out_bounds_the_list_of_models_too(server: FaultyServer, fault: str) -> None:
    server.script([], models=fault)
    with pytest.raises(ModelError, match=LATE):
        look_up(ApiClient(server.base_url, None, HASTY, 1), "toy")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("endless", "sent more than 8 MB"),
        ("bomb", "sent more than 8 MB"),
        ("endless-head", "broke off or garbled"),
        ("endless-line", "broke off or garbled"),
    ],
)
def test_a_reply_has_a_size(server: FaultyServer, fault: str, message: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ServerFaultError, match=message):
        ask(server, fault)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("brotli", r"can't be unpacked \(compressed as 'br'"),
        ("half-gzip", r"can't be unpacked \(it is truncated"),
        ("old", "can.t be reached"),
        ("two-lengths", "broke off or garbled"),
        ("short", "broke off or garbled"),
        ("chunk-garbage", "broke off or garbled"),
        ("binary", "broke off or garbled"),
        ("no-status", "broke off or garbled"),
        ("status-999", "answered 999"),
        ("upgrade", "broke off or garbled"),
        ("nothing", "malformed JSON: ''"),
        ("half-closed", "can't be reached"),
    ],
)
def test_what_is_no_reply_of_http_is_named(server: FaultyServer, fault: str, message: str) -> None:
    with pytest.raises(ServerFaultError, match=message):
        ask(server, fault)


def test_what_a_server_sends_behind_its_reply_is_not_the_next_requests_answer(server: FaultyServer) -> None:
    server.script(["leftover"])
    client = ApiClient(server.base_url, None, ONCE, 1)
    assert [post(client).text for _ in range(3)] == ["Answer: B"] * 3


def test_the_key_does_not_follow_a_redirection(server: FaultyServer) -> None:
    with faulty_server() as elsewhere:
        with pytest.raises(RefusedError, match=r"answered 307 and points to http://127\.0\.0\.1:\d+/v1; no redir"):
            ask(server, f"redirect:http://me:pw@127.0.0.1:{elsewhere.port}/v1?q=1")
        assert elsewhere.log() == []


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 300 + "]" * 300])
def test_json_that_is_nested_too_deeply_is_refused_by_name(server: FaultyServer, text: str) -> None:
    with pytest.raises(ServerFaultError, match="nested deeper than 64 levels"):
        ask(server, f"json:{text}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "malformed JSON: ''"),
        ("null", "something other than a JSON object"),
        ('"Answer: B"', "something other than a JSON object"),
        ('data: {"choices": []}', "malformed JSON: 'data:"),
        ('{"choices": [{"index": 0, "mess', "malformed JSON"),
        ('{"choices": [], "choices": [1]}', "malformed JSON"),
        ('{"id": 1' + "0" * 5000 + "}", "malformed JSON"),
        ("{}{}", "malformed JSON"),
    ],
)
def test_what_is_no_json_object_is_named(server: FaultyServer, text: str, message: str) -> None:
    with pytest.raises(ServerFaultError, match=message):
        ask(server, f"json:{text}")


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "model overloaded", "code": None}},
        {"error": "model overloaded"},
        {"error": {"error": {"message": "model overloaded"}}},
        {"error": True, "message": "model overloaded"},
        {"object": "error", "message": "model overloaded", "code": 500},
        {"detail": [{"msg": "model overloaded"}]},
        {"choices": None, "detail": "model overloaded"},
        {"choices": [{"index": 0, "error": {"message": "model overloaded"}}]},
        {**plain("Answer: B"), "error": {"message": "model overloaded"}},
    ],
)
def test_an_error_that_says_ok_gives_its_reason(server: FaultyServer, body: object) -> None:
    with pytest.raises(ServerFaultError, match="model overloaded"):
        ask(server, says(body))


def test_an_error_that_says_ok_and_can_not_pass_is_asked_once(server: FaultyServer) -> None:
    with pytest.raises(RefusedError, match="context too long"):
        ask(server, 'json:{"error": {"message": "context too long", "code": 400}}', patience=replace(ONCE, retries=3))


@pytest.mark.parametrize("text", ["A \\ud83d", "A \\udc00", "\\ud83d\\ud83d"])
def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_kept(server: FaultyServer, text: str) -> None:
    found = ask(server, says(plain("WORDS")).replace("WORDS", f"{text} \\ud83d\\ude00")).text
    assert found == f"{re.sub(r'.u[0-9a-f]+', REPLACEMENT, text)} \U0001f600"


def test_bytes_that_are_no_text_are_replaced(server: FaultyServer) -> None:
    found = ask(server, says(plain("é")).replace("\\u00e9", "\ud83d")).text
    assert set(found) == {"\ufffd"}


def test_a_question_with_half_a_surrogate_pair_is_sent_without_it(server: FaultyServer) -> None:
    server.script([])
    client = ApiClient(server.base_url, None, ONCE, 1)
    body = {"model": "toy", "messages": [{"role": "user", "content": "odd \ud83d?"}]}
    assert client.post(f"{client.base_url}/chat/completions", body, read_chat).text == "Answer: B"
    assert server.log()[-1]["text"] == "odd \ufffd?"


ECHOES = [
    plain(f"the key is {KEY}"),
    {"choices": [{"index": 0, "message": {"content": "A"}, "finish_reason": f"stop {KEY}"}]},
    {"choices": [{"index": 0, "message": {"content": [KEY]}, "finish_reason": "stop"}]},
    {"choices": [{"index": [KEY], "message": {"content": "A"}, "finish_reason": "stop"}]},
    {"error": {"message": f"wrong key {KEY}"}},
    {"choices": [{"index": 0, "message": {"refusal": KEY, "content": None}, "finish_reason": "stop"}]},
    [KEY],
]


@pytest.mark.parametrize("body", ECHOES)
def test_a_key_that_a_server_echoes_reaches_neither_reply_nor_message(
    server: FaultyServer, body: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        try:
            told = ask(server, says(body), "500", patience=replace(ONCE, retries=1)).text
        except ModelError as error:
            told = str(error)
    assert KEY not in told + caplog.text
    assert "***" in told + caplog.text


def test_a_password_of_the_address_is_removed_like_a_key(server: FaultyServer) -> None:
    address = server.base_url.replace("://", "://me:hunter2@")
    server.script(["400*"])
    with pytest.raises(RefusedError, match=r"for 'Basic \*\*\*'") as caught:
        post(ApiClient(address, None, ONCE, 1))
    assert "hunter2" not in str(caught.value)


def test_a_placeholder_for_a_key_is_no_secret_within_an_answer(server: FaultyServer) -> None:
    assert ask(server, says(plain("The bowl is EMPTY.")), key="EMPTY").text == "The bowl is EMPTY."


def test_warnings_before_another_try_hold_nothing_that_a_terminal_obeys(
    server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    escapes = "\x1b]0;title\x07\x1b[31mred\x9b2J\u202ereversed\n\rline"
    faults = [says({"error": {"message": escapes}}), "500"]
    with caplog.at_level(logging.WARNING):
        assert ask(server, *faults, patience=replace(ONCE, retries=2)).text == "Answer: B"
    assert len(caplog.messages) == 2
    assert all(message.isprintable() for message in caplog.messages)


def test_control_codes_in_an_answer_are_replaced_but_line_ends_and_tabs(server: FaultyServer) -> None:
    found = ask(server, says(plain("A\x1b[31m\x00\x9b line\n\ttab")))
    assert found.text == "A\ufffd\ufffd\ufffd line\n\ttab"


@pytest.mark.parametrize(("named", "fine"), [("toy", True), ("toy-2026-01-01", True), ("same", True), ("other", False)])
def test_another_of_the_servers_models_may_not_answer(server: FaultyServer, named: str, *, fine: bool) -> None:
    models = [{"id": "toy", "root": "r"}, {"id": "same", "root": "r"}, {"id": "other", "root": "s"}]
    server.script([says({**plain("A"), "model": named})], models=says({"data": models}))
    client = ApiClient(server.base_url, None, ONCE, 1)
    look_up(client, "toy")
    if fine:
        assert post(client).text == "A"
    else:
        with pytest.raises(ServerFaultError, match="let model 'other' answer where 'toy' was asked"):
            post(client)


def test_a_name_that_the_server_does_not_list_is_warned_about_once(
    server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.script([f"{says({**plain('A'), 'model': 'gpt-9'})}*"])
    client = ApiClient(server.base_url, None, ONCE, 1)
    with caplog.at_level(logging.WARNING):
        assert {post(client).text for _ in range(3)} == {"A"}
    server.script([])
    assert [message for message in caplog.messages if "gpt-9" in message] == caplog.messages
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    "listed",
    [
        {"data": 7},
        {"data": None},
        {},
        {"data": ["toy"]},
        {"data": {"id": "toy"}},
        {"data": [{"id": ["toy"]}, {"id": None}, {"id": "\x1b[31m"}]},
    ],
)
def test_a_list_of_models_of_the_wrong_form_is_one_without_the_model(server: FaultyServer, listed: object) -> None:
    server.script([], models=says(listed))
    with pytest.raises(ModelError, match="serves no model 'toy'") as caught:
        look_up(ApiClient(server.base_url, None, ONCE, 1), "toy")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("longest", [True, -1, 0, "4096", 1.5, [4096], None])
def test_a_longest_context_that_is_none_counts_as_untold(server: FaultyServer, longest: object) -> None:
    server.script([], models=says({"data": [{"id": "toy", "max_model_len": longest}]}))
    assert look_up(ApiClient(server.base_url, None, ONCE, 1), "toy").context is None


@pytest.mark.parametrize("name", ["ALL_PROXY", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY"])
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks4://127.0.0.1:9", "http://[", "nonsense://", "a b"])
def test_a_server_on_this_machine_is_reached_whatever_proxy_is_named(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch, name: str, proxy: str
) -> None:
    monkeypatch.setenv(name, proxy)
    assert ask(server).text == "Answer: B"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks4://127.0.0.1:9", "ftp://me:hunter2@127.0.0.1:9"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ModelError, match=r"\$ALL_PROXY") as caught:
        ApiClient("http://server.invalid/v1", None, ONCE, 1)
    assert "hunter2" not in str(caught.value)


def test_certificates_that_cannot_be_read_are_named_by_their_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nix")
    for address in ("http://127.0.0.1:9/v1", "https://127.0.0.1:9/v1"):
        with pytest.raises(ModelError, match=r"SSL_CERT_FILE=/nix .*No such file"):
            ApiClient(address, None, ONCE, 1)
    monkeypatch.setenv("SSL_CERT_FILE", __file__)
    with pytest.raises(ModelError, match="SSL_CERT_FILE="):
        ApiClient("https://127.0.0.1:9/v1", None, ONCE, 1)


def test_why_a_server_cannot_be_reached_is_told() -> None:
    with pytest.raises(ServerFaultError, match=r"can't be reached \(ConnectError: .*refused"):
        post(ApiClient("http://127.0.0.1:9/v1", None, ONCE, 1))


@pytest.mark.parametrize("host", ["a" * 70 + ".invalid", "x..y", "127.0.0.1:0", "[::1]:9", "\u202e.invalid", "%00"])
def test_an_address_that_leads_nowhere_is_one_clear_error(host: str) -> None:
    with pytest.raises(ModelError) as caught:
        post(ApiClient(f"http://{host}/v1", None, replace(ONCE, timeout=5.0), 1))
    assert str(caught.value).isprintable()


def test_a_server_that_changes_the_model_it_names_is_warned_about_at_the_change(
    server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.script([], authors=["toy-may", "toy-may", "toy-june", "toy-june"])
    client = ApiClient(server.base_url, None, ONCE, 1)
    with caplog.at_level(logging.WARNING):
        assert [post(client).author for _ in range(4)] == ["toy-may", "toy-may", "toy-june", "toy-june"]
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "replies name the model 'toy-june', earlier ones 'toy-may': another model may answer now"
    ]


@pytest.mark.parametrize(
    ("root", "told"),
    [
        ("org/toy-8B", "org/toy-8B"),
        ("/home/me/models/toy-8B/", "models/toy-8B"),
        ("C:\\models\\toy-8B", "models/toy-8B"),
        ("toy", "toy"),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_what_a_server_loaded_under_the_name_is_kept_without_the_place(
    server: FaultyServer, root: object, told: str | None
) -> None:
    server.script([], models=says({"data": [{"id": "toy", "root": root}]}))
    found = look_up(ApiClient(server.base_url, None, ONCE, 1), "toy")
    assert found.facts == ({"served_from": told} if told else {})
