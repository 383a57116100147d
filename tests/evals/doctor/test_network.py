"""Hub and server are asked once, in vain for a few seconds at most, and no key is shown."""

from __future__ import annotations

import json
import socket
from http.server import BaseHTTPRequestHandler
from threading import Event
from time import perf_counter

import pytest

from evals.doctor import network
from evals.doctor.network import UnreachableError, hub_check, in_time, server_check
from tests.evals.conftest import Handler, serving

KEY = "sk-very-secret"


def answering(body: str, status: int = 200) -> type[BaseHTTPRequestHandler]:
    class Answer(Handler):
        def do_GET(self) -> None:  # noqa: N802
            data = body.replace("KEY", str(self.headers.get("Authorization"))).encode()
            self.send_response(status)
            self.end_headers()
            self.wfile.write(data)

    return Answer


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "SECONDS", 0.5)
    for name in ("HF_HUB_OFFLINE", "OPENAI_BASE_URL", "OPENAI_API_KEY", "HF_ENDPOINT", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("status", [200, 401, 503])
def test_any_answer_of_the_hub_will_do(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    with serving(answering("hello", status)) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        assert hub_check().ok


def test_a_hub_that_is_not_there_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    check = hub_check()
    assert (check.ok, check.optional) == (False, True)
    assert "refused" in check.found


def test_offline_means_that_the_hub_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(network, "get", pytest.fail)
    assert "not asked" in hub_check().found


def test_a_server_that_takes_the_call_and_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = perf_counter()
        check = server_check(f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        assert perf_counter() - started < 5
    assert not check.ok


def test_what_knows_no_time_out_of_its_own_is_not_waited_for() -> None:
    never = Event()
    started = perf_counter()
    with pytest.raises(UnreachableError, match=r"no answer within 0\.5 s"):
        in_time(never.wait)
    assert perf_counter() - started < 5
    never.set()


def test_a_servers_models_are_named() -> None:
    body = json.dumps({"data": [{"id": f"model-{i}"} for i in range(5)]})
    with serving(answering(body)) as url:
        check = server_check(f"{url}/v1/")
    assert check.ok
    assert "serves model-0, model-1, model-2" in check.found


@pytest.mark.parametrize("body", ["<html>", "[]", '{"data": 7}', '{"data": [{"name": "x"}]}'])
def test_a_server_of_something_else_is_found_out(body: str) -> None:
    with serving(answering(body)) as url:
        check = server_check(url)
    assert not check.ok
    assert "lists no models" in check.found


def test_the_key_is_sent_to_the_server_alone_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(answering('{"data": [{"id": "KEY"}]}')) as url:
        assert f"Bearer {KEY}" in server_check(url).found
    with serving(answering("KEY")) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        assert network.get(url) == "None"
        assert KEY not in hub_check().found
    assert KEY not in server_check("http://127.0.0.1:9").found


def test_what_is_no_web_address_is_said() -> None:
    assert "no web address" in server_check("file:///etc/passwd").found


def test_without_a_server_the_way_to_name_one_is_told() -> None:
    assert "OPENAI_BASE_URL" in server_check(None).found
