"""Every way a server can fail, against a real process that does: retried within limits, never taken for an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event, Timer
from time import sleep

import pytest

pytest.importorskip("httpx2")
pytest.importorskip("tenacity")

from baselines.llm.client import ApiClient, Patience, RefusedError, ServerFaultError, Written, read_chat
from tasks.errors import ModelError
from tests.baselines.llm.server_process import FaultyServer, faulty_server

KEY = "sk-very-secret"
QUICK = Patience(timeout=60.0, retries=2, away=60.0, first_wait=0.01, longest_wait=0.05)
HASTY = replace(QUICK, timeout=1.5, retries=1)
Ask = Callable[..., Written]


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with faulty_server() as started:
        yield started


def ask(server: FaultyServer, text: str, patience: Patience = QUICK, client: ApiClient | None = None) -> Written:
    client = client or ApiClient(server.base_url, KEY, patience, 4)
    body = {"model": "toy", "messages": [{"role": "user", "content": text}]}
    return client.post(f"{client.base_url}/chat/completions", body, read_chat)


@pytest.fixture
def told_to_wait() -> Iterator[Event]:
    """Set as soon as a request is about to wait for another try."""
    event = Event()
    handler = logging.Handler()
    handler.emit = lambda record: event.set()  # type: ignore[method-assign]
    logger = logging.getLogger("baselines.llm.client")
    logger.addHandler(handler)
    yield event
    logger.removeHandler(handler)


def asked(server: FaultyServer, text: str) -> int:
    return sum(text in row["text"] for row in server.log())


FAULTS = ["500", "503", "429", "html", "malformed", "garbled", "no-choices", "empty", "abort", "reset", "stall:30"]


def patience(fault: str) -> Patience:
    """Nothing but a stall is to run into a time limit, however busy the machine."""
    return HASTY if fault.startswith("stall") else QUICK


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_is_tried_again_until_the_answer_comes(server: FaultyServer, fault: str) -> None:
    server.script([fault], match=f"passing {fault}")
    assert ask(server, f"passing {fault}", patience(fault)).text == "Answer: B"
    assert asked(server, f"passing {fault}") == 2


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("500", "answered 500: fault 500"),
        ("429", "answered 429"),
        ("html", "answered 502: <html>Bad Gateway"),
        ("malformed", "sent malformed JSON"),
        ("garbled", "can't be unpacked"),
        ("no-choices", "reply has no choices"),
        ("empty", "sent an empty completion"),
        ("abort", r"an unknown reason \('abort'\)"),
        ("stall:30", r"gave no answer within .* larger timeout"),
    ],
)
def test_a_fault_that_stays_is_an_error_after_the_stated_tries(server: FaultyServer, fault: str, message: str) -> None:
    server.script([f"{fault}*"], match=f"staying {fault}")
    with pytest.raises(ServerFaultError, match=message):
        ask(server, f"staying {fault}", patience(fault))
    assert asked(server, f"staying {fault}") == 1 + patience(fault).retries


def test_a_server_slower_than_the_time_out_is_given_twice_the_time_at_each_try(server: FaultyServer) -> None:
    server.script(["slow:1.2*"], match="slow server")
    assert ask(server, "slow server", replace(HASTY, timeout=0.5, retries=2)).text == "Answer: B"
    assert asked(server, "slow server") == 3


@pytest.mark.parametrize(("timeout", "last"), [(120.0, 300.0), (400.0, 400.0)])
def test_a_time_out_grows_to_the_patience_and_no_further(timeout: float, last: float) -> None:
    patience = Patience(timeout=timeout, away=300.0)
    assert patience.seconds(0) == timeout
    assert {patience.seconds(late) for late in range(2, 40)} == {last}


@pytest.mark.slow
def test_a_stall_of_30_seconds_is_waited_out_by_default(server: FaultyServer) -> None:
    server.script(["slow:30"], match="thinking")
    assert ask(server, "thinking", Patience()).text == "Answer: B"
    assert asked(server, "thinking") == 1


@pytest.mark.parametrize(("fault", "message"), [("400", "answered 400: fault"), ("filter", "content filter")])
def test_what_asking_again_cannot_help_is_asked_once(server: FaultyServer, fault: str, message: str) -> None:
    server.script([f"{fault}*"], match=f"refused {fault}")
    with pytest.raises(RefusedError, match=message):
        ask(server, f"refused {fault}")
    assert asked(server, f"refused {fault}") == 1


def test_a_reply_cut_at_the_token_limit_says_that_it_is_not_finished(server: FaultyServer) -> None:
    server.script(["cut"], match="to be cut")
    assert ask(server, "to be cut") == Written("The answer is", finished=False, usage=ask(server, "to be cut").usage)
    assert asked(server, "to be cut") == 2


def test_a_request_to_wait_is_honoured_by_all_threads(server: FaultyServer, told_to_wait: Event) -> None:
    server.script(["429:0.6"], match="too many")
    client = ApiClient(server.base_url, None, QUICK, 4)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, server, "too many", QUICK, client)
        assert told_to_wait.wait(60)
        second = pool.submit(ask, server, "a neighbour", QUICK, client)
        assert (first.result().text, second.result().text) == ("Answer: B", "Answer: B")
    refused, *later = [row["time"] for row in server.log() if row["text"] in {"too many", "a neighbour"}]
    assert len(later) == 2
    assert all(time - refused >= 0.6 for time in later)


def test_a_request_to_wait_longer_than_the_patience_is_an_error_at_once(
    server: FaultyServer, told_to_wait: Event
) -> None:
    server.script(["429:3600*"], match="for an hour")
    with pytest.raises(ServerFaultError, match="asks to wait 3600 s"):
        ask(server, "for an hour")
    assert asked(server, "for an hour") == 1
    assert not told_to_wait.is_set()


def test_rate_limits_may_outlast_the_number_of_tries_but_not_the_patience(server: FaultyServer) -> None:
    server.script(["429:0.05"] * 6, match="often")
    assert ask(server, "often").finished
    assert asked(server, "often") == 7


def test_used_up_credit_is_not_waited_for(server: FaultyServer) -> None:
    server.script(["429*"], match="insufficient_quota")
    client = ApiClient(server.base_url, "insufficient_quota", QUICK, 4)  # the server shows the key in its message
    with pytest.raises(RefusedError):
        ask(server, "insufficient_quota", client=client)
    assert asked(server, "insufficient_quota") == 1


@pytest.mark.parametrize("fault", ["400", "500"])
def test_the_key_is_cut_out_of_what_the_server_says(server: FaultyServer, fault: str) -> None:
    server.script([f"{fault}*"], match="show me the key")
    with pytest.raises(ModelError) as caught:
        ask(server, "show me the key")
    assert "Bearer ***" in str(caught.value)
    assert KEY not in str(caught.value)


def test_no_request_body_holds_the_key(server: FaultyServer) -> None:
    ask(server, "hello")
    assert KEY not in str(server.log())


def test_a_server_that_comes_back_is_waited_for() -> None:
    with faulty_server() as server:
        server.kill()
        timer = Timer(0.7, server.restart)
        timer.start()
        assert ask(server, "are you back?").text == "Answer: B"
        timer.join()


def test_a_server_that_stays_away_is_waited_for_once_not_by_every_request(told_to_wait: Event) -> None:
    with faulty_server() as server:
        client = ApiClient(server.base_url, None, replace(QUICK, away=0.6), 4)
        server.kill()
        with pytest.raises(ServerFaultError, match=r"127\.0\.0\.1:\d+/v1 can't be reached \(ConnectError"):
            ask(server, "hello?", client=client)
        assert told_to_wait.is_set()
        told_to_wait.clear()
        with pytest.raises(ServerFaultError):
            ask(server, "hello again?", client=client)
        assert not told_to_wait.is_set()
        server.restart()
        assert ask(server, "and now?", client=client).finished


def test_a_request_that_waited_for_its_turn_uses_up_the_silence_that_all_share(told_to_wait: Event) -> None:
    with faulty_server() as server:
        client = ApiClient(server.base_url, None, replace(QUICK, away=0.8), 1)
        server.script(["slow:30*"], match="slow")
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(ask, server, text, client=client) for text in ("slow", "slow as well")]
            sleep(0.6)
            server.kill()
            for request in asked:
                with pytest.raises(ServerFaultError, match="can't be reached"):
                    request.result()
        told_to_wait.clear()
        with pytest.raises(ServerFaultError):
            ask(server, "hello again?", client=client)
        assert not told_to_wait.is_set()


def test_a_request_that_breaks_the_connection_each_time_ends_though_others_succeed(server: FaultyServer) -> None:
    client = ApiClient(server.base_url, None, replace(QUICK, away=0.5), 4)
    server.script(["reset*"], match="poison")
    with ThreadPoolExecutor(2) as pool:
        poisoned = pool.submit(ask, server, "poison", QUICK, client)
        while not poisoned.done():
            assert ask(server, "fine", client=client).finished
        with pytest.raises(ServerFaultError, match="can't be reached"):
            poisoned.result()


def test_as_many_requests_are_in_flight_as_allowed_and_no_more(server: FaultyServer) -> None:
    server.script(["meet:3*"], match="crowd", most_busy=0)
    client = ApiClient(server.base_url, None, replace(QUICK, timeout=120.0), 3)
    with ThreadPoolExecutor(9) as pool:
        assert all(reply.finished for reply in pool.map(lambda _: ask(server, "crowd", client=client), range(9)))
    assert server.most_busy() == 3


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://host/v1", "not an address", "http://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ModelError, match="base_url"):
        ApiClient(address, None, QUICK, 1)


def test_messages_show_no_password_of_the_address() -> None:
    client = ApiClient("http://me:hunter2@127.0.0.1:9/v1?key=x", None, Patience(away=0.0), 1)
    with pytest.raises(ServerFaultError) as caught:
        client.get(f"{client.base_url}/models")
    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1:9" in str(caught.value)
