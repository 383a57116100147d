"""Hub and server are asked once, in vain for a few seconds at most, and no key is shown."""

from __future__ import annotations

import json
import socket
from http.server import BaseHTTPRequestHandler
from threading import Event
from time import perf_counter

import pytest

from evals.doctor import examine
from evals.doctor.examine import UnreachableError, hub_check, in_time, server_check
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
    monkeypatch.setattr(examine, "SECONDS", 0.5)
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
    monkeypatch.setattr(examine, "get", pytest.fail)
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
    for body in ('{"data": [{"id": "KEY"}]}', "no, KEY"):
        with serving(answering(body)) as url:
            found = server_check(url).found
        assert "Bearer ***" in found
        assert KEY not in found
    with serving(answering("KEY")) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        assert examine.get(url) == "None"
        assert KEY not in hub_check().found
    assert KEY not in server_check("http://127.0.0.1:9").found


@pytest.mark.parametrize("login", ["me:hunter2", "me:hun%74er2", "me:hunter2/with@marks#in?it"])
def test_no_password_of_an_address_is_shown(monkeypatch: pytest.MonkeyPatch, login: str) -> None:
    with serving(answering('{"data": [{"id": "KEY"}]}')) as url:
        there = url.replace("://", f"://{login}@")
        monkeypatch.setenv("HF_ENDPOINT", there)
        found = server_check(there).found
        assert "Basic ***" in found
        shown = found + hub_check().found + server_check(f"{there}:nonsense").found
    assert "hun" not in shown
    assert url in shown


def test_the_key_does_not_follow_a_redirection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(answering('{"data": [{"id": "KEY"}]}')) as elsewhere:

        class Redirecting(Handler):
            def do_GET(self) -> None:  # noqa: N802
                self.send_response(307)
                self.send_header("Location", f"{elsewhere}/models")
                self.end_headers()

        with serving(Redirecting) as url:
            check = server_check(url)
    assert not check.ok
    assert "status 307" in check.found


@pytest.mark.parametrize(
    "body",
    [
        "[" * 200_000,
        '{"data": [{"id": ["x"]}]}',
        '{"data": [{"id": "\\ud83d \\u001b[31m\\u009b\\u202e"}]}',
        "a" * 100_000,
    ],
)
def test_no_reply_ends_in_an_error_or_reaches_the_terminal_as_it_is(body: str) -> None:
    with serving(answering(body)) as url:
        found = server_check(url).found
    assert found.isprintable()
    assert len(found) < 500


def test_the_reason_of_a_refusal_is_told() -> None:
    with serving(answering('{"error": {"message": "Incorrect key"}}', 401)) as url:
        assert "status 401" in server_check(url).found
        assert "Incorrect key" in server_check(url).found


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "http://127.0.0.1:9", "nonsense"])
def test_this_machine_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    for name in ("http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    with serving(answering('{"data": [{"id": "toy"}]}')) as url:
        assert server_check(url).ok


def test_certificates_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nix")
    assert "SSL_CERT_FILE=/nix" in server_check("https://127.0.0.1:9").found


def test_what_is_no_web_address_is_said() -> None:
    assert "no web address" in server_check("file:///etc/passwd").found


def test_without_a_server_the_way_to_name_one_is_told() -> None:
    assert "OPENAI_BASE_URL" in server_check(None).found
