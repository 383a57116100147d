"""Video language models behind an OpenAI-compatible server: vLLM, which takes a video's frames, or hosted ones.

A server that drops, prunes or shrinks frames answers all the same. The token counts that it reports are therefore
compared with the cost of few frames of the same size before its answers count.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil, isfinite
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from baselines.llm.client import (
    MOST_BYTES,
    ApiClient,
    Json,
    Patience,
    RefusedError,
    ServerFaultError,
    Written,
    author_note,
    author_of,
    read_chat,
    read_chat_letters,
    read_prompt_logprobs,
    read_usage,
)
from baselines.llm.options import Sampling
from baselines.llm.protocol import (
    Chat,
    ContinuationScores,
    Form,
    Reply,
    check_max_tokens,
    check_room,
    describe_chat,
)
from baselines.llm.served import (
    BASE_URL,
    BYTES_PER_TOKEN,
    NO_SUCH_ROUTE,
    ServedModel,
    check_words_read,
    look_up,
    read_key,
    read_tokens,
    side_by_side,
)
from baselines.llm.vision import (
    TOLERANCE,
    Costs,
    FramesLostError,
    check_arrival,
    costs_by,
    first_frames,
    message_parts,
    pixels_key,
    probe_frames,
    sent_notes,
    split_thought,
    true_times,
)
from baselines.models import VisionOptions
from encoders.control_tokens import neutral
from tasks.errors import ModelError
from tasks.model import BatchHint, ModelInfo
from tasks.task import JsonValue, TokenUsage

JPEG_QUALITY = 90
LETTERS_TOLD = 20
"""Number of likeliest tokens that can be requested from servers that don't take token ids."""
ECHO_BYTES_PER_TOKEN = 512
GUESSED = 0.5
"""Our choice: relative error allowed in the estimated tokens of other words."""
UNKNOWN = "unknown"
SETTINGS = ("video_pruning_rate", "mm_processor_kwargs", "media_io_kwargs", "limit_per_prompt", "quantization", "dtype")
"""The server settings that change answers, as named by vLLM's /server_info."""
TRUST = "--trust-request-mm-kwargs"
REMEDY = (
    'Start vllm serve with --media-io-kwargs \'{"video": {"num_frames": -1}}\' and without --video-pruning-rate, let '
    "its --mm-processor-kwargs bound no more pixels than pixels= or total_pixels= do, or send fewer or smaller frames"
)
_log = logging.getLogger(__name__)
A = TypeVar("A")
B = TypeVar("B")


@dataclass(slots=True)
class Calibration:
    """The token cost of frames of one number and size, measured once by the first thread."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    costs: Costs | None = None
    spelled: int = 0

    def words(self, chat: Chat) -> float:
        """Estimate the tokens of a chat's words from those of the first prompt."""
        if self.costs is None:
            return 0.0
        for_each = min(1.0, self.costs.nothing / max(self.spelled, 1))
        return self.costs.nothing + (spelled(chat) - self.spelled) * for_each


class ServedVisionModel:
    """Implements the LanguageModel protocol through `/chat/completions`; threads may share it."""

    def __init__(
        self,
        client: ApiClient,
        served: ServedModel,
        info: ModelInfo,
        sampling: Sampling,
        lanes: int,
        *,
        check_frames: bool = True,
        check_prompt: bool = True,
        send: Form | None = None,
    ) -> None:
        self.info = info
        self.sampling = sampling
        self.batch_hint = BatchHint(lanes=lanes)
        self.context = served.context or 1 << 30
        self.tells_times = False
        self._client = client
        self._served = served
        self._lanes = lanes
        self._check_frames = check_frames
        self._check_prompt = check_prompt
        self._calibrated: dict[tuple[int, ...], Calibration] = {}
        self._turn = threading.Lock()
        self.forms: tuple[Form, ...] = self._find_forms(send)

    def count_tokens(self, chat: Chat) -> int:
        """Estimate the words' tokens: one per three bytes (our choice)."""
        return ceil(spelled(chat) / BYTES_PER_TOKEN)

    def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
        """Generate replies concurrently. Raises ModelError for a server's fault, FramesLostError for lost frames."""
        check_max_tokens(max_tokens)
        if any(chat.choices for chat in chats) and not self._served.vllm:
            raise ModelError(f"guided choice needs a vLLM server, which {self._client.where} is not")
        return side_by_side(lambda pair: self._reply(*pair, max_tokens), list(enumerate(chats)), lanes=self._lanes)

    def score(self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]:
        """Score continuations: single tokens in one pass, longer ones in a pass each.

        Raises ModelError if the server can't score given text.
        """
        if not self._served.vllm:
            raise self._cannot_score("it is not a vLLM server")
        pairs = list(zip(chats, continuations, strict=True))
        return side_by_side(lambda pair: self._score_one(*pair), pairs, lanes=self._lanes)

    def check_scoring(self) -> None:
        """Raise ModelError, naming what works instead, if the server can't score given text."""
        try:
            self.score([Chat("Which letter?", reply_start="Answer:")], [[" one two", " three"]])
        except RefusedError as error:
            raise self._cannot_score(str(error)) from error

    def _cannot_score(self, why: str) -> ModelError:
        return ModelError(
            f"{self._client.where} can't score options: {why}. options-loglik and letter-logprob need vllm serve, "
            f"llm transformers:… or vllm:…; here the route generate+parse works"
        )

    def _reply(self, index: int, chat: Chat, max_tokens: int) -> Reply:
        room = self.sampling.room(max_tokens)
        item, prompt = describe_chat(index, chat), self.count_tokens(chat)
        check_room(item, prompt, room, "the reply", context=self.context, model=self.info.name)
        body = self._body(chat, room)
        if chat.choices:
            body["structured_outputs"] = {"choice": list(chat.choices)}
        written: Written = self._post(body, read_chat)
        if self._check_prompt:
            check_words_read(self._client.where, written.usage, words_of(chat))
        self._check_arrival(chat, written.usage)
        begun = bool(self.sampling.thinking) and not written.thought
        thought, answer = split_thought(written.text, begun=begun, finished=written.finished)
        if chat.choices and written.finished and answer.strip() not in chat.choices:
            raise ModelError(f"{self._client.where} did not hold the reply to the choices: {answer[:40]!r}")
        thought = written.thought or thought
        if not answer.strip() and not thought:
            raise ModelError(f"{item}: {self._served.name} wrote nothing in {room} tokens")
        notes = {**self._notes(chat, written.usage), **author_note(written.author, self._served.name)}
        return Reply(answer, written.finished, written.usage, thought, notes)

    def _score_one(self, chat: Chat, texts: Sequence[str]) -> ContinuationScores:
        ids = [self._ids_behind(chat, text) for text in texts]
        if all(len(one) == 1 for one in ids):
            return self._score_letters(chat, [one[0] for one in ids], texts)
        totals, usage = [], TokenUsage()
        notes: dict[str, JsonValue] = {}
        most = MOST_BYTES + ECHO_BYTES_PER_TOKEN * (self._served.context or 1 << 17)
        for text, one in zip(texts, ids, strict=True):
            said = replace(chat, reply_start=chat.reply_start + text)
            body = {**self._body(said, 1), "prompt_logprobs": 0}
            found, spent, author = self._post(body, partial(_last_logprobs, ids=one), most_bytes=most)
            notes |= author_note(author, self._served.name)
            self._check_arrival(chat, replace(spent, prompt=max(0, spent.prompt - len(one))))
            totals.append(sum(found))
            usage += TokenUsage(spent.prompt - len(one), spent.cached, len(one))
        notes |= self._notes(chat, usage, len(ids))
        return ContinuationScores(tuple(totals), tuple(map(len, ids)), usage, notes)

    def _score_letters(self, chat: Chat, ids: Sequence[int], texts: Sequence[str]) -> ContinuationScores:
        asked = {"logprobs": True, "logprob_token_ids": list(ids), "return_tokens_as_token_ids": True}
        body = {**self._body(chat, 1), **asked, "temperature": 0.0}
        read = partial(_letters, ids=ids)
        found, usage, author = self._post(body, read)
        if found is None:
            told = {"logprobs": True, "top_logprobs": LETTERS_TOLD, "return_tokens_as_token_ids": True}
            body = {**self._body(chat, 1), **told, "temperature": 0.0}
            found, usage, author = self._post(body, read)
        if found is None:
            letters = ", ".join(text.strip() for text in texts)
            raise ModelError(f"{self._client.where} does not report the likelihood of each of {letters}")
        self._check_arrival(chat, usage)
        spent = TokenUsage(usage.prompt, usage.cached, len(ids))
        notes = {**self._notes(chat, usage), **author_note(author, self._served.name)}
        return ContinuationScores(tuple(found), (1,) * len(ids), spent, notes)

    def _ids_behind(self, chat: Chat, text: str) -> list[int]:
        """Return the tokens of a continuation as the server's tokenizer splits it after the prompt's words."""
        plain = replace(chat, shown=None)
        before = self._tokens(plain)
        after = self._tokens(replace(plain, reply_start=chat.reply_start + text))
        if after[: len(before)] != before or len(after) == len(before):
            raise ModelError(
                f"{self._client.where}: the continuation {text[:40]!r} merges with the end of the prompt "
                f"({chat.reply_start[-20:]!r}) in its tokenizer; move the blank between them to the continuation"
            )
        return after[len(before) :]

    def _tokens(self, chat: Chat) -> list[int]:
        asked = {"model": self._served.name, **self._conversation(chat)}
        try:
            return self._client.post(f"{self._client.root_url}/tokenize", asked, read_tokens)
        except RefusedError as error:
            if error.status in NO_SUCH_ROUTE:
                raise self._cannot_score("it gives no token ids (no /tokenize)") from error
            raise

    def _body(self, chat: Chat, max_tokens: int) -> dict[str, Any]:
        """Build a request; vLLM-only fields are sent to vLLM alone."""
        sampling = self.sampling
        body: dict[str, Any] = {
            "model": self._served.name,
            **self._conversation(chat),
            "max_tokens": max_tokens,
            "temperature": sampling.temperature,
        }
        if sampling.temperature:
            body["top_p"] = sampling.top_p
            if sampling.seed is not None:
                body["seed"] = sampling.seed + chat.draw
        if self._served.vllm:
            # A published generation config may have a penalty that plain decoding lacks.
            body["repetition_penalty"] = 1.0
        return {**body, **{name: value for name, value in sampling.extra.items() if name != "chat_template_kwargs"}}

    def _conversation(self, chat: Chat) -> dict[str, Any]:
        """Return the messages, and how the last one is to be continued."""
        messages: list[dict[str, Any]] = [{"role": "user", "content": self._content(chat)}]
        if chat.system:
            messages.insert(0, {"role": "system", "content": neutral(chat.system)})
        found: dict[str, Any] = {"messages": messages}
        if chat.reply_start:
            if not self._served.vllm:
                raise ModelError(f"{self._client.where} can't continue a started reply: use vllm serve")
            messages.append({"role": "assistant", "content": neutral(chat.reply_start)})
            found |= {"continue_final_message": True, "add_generation_prompt": False}
        if arguments := self.sampling.template_arguments:
            found["chat_template_kwargs"] = arguments
        if chat.shown is not None and chat.shown.form == "video":
            found["media_io_kwargs"] = {"video": {**true_times(chat.shown), "num_frames": -1}}
        return found

    def _content(self, chat: Chat) -> list[dict[str, Any]] | str:
        if chat.shown is None:
            return neutral(chat.user)
        pictures = iter(chat.shown.frames.pixels)
        parts: list[dict[str, Any]] = []
        for part in message_parts(chat, text=neutral):
            if part["type"] == "video":
                frames = ",".join(map(jpeg, chat.shown.frames.pixels))
                parts.append({"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{frames}"}})
            elif part["type"] == "image":
                parts.append(
                    {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{jpeg(next(pictures))}"}}
                )
            else:
                parts.append(part)
        return parts

    def _post(self, body: Json, read: Callable[[Json], B], most_bytes: int = MOST_BYTES) -> B:
        return self._client.post(f"{self._client.base_url}/chat/completions", body, read, most_bytes=most_bytes)

    def _notes(self, chat: Chat, usage: TokenUsage, passes: int = 1) -> dict[str, JsonValue]:
        """Return what was sent and, if known, how many of the prompt's tokens were frames."""
        notes = sent_notes(chat.shown)
        known = self._calibrated.get(pixels_key(chat.shown)) if chat.shown else None
        if known is not None and known.costs is not None:
            notes["vision_tokens"] = max(0, round(usage.prompt / passes - known.words(chat)))
        return notes

    def _check_arrival(self, chat: Chat, usage: TokenUsage) -> None:
        """Raise FramesLostError if the prompt has fewer tokens than its frames must take.

        The first prompt with frames of a number and size is sent again without frames and with few, for one token each.
        Later prompts are compared with that by an estimate of their words' tokens.
        """
        if chat.shown is None or not self._check_frames:
            return
        where, count = f"{self._client.where}", len(chat.shown.frames.seconds)
        if usage.prompt == 0:
            raise FramesLostError(
                f"{where} reports no prompt tokens (usage), so it is unknown whether it read all {count} frames: "
                f"-M check_frames=false skips this check"
            )
        with self._turn:
            known = self._calibrated.setdefault(pixels_key(chat.shown), Calibration())
        with known.turn:
            if known.costs is None:
                costs = costs_by(partial(self._cost_of, chat), partial(self._odd_cost, chat))
                check_arrival(count, usage.prompt, costs, where, REMEDY)
                known.spelled, known.costs = spelled(chat), costs
                return
        words, expected = known.words(chat), known.costs.expected(count)
        slack = GUESSED * abs(words - known.costs.nothing) + expected * TOLERANCE + known.costs.each
        if usage.prompt < words + expected - slack:
            raise FramesLostError(
                f"{where} was sent {count} frames, which took {expected:.0f} tokens before, and counted "
                f"{usage.prompt} for words and frames together. {REMEDY}"
            )

    def _cost_of(self, chat: Chat, number: int) -> int:
        """Return the prompt tokens of the same words with `number` of the frames."""
        assert chat.shown is not None
        plain = replace(chat.shown, between=())
        shown = first_frames(plain, number) if number else None
        return self._post(self._body(replace(chat, shown=shown, choices=()), 1), read_usage).prompt

    def _odd_cost(self, chat: Chat, number: int) -> int | None:
        """Return the same for a video with one frame or three; None if the model does not take such a video."""
        if chat.shown is None or chat.shown.form != "video":
            return None
        try:
            return self._cost_of(chat, number)
        except RefusedError:
            return None

    def _find_forms(self, send: Form | None) -> tuple[Form, ...]:
        """Find out how the server takes frames: sending a video's frames is specific to vLLM, so two are sent to try.

        Raises ModelError if the server takes videos but not their times.
        """
        if not self._served.vllm or send == "images":
            return ("images",)
        body = self._body(Chat("?", shown=probe_frames("video")), 1)
        try:
            self._post(body, read_usage)
        except RefusedError as error:
            if TRUST in str(error) and self._takes({name: body[name] for name in body if name != "media_io_kwargs"}):
                raise ModelError(
                    f"{self._client.where} takes no times of a video's frames: start vllm serve with {TRUST}, or "
                    f"send=images"
                ) from error
            if send == "video":
                raise ModelError(f"{self._client.where} takes no video: {error}; send=images") from error
            _log.info("%s takes no video, so frames go as images: %s", self._client.where, error)
            return ("images",)
        return ("video", "images")

    def _takes(self, body: Json) -> bool:
        try:
            self._post(body, read_usage)
        except RefusedError:
            return False
        return True


def _last_logprobs(reply: Json, ids: Sequence[int]) -> tuple[list[float], TokenUsage, str]:
    return read_prompt_logprobs(reply, ids), read_usage(reply), author_of(reply)


def _letters(reply: Json, ids: Sequence[int]) -> tuple[list[float] | None, TokenUsage, str]:
    return read_chat_letters(reply, ids), read_usage(reply), author_of(reply)


def spelled(chat: Chat) -> int:
    """Count the bytes of all texts of a chat."""
    return sum(len(text.encode("utf-8", "replace")) for text in words_of(chat))


def words_of(chat: Chat) -> list[str]:
    """Return all texts of a chat."""
    among = [text for _, text in chat.shown.between] if chat.shown else []
    return [text for text in (chat.system, *among, chat.user, chat.reply_start) if text]


def jpeg(picture: NDArray[np.uint8]) -> str:
    """Encode a picture uint8 [H, W, 3] as base64 JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def load_served_vision(model: str, options: VisionOptions, sampling: Sampling, *, scoring: bool) -> ServedVisionModel:
    """Connect to the server and check that it has the model; with `scoring` also that it can score options.

    Raises ModelError, naming the server, if it can't be reached, refuses the key, lacks the model or takes no frames.
    """
    address = options.base_url or os.environ.get(BASE_URL)
    if not address:
        raise ModelError(f"llm 'openai:{model}' needs its server: -M base_url=http://HOST:PORT/v1 or ${BASE_URL}")
    patience = Patience(timeout=options.timeout, retries=options.retries, away=options.patience)
    client = ApiClient(address, read_key(options.key_from), patience, options.concurrency)
    served = look_up(client, model)
    if options.context is not None:
        served = replace(served, context=min(options.context, served.context or options.context))
    details: dict[str, JsonValue] = {
        "engine": f"vllm {served.vllm}" if served.vllm else "OpenAI-compatible server",
        "server": client.host,
        **served.facts,
        "context": served.context or UNKNOWN,
        "jpeg_quality": JPEG_QUALITY,
        "frames_checked": options.check_frames,
        "server_settings": server_settings(client) if served.vllm else UNKNOWN,
        **sampling.facts,
    }
    info = ModelInfo(name=model, device="served", details=details)
    llm = ServedVisionModel(
        client,
        served,
        info,
        sampling,
        options.concurrency,
        check_frames=options.check_frames,
        check_prompt=options.check_prompt,
        send=options.send,
    )
    if scoring:
        llm.check_scoring()
    return llm


def server_settings(client: ApiClient) -> JsonValue:
    """Return the server's settings that change answers; "unknown" if it does not report them.

    Raises FramesLostError if they drop part of each video.
    """
    try:
        told = client.get(f"{client.root_url}/server_info?config_format=json")
    except (RefusedError, ServerFaultError):
        return UNKNOWN
    found = dict(named_within(told.get("vllm_config"), SETTINGS))
    rate = found.get("video_pruning_rate")
    if isinstance(rate, int | float) and isfinite(rate) and rate > 0:
        raise FramesLostError(
            f"{client.where} drops {rate:.0%} of a video's tokens: start vllm serve without --video-pruning-rate"
        )
    return json.loads(client.shown(json.dumps(found, sort_keys=True))) if found else UNKNOWN


def named_within(content: object, names: Sequence[str]) -> list[tuple[str, Any]]:
    """Return the values under these names anywhere in a configuration."""
    found: list[tuple[str, Any]] = []
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key in names and value not in (None, {}, ""):
                found.append((key, value))
            found += named_within(value, names)
    return found
