"""A small OpenAI-compatible server that misbehaves on command; a process of its own (`python -m … PORT [chat-only]`).

Tokens are characters. A reply is `Answer: B`; a token's log-likelihood is minus its code over 100, so sums can be
checked by hand. `POST /script {"match": …, "faults": [fault, …]}` makes the next requests whose prompt holds `match`
fail, one fault each (the last for ever where it ends in `*`); `GET /log` lists what was asked, and when.

No test needs to be quick: `meet:N` holds a reply until N requests have been in flight at once since `most_busy` was
set to 0, `after:N` until N others have been answered since `answered` was; one that waits in vain ends in a 400.

It sees as vLLM does: a frame costs FRAME_TOKENS, a video's own frames come in `video/jpeg` with their times in
`media_io_kwargs`, of which it keeps 32 unless told -1. Options make it spring traps: `keep` (so many frames whatever it
is told), `prune` (a share of a video's tokens behind its first frame), `most` (tokens of a video, however many frames),
`blind`, `silent` (no usage), `distrust` (no `media_io_kwargs`), `pictures_only`, `old` (no likelihoods of tokens).
`read_most` is the most tokens of a prompt that it reads, `authors` are the models that its next replies name.

`/v1/embeddings` gives a picture its mean colour and a text the colours it names; `embed:KIND` spoils a vector or the
list of them as `EMBEDDED` says, and the options `eyeless` and `words_only` make it ignore, or refuse, pictures.

`json:TEXT` replies with that text, and the faults of `RAW` break HTTP itself; the list of models does so where the
option `models` is set to one of them.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

MODEL = "toy"
GARBAGE: dict[str, tuple[str, int, dict[str, str]]] = {
    "malformed": ('{"choices": [{"text": "Answer: B"', 200, {}),
    "html": ("<html>Bad Gateway</html>", 502, {}),
    "garbled": ("this is no gzip", 200, {"Content-Encoding": "gzip"}),
    "no-choices": ('{"object": "something else"}', 200, {}),
}
LOCK = threading.Condition()
IN_VAIN_SECONDS = 60.0
SCRIPT: dict[str, list[str]] = {}
LOG: list[dict[str, Any]] = []
OPTIONS: dict[str, Any] = {"chat_only": False, "key": None, "models": None, "busy": 0, "most_busy": 0, "answered": 0}
FRAME_TOKENS = 60
KEPT = 32


def text_of(body: dict[str, Any]) -> str:
    """Everything that a request says, as text."""
    if "messages" in body:
        contents = [message["content"] for message in body["messages"]]
        return "\n".join(
            content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
            for content in contents
        )
    prompt = body.get("prompt", body.get("input", ""))
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str):
        return "\n".join(prompt)
    if isinstance(prompt, str):
        return prompt
    rows = prompt if prompt and isinstance(prompt[0], list) else [prompt]
    return "\n".join("".join(map(chr, row)) for row in rows)


def next_fault(text: str) -> str | None:
    with LOCK:
        for match, faults in SCRIPT.items():
            if match in text and faults:
                return faults[0].rstrip("*") if faults[0].endswith("*") else faults.pop(0)
    return None


def hold(kind: str, number: str) -> bool:
    """Keep a request waiting as told; False where it waited in vain."""
    if kind == "slow":
        time.sleep(float(number))
    count = {"meet": "most_busy", "after": "answered"}.get(kind)
    if count is None:
        return True
    with LOCK:
        return LOCK.wait_for(lambda: OPTIONS[count] >= int(number), IN_VAIN_SECONDS)


def completion(body: dict[str, Any]) -> dict[str, Any]:
    prompt = body["prompt"]
    rows = prompt if isinstance(prompt[0], list) else [prompt]
    choices = []
    for index, row in enumerate(rows):
        choice: dict[str, Any] = {"index": index, "text": "Answer: B", "finish_reason": "stop"}
        if body.get("echo"):
            choice["logprobs"] = {"token_logprobs": [None, *(-code / 100 for code in row[1:]), -1.0]}
        elif ids := body.get("logprob_token_ids"):
            choice["logprobs"] = {"top_logprobs": [{f"token_id:{code}": -code / 100 for code in ids}]}
        elif allowed := (body.get("structured_outputs") or {}).get("choice"):
            choice["text"] = allowed[1]
        choices.append(choice)
    size = sum(map(len, rows))
    details = {"cached_tokens": size // 2}
    usage = {"prompt_tokens": size, "completion_tokens": len(rows), "prompt_tokens_details": details}
    return {"choices": choices, "usage": usage}


def chat(body: dict[str, Any]) -> dict[str, Any]:
    prompt = rendered(body)
    message: dict[str, Any] = {"role": "assistant", "content": "Answer: B"}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "stop"}
    reply: dict[str, Any] = {"choices": [choice]}
    if body.get("logprobs") and not OPTIONS.get("old"):
        codes = body.get("logprob_token_ids") or [ord("B"), ord(" ")]
        tops = [{"token": f"token_id:{code}", "logprob": -code / 100} for code in codes]
        choice["logprobs"] = {"content": [{**tops[0], "top_logprobs": tops}]}
    if body.get("prompt_logprobs") is not None and not OPTIONS.get("old"):
        rows: list[Any] = [{str(ord(letter)): {"logprob": -ord(letter) / 100}} for letter in prompt]
        reply["prompt_logprobs"] = [None, *rows[1:]]
    if allowed := (body.get("structured_outputs") or {}).get("choice"):
        message["content"] = allowed[1]
    if not OPTIONS.get("silent"):
        reply["usage"] = {"prompt_tokens": len(prompt) + frame_tokens(body), "completion_tokens": 9}
    return reply


def rendered(body: dict[str, Any]) -> str:
    """The words of a conversation as the toy's template writes them."""
    begun = bool(body.get("continue_final_message"))
    parts = [f"<{message['role']}>{text_of({'messages': [message]})}" for message in body["messages"]]
    return "".join(parts) + ("" if begun else "<assistant>")


def frame_tokens(body: dict[str, Any]) -> int:
    """What the frames of a conversation cost, traps included."""
    contents = [message["content"] for message in body["messages"]]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    pictures = sum(part["type"] == "image_url" for part in parts) * FRAME_TOKENS
    videos = [part["video_url"]["url"].count(",") for part in parts if part["type"] == "video_url"]
    told = (body.get("media_io_kwargs") or {}).get("video", {}).get("num_frames", KEPT)
    kept = OPTIONS.get("keep") or told
    tokens = sum(FRAME_TOKENS * (count if kept == -1 else min(count, kept)) for count in videos)
    if OPTIONS.get("prune"):
        tokens = sum(max(FRAME_TOKENS, int(FRAME_TOKENS * count * (1 - OPTIONS["prune"]))) for count in videos)
    return 0 if OPTIONS.get("blind") else min(pictures + tokens, OPTIONS.get("most") or 1 << 30)


def refused(body: dict[str, Any]) -> str | None:
    """Why a conversation is refused, where it is."""
    video = "video_url" in json.dumps(body.get("messages", ""))[:100_000]
    if body.get("media_io_kwargs") and OPTIONS.get("distrust"):
        return "Per-request media_io_kwargs are disabled: start the server with --trust-request-mm-kwargs"
    if "image_url" in json.dumps(body.get("messages", ""))[:1000] and OPTIONS.get("words_only"):
        return "At most 0 image(s) may be provided in one prompt"
    return "At most 0 video(s) may be provided in one prompt" if video and OPTIONS.get("pictures_only") else None


def tokenize(body: dict[str, Any]) -> dict[str, Any]:
    text = body.get("prompt")
    if text is None:
        text = rendered(body)
    return {
        "tokens": [ord(letter) for letter in text],
        "count": len(text),
        "max_model_len": OPTIONS.get("context") or 8192,
    }


def detokenize(body: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": "".join(map(chr, body["tokens"]))}


COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    """A vector of four numbers for each text or picture: its colours, and something of its own."""
    texts = body["input"] if "input" in body else [text_of(body)]
    vectors = [words_vector(text) for text in texts]
    pictures = [part for message in body.get("messages", ()) for part in message["content"] if "image_url" in part]
    if pictures and not OPTIONS.get("eyeless"):
        vectors = [picture_vector(pictures[0]["image_url"]["url"])]
    rows = [{"index": place, "object": "embedding", "embedding": vector} for place, vector in enumerate(vectors)]
    return {"object": "list", "model": MODEL, "data": rows}


def words_vector(text: str) -> list[float]:
    colours = [sum(text.lower().count(name) * colour[at] for name, colour in COLOURS.items()) for at in range(3)]
    return [*(colour + 0.01 * text.count(vowel) for colour, vowel in zip(colours, "aeo", strict=True)), 0.01]


def picture_vector(url: str) -> list[float]:
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        red, green, blue = picture.convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    return [red / 255, green / 255, blue / 255, 0.01]


EMBEDDED: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "nan": lambda rows: rows[0]["embedding"].__setitem__(1, float("nan")),
    "infinite": lambda rows: rows[0]["embedding"].__setitem__(1, float("inf")),
    "huge": lambda rows: rows[0]["embedding"].__setitem__(1, 1e300),
    "zero": lambda rows: rows[0].update(embedding=[0.0, 0.0, 0.0, 0.0]),
    "short": lambda rows: rows[0]["embedding"].pop(),
    "long": lambda rows: rows[0]["embedding"].append(0.5),
    "empty": lambda rows: rows[0].update(embedding=[]),
    "base64": lambda rows: rows[0].update(embedding="AACAPwAAAAA="),
    "truth": lambda rows: rows[0].update(embedding=[True, False, False, True]),
    "null": lambda rows: rows[0]["embedding"].__setitem__(0, None),
    "fewer": lambda rows: rows.pop(),
    "more": lambda rows: rows.append(rows[0]),
    "twice": lambda rows: rows[-1].update(index=len(rows) - 2),
    "beyond": lambda rows: rows[0].update(index=len(rows)),
    "backwards": lambda rows: rows.reverse(),
}


def spoil(reply: dict[str, Any], fault: str) -> dict[str, Any]:
    """A well-formed reply that says something is wrong."""
    choice = reply["choices"][0]
    text = {"empty": "", "loose": "Answer: B", "cut": "The answer is", "filter": "", "abort": "Answer"}[fault]
    reasons = {"cut": "length", "filter": "content_filter", "abort": "abort"}
    choice["finish_reason"] = reasons.get(fault, "stop")
    if "message" in choice:
        choice["message"]["content"] = text
    else:
        choice["text"] = text
    return reply


def drip(handler: Handler, start: bytes, more: bytes = b"a") -> None:
    """Send a byte at a time, for ever."""
    handler.wfile.write(start)
    while True:
        time.sleep(0.1)
        handler.wfile.write(more)


def flood(handler: Handler, start: bytes, more: bytes) -> None:
    """Send without end, as fast as it is taken."""
    handler.wfile.write(start)
    while True:
        handler.wfile.write(more)


def leftover(handler: Handler) -> None:
    """Two replies to one request: the second must not be taken for the answer to the next."""
    good, stale = (json.dumps(plain(text)).encode() for text in ("Answer: B", "Answer: STALE"))
    handler.wfile.write(b"".join(sized(body) for body in (good, stale)))
    handler.wfile.flush()
    handler.rfile.read(1)


def half_close(handler: Handler) -> None:
    """Say that nothing more will come, and stay."""
    handler.connection.shutdown(socket.SHUT_WR)
    handler.rfile.read(1)


def plain(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}


def sized(body: bytes, *headers: bytes) -> bytes:
    head = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
RAW: dict[str, Callable[[Handler], object]] = {
    "drip-head": lambda h: drip(h, OK + b"X-Slow: "),
    "drip-body": lambda h: drip(h, OK + b"Content-Length: 1000000\r\n\r\n{"),
    "drip-chunks": lambda h: drip(h, CHUNKED, b"1\r\n \r\n"),
    "drip-informational": lambda h: drip(h, b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "storm": lambda h: flood(h, b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "endless": lambda h: flood(h, OK + b"\r\n", b"a" * 65536),
    "endless-head": lambda h: flood(h, OK, b"X-More: " + b"a" * 1000 + b"\r\n"),
    "endless-line": lambda h: flood(h, OK + b"X-More: ", b"a" * 65536),
    "bomb": lambda h: h.wfile.write(sized(gzip.compress(b" " * (16 << 20)), b"Content-Encoding: gzip")),
    "brotli": lambda h: h.wfile.write(sized(b"{}", b"Content-Encoding: br")),
    "half-gzip": lambda h: h.wfile.write(sized(gzip.compress(b"{}" * 999)[:-9], b"Content-Encoding: gzip")),
    "old": lambda h: h.wfile.write(json.dumps(plain("Answer: B")).encode()),
    "two-lengths": lambda h: h.wfile.write(OK + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}"),
    "short": lambda h: h.wfile.write(OK + b"Content-Length: 999\r\n\r\n{}"),
    "chunk-garbage": lambda h: h.wfile.write(CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"),
    "unending-chunks": lambda h: h.wfile.write(CHUNKED + b"2\r\n{}\r\n"),
    "binary": lambda h: h.wfile.write(bytes(range(256)) * 9),
    "no-status": lambda h: h.wfile.write(b"HTTP/1.1 abc\r\n\r\n{}"),
    "status-999": lambda h: h.wfile.write(b"HTTP/1.1 999 ?\r\nContent-Length: 2\r\n\r\n{}"),
    "upgrade": lambda h: h.wfile.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}"
    ),
    "nothing": lambda h: h.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "half-closed": half_close,
    "leftover": leftover,
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    full: ClassVar = {
        "/v1/completions": completion,
        "/v1/embeddings": embeddings,
        "/tokenize": tokenize,
        "/detokenize": detokenize,
    }

    def do_GET(self) -> None:
        if self.path == "/log":
            self.send({"log": LOG, "most_busy": OPTIONS["most_busy"]})
        elif self.path == "/version":
            self.send({"version": "0.0.toy"})
        elif OPTIONS["key"] and self.headers.get("Authorization") != f"Bearer {OPTIONS['key']}":
            self.send({"error": {"message": f"Incorrect key: {self.headers.get('Authorization')}"}}, 401)
        elif self.path == "/v1/models" and OPTIONS["models"]:
            kind, _, text = OPTIONS["models"].partition(":")
            self.misbehave(kind, text, {})
        elif self.path == "/v1/models":
            owner = (
                {} if OPTIONS["chat_only"] else {"owned_by": "vllm", "max_model_len": OPTIONS.get("context") or 8192}
            )
            self.send({"data": [{"id": MODEL, **owner}]})
        else:
            self.send({"error": {"message": "no such path"}}, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/script":
            SCRIPT[body["match"]] = body["faults"]
            OPTIONS.update(body.get("options", {}))
            self.send({})
            return
        answers = {"/v1/chat/completions": chat} | ({} if OPTIONS["chat_only"] else self.full)
        if self.path not in answers:
            self.send({"error": {"message": "no such path"}}, 404)
            return
        if not self.path.startswith("/v1/"):
            self.send(answers[self.path](body))
            return
        if why := refused(body):
            self.send({"error": {"message": why}}, 400)
            return
        kind, _, number = (next_fault(text_of(body)) or "").partition(":")
        with LOCK:
            LOG.append({"path": self.path, "text": text_of(body), "body": body, "time": time.monotonic()})
            OPTIONS["busy"] += 1
            OPTIONS["most_busy"] = max(OPTIONS["most_busy"], OPTIONS["busy"])
            LOCK.notify_all()
        try:
            held = hold(kind, number)
        finally:
            # A client that has its reply may ask again at once, so the reply is counted before it is sent.
            with LOCK:
                OPTIONS["busy"] -= 1
                OPTIONS["answered"] += 1
                LOCK.notify_all()
        reply = answers[self.path](body)
        if OPTIONS.get("read_most") and "usage" in reply:
            reply["usage"]["prompt_tokens"] = min(reply["usage"]["prompt_tokens"], OPTIONS["read_most"])
        with LOCK:
            if OPTIONS.get("authors"):
                reply["model"] = OPTIONS["authors"].pop(0)
        self.misbehave(kind if held else "400", number, reply)

    def misbehave(self, kind: str, number: str, reply: dict[str, Any]) -> None:
        if kind in ("", "slow", "meet", "after"):
            self.send(reply)
        elif kind in ("stall", "reset"):
            time.sleep(float(number or 0))
            self.close_connection = True
        elif kind in RAW:
            self.close_connection = True
            with suppress(OSError):
                RAW[kind](self)
        elif kind == "embed":
            EMBEDDED[number](reply["data"])
            self.send(reply)
        elif kind == "json":
            self.send_text(number, 200)
        elif kind == "redirect":
            self.send({}, 307, {"Location": number})
        elif kind in GARBAGE:
            self.send_text(*GARBAGE[kind])
        elif kind == "die":
            os._exit(1)
        elif kind.isdigit():
            headers = {"Retry-After": number} if number else {}
            echoed = self.headers.get("Authorization", "")
            self.send({"error": {"message": f"fault {kind} for '{echoed}'"}}, int(kind), headers)
        else:
            self.send(spoil(reply, kind))

    def send(self, body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_text(json.dumps(body), status, headers)

    def send_text(self, text: str, status: int, headers: dict[str, str] | None = None) -> None:
        content = text.encode("utf-8", "surrogatepass")
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    OPTIONS["chat_only"] = "chat-only" in sys.argv
    OPTIONS["key"] = os.environ.get("TOY_KEY")
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
