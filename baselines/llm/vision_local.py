"""Video language models run by transformers in this process: frames as one video with their times, or as images.

A prompt is processed in two parts, up to its last frame and from there on: questions about one video share the first
part, and a likelihood depends on its own prompt alone. A model whose two parts don't give the same logits as the whole
(for example one with bidirectional attention among frames) processes every prompt whole.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    BatchFeature,
    Cache,
    LogitsProcessorList,
    MinPLogitsWarper,
    PreTrainedModel,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.cache_utils import DynamicLayer
from transformers.video_utils import VideoMetadata

from baselines.llm.local import TEMPLATE_ERRORS
from baselines.llm.options import Sampling
from baselines.llm.protocol import (
    Chat,
    ContinuationScores,
    Form,
    Reply,
    Shown,
    check_max_tokens,
    check_room,
    context_limit,
    describe_chat,
)
from baselines.llm.vision import (
    check_arrival,
    costs_by,
    first_frames,
    message_parts,
    pixels_key,
    probe_frames,
    sent_notes,
    split_thought,
    true_times,
    without_special,
)
from encoders.causal_lm.load import (
    check_json,
    check_weights,
    dtype_of,
    eos_ids,
    model_folder,
    quiet,
    weight_files,
    weights_sha256,
    without_code,
)
from encoders.causal_lm.scoring import ScoringTokens, ancestors, prefix_tree, split_tokens, use_float32_head
from encoders.config import foreign_file
from encoders.device import device_name, find_device, warn_of_slow_bfloat16
from encoders.frames import Frames
from tasks.errors import ModelError
from tasks.model import BatchHint, ModelInfo
from tasks.task import JsonValue, TokenUsage

PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")
WARPERS = {
    "repetition_penalty": RepetitionPenaltyLogitsProcessor,
    "top_k": TopKLogitsWarper,
    "min_p": MinPLogitsWarper,
}
"""What `extra=` may set in this process, beside the keywords of the template and the processor."""
KEYWORDS = ("chat_template_kwargs", "mm_processor_kwargs")
REMEDY = (
    'Lower frames=, pixels= or total_pixels=, or raise the processor\'s own bound with extra={"mm_processor_kwargs": …}'
)
SAME = 1e-3
"""Our choice: how far logits of two parts may be from those of the whole, as a share of their spread."""
PROBE_TEXTS = (" a pan of eggs", " a", " nothing")
QUESTIONS_TOGETHER = 8
"""Our choice: questions per call on a GPU; those about one video take one forward pass."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A prompt as model inputs: token ids, vision inputs, and the end of the part with frames."""

    ids: tuple[int, ...]
    vision: Mapping[str, Any]
    seen: int
    text: str
    begun_thought: bool
    notes: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """A prepared chat and the token ids of the continuations to score after it."""

    chat: Chat
    prepared: Prepared
    tails: tuple[tuple[int, ...], ...]
    item: str


@dataclass(slots=True)
class Prefix:
    """The processed first part of the last prompt: its tokens, its frames, and the model's cache."""

    ids: tuple[int, ...] = ()
    frames: Frames | None = None
    cache: Cache | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Positions [3, 1, tokens] of a prompt in time, height and width; None if the model numbers tokens itself."""

    prompt: Tensor | None

    def of(self, start: int, end: int | None = None) -> dict[str, Tensor]:
        """Return the positions of the prompt's tokens from `start` to `end`, as an argument of the model."""
        return {} if self.prompt is None else {"position_ids": self.prompt[..., start:end]}

    def along(self, start: int, depths: Tensor) -> dict[str, Tensor]:
        """Return the positions of text tokens that follow the one at `start` by `depths` tokens, in any order."""
        if self.prompt is None:
            return {"position_ids": (start + depths)[None]}
        return {"position_ids": self.prompt[..., start : start + 1] + depths}

    def behind(self, count: int, after: int = 0) -> dict[str, Tensor]:
        """Return the positions of `count` text tokens that follow the prompt and `after` more.

        They are passed explicitly: if a video has more frames in time than its images are high, a model that continues
        from a cache would give a continuation other positions than one that reads all of it.
        """
        if self.prompt is None:
            return {}
        return {"position_ids": self.prompt[..., -1:] + 1 + after + torch.arange(count)}


class Remembering:
    """A processor of videos or images that caches its result for the same frames."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401 - a processor of transformers, untyped
        self.inner = inner
        self.known: Frames | None = None
        self.now: Frames | None = None
        self._found: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the processor has
        return getattr(self.inner, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passed on
        if self.now is None or self.known is not self.now:
            self._found = dict(self.inner(*args, **kwargs))
            self.known = self.now
        return BatchFeature(dict(self._found))


class SeeingWriter:
    """Writes chats with frames by a model's own template."""

    def __init__(self, processor: Any, sampling: Sampling) -> None:  # noqa: ANN401 - untyped processors
        self.tokenizer = processor.tokenizer
        self.special = frozenset(t.content for t in self.tokenizer.added_tokens_decoder.values() if t.special)
        self._processor = processor
        self._arguments = sampling.template_arguments
        names = ("image_token", "video_token")
        found = (getattr(processor, name, None) for name in names)
        self._placeholders = tuple(token for token in found if isinstance(token, str))

    def plain(self, text: str) -> str:
        """Escape text from outside for a prompt."""
        return without_special(text, self.special)

    def render(self, chat: Chat) -> str:
        """Render the prompt with a placeholder for each image or video. Raises ModelError if the template refuses."""
        messages: list[dict[str, Any]] = [{"role": "user", "content": message_parts(chat, text=self.plain)}]
        if chat.system:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": self.plain(chat.system)}]})
        try:
            text = self._processor.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=False, **self._arguments
            )
        except TEMPLATE_ERRORS as error:
            raise ModelError(f"the model's chat template refuses this chat: {error}") from error
        return f"{text}{self.plain(chat.reply_start)}"

    def tail(self, text: str) -> str:
        """Return the part of a rendered prompt after its last image or video."""
        places = [text.rfind(token) + len(token) for token in self._placeholders if token in text]
        return text[max(places, default=0) :]

    def continue_with(self, text: str, continuations: Sequence[str], item: str) -> tuple[tuple[int, ...], ...]:
        """Return token ids of continuations as tokenised after a rendered prompt.

        Raises ModelError as `split_tokens`.
        """
        encode = partial(self.tokenizer.encode, add_special_tokens=False)
        return split_tokens(encode, self.tail(text), continuations, item, self.plain).continuations


class TransformersVisionModel:
    """A video language model and its processor, implementing the LanguageModel protocol, one chat at a time."""

    def __init__(
        self,
        model: PreTrainedModel,
        processor: Any,  # noqa: ANN401 - untyped processors
        info: ModelInfo,
        context: int,
        sampling: Sampling,
    ) -> None:
        self._model: Any = model
        self._processor = processor
        self._tokenizer = processor.tokenizer
        self.info = info
        self.context = context
        self.sampling = sampling
        # On a CPU one chat is enough, and a run gives the same bits wherever it was cut.
        self.batch_hint = BatchHint(QUESTIONS_TOGETHER if model.device.type == "cuda" else 1)
        self._eos = eos_ids(model, self._tokenizer)
        self.writer = SeeingWriter(processor, sampling)
        self._vision_ids = vision_ids(model, processor)
        self._warpers = warpers_of(sampling)
        self._prefix = Prefix()
        self._costs: dict[tuple[int, ...], int] = {}
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._memories = remember(processor)
        self.forms: tuple[Form, ...] = self._find_forms()
        self.tells_times = "video" in self.forms and self._times_are_told()
        self.packs = False
        self.splits = self._parts_give_the_whole()
        self.packs = self._one_row_gives_each()

    def count_tokens(self, chat: Chat) -> int:
        """Count the tokens of the prompt with its frames."""
        return len(self._prepare(chat).ids)

    def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
        check_max_tokens(max_tokens)
        return [self._generate_one(index, chat, max_tokens) for index, chat in enumerate(chats)]

    def score(self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]:
        """Return log-likelihoods of continuations, processing each prompt once.

        All continuations of a chat, and consecutive chats with the same frames, take one forward pass.
        """
        asked = [self._weighed(i, *pair) for i, pair in enumerate(zip(chats, continuations, strict=True))]
        results = []
        for group in together(asked):
            packs = self.packs and group[0].prepared.seen > 0
            results += self._scores(group, self._weigh_together(group) if packs else self._weigh_each(group))
        return results

    def score_from_scratch(
        self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]
    ) -> list[ContinuationScores]:
        """Do the same as `score`, processing prompt and continuation together each time: the slow reference."""
        asked = [self._weighed(i, *pair) for i, pair in enumerate(zip(chats, continuations, strict=True))]
        return self._scores(asked, self._weigh_afresh(asked))

    def _weighed(self, index: int, chat: Chat, texts: Sequence[str]) -> Weighed:
        item = describe_chat(index, chat)
        prepared = self._prepare(chat)
        tails = self.writer.continue_with(prepared.text, texts, item)
        self._check_room(item, len(prepared.ids), max(map(len, tails)), "its longest continuation")
        self._check_arrival(chat, prepared)
        return Weighed(chat, prepared, tails, item)

    def _scores(self, asked: Sequence[Weighed], logprobs: Sequence[Sequence[float]]) -> list[ContinuationScores]:
        results = []
        for one, found in zip(asked, logprobs, strict=True):
            if not all(math.isfinite(value) for value in found):
                raise ModelError(f"{one.item}: model '{self.info.name}' gave a log-likelihood that is not finite")
            counts = tuple(map(len, one.tails))
            usage = TokenUsage(prompt=len(one.prepared.ids), completion=sum(counts))
            results.append(ContinuationScores(tuple(found), counts, usage, one.prepared.notes))
        return results

    @torch.inference_mode()
    def _weigh_together(self, group: Sequence[Weighed]) -> list[list[float]]:
        """Score prompts that share their frames in one row, in which each token attends to its ancestors only."""
        first = group[0].prepared
        places = self._places(first)
        with self._begun(first, group[0].chat.shown, places) as (cache, start):
            tree = prefix_tree([ScoringTokens(one.prepared.ids[start:], one.tails) for one in group])
            nodes = torch.tensor([node for path in tree.paths for node in path])
            parents = torch.tensor(tree.parents)[nodes]
            # Nothing follows the last token of a continuation, so it is never fed.
            inner = sorted({parent for parent in tree.parents if parent >= 0})
            own = ancestors(tree.parents)[inner][:, inner]
            seen = torch.cat([torch.ones(len(inner), start, dtype=torch.bool), own], dim=1)
            mask = torch.zeros(seen.shape, dtype=self._model.dtype)
            mask = mask.masked_fill_(~seen, torch.finfo(self._model.dtype).min)[None, None]
            rows = {node: row for row, node in enumerate(inner)}
            kept, at = torch.unique(torch.tensor([rows[int(parent)] for parent in parents]), return_inverse=True)
            fed = torch.tensor([[tree.tokens[node] for node in inner]])
            out = self._run(fed, cache, kept, attention_mask=mask, **places.along(start, own.sum(1) - 1))
        logits = out.logits[0] if self._keeps else out.logits[0, kept]
        targets = torch.tensor(tree.tokens)[nodes]
        picked = logits.float().log_softmax(-1)[at.to(logits.device), targets.to(logits.device)]
        totals = iter([float(part.sum()) for part in torch.split(picked, [len(path) for path in tree.paths])])
        return [[next(totals) for _ in one.tails] for one in group]

    @torch.inference_mode()
    def _weigh_each(self, group: Sequence[Weighed]) -> list[list[float]]:
        """Score one continuation after the other, for models that don't accept our attention mask."""
        return [list(self._weigh(one.prepared, one.chat.shown, one.tails)) for one in group]

    def _weigh(
        self, prepared: Prepared, shown: Shown | None, continuations: Sequence[tuple[int, ...]]
    ) -> Iterator[float]:
        places = self._places(prepared)
        with self._read(prepared, shown, places) as (logits, cache):
            first = logits.float().log_softmax(-1)
            for ids in continuations:
                total = first[ids[0]]
                if len(ids) > 1:
                    fed, more = torch.tensor([ids[:-1]]), places.behind(len(ids) - 1)
                    after = self._forward(fed, branch(cache), keep=len(ids) - 1, **more)
                    targets = torch.tensor(ids[1:], device=after.device)[:, None]
                    total = total + after.float().log_softmax(-1).gather(1, targets).sum()
                    rewind(cache, len(ids) - 1)
                yield float(total)

    @torch.inference_mode()
    def _weigh_afresh(self, asked: Sequence[Weighed]) -> list[list[float]]:
        return [[self._weigh_whole(one.prepared, ids) for ids in one.tails] for one in asked]

    def _weigh_whole(self, prepared: Prepared, ids: Sequence[int]) -> float:
        whole = replace(prepared, ids=(*prepared.ids, *ids[:-1]))
        vision = grown(prepared, len(whole.ids))
        at = self._places(replace(whole, vision=vision)).of(0)
        logits = self._forward(torch.tensor([whole.ids]), None, keep=len(ids), **vision, **at)
        targets = torch.tensor(ids, device=logits.device)[:, None]
        return float(logits.float().log_softmax(-1).gather(1, targets).sum())

    @torch.inference_mode()
    def _generate_one(self, index: int, chat: Chat, max_tokens: int) -> Reply:
        prepared = self._prepare(chat)
        room = self.sampling.room(max_tokens)
        self._check_room(describe_chat(index, chat), len(prepared.ids), room, "the reply")
        self._check_arrival(chat, prepared)
        guide = self._guide(index, chat, prepared)
        written: list[int] = []
        places = self._places(prepared)
        with self._read(prepared, chat.shown, places) as (behind, cache):
            generator, logits = self._generator(chat.draw), behind
            while len(written) < room:
                allowed = guide.next(written) if guide else None
                if allowed is not None and not allowed:
                    break
                written.append(self._pick(logits, [*prepared.ids, *written], allowed, generator))
                if written[-1] in self._eos:
                    break
                fed, at = torch.tensor([written[-1:]]), places.behind(1, after=len(written) - 1)
                logits = self._forward(fed, cache, keep=1, **at)[-1]
        finished = bool(written) and (written[-1] in self._eos or guide is not None)
        text = str(self._tokenizer.decode(written, skip_special_tokens=True))
        thought, answer = split_thought(text, begun=prepared.begun_thought, finished=finished)
        usage = TokenUsage(prompt=len(prepared.ids), completion=len(written))
        return Reply(answer, finished, usage, thought, prepared.notes)

    def _guide(self, index: int, chat: Chat, prepared: Prepared) -> Guide | None:
        if not chat.choices:
            return None
        paths = self.writer.continue_with(prepared.text, chat.choices, describe_chat(index, chat))
        return Guide(paths, min(self._eos))

    def _generator(self, draw: int) -> torch.Generator | None:
        """Return a generator, seeded again for each reply, which depends on its prompt and its draw's number alone."""
        if self.sampling.temperature == 0:
            return None
        generator = torch.Generator(self._model.device)
        return generator.manual_seed((self.sampling.seed or 0) + draw)

    def _pick(
        self, logits: Tensor, before: Sequence[int], allowed: Sequence[int] | None, generator: torch.Generator | None
    ) -> int:
        scores = logits.float()[None]
        fed: Any = torch.tensor([before], device=scores.device)
        scores = self._warpers(fed, scores)
        if allowed is not None:
            kept = torch.full_like(scores, -math.inf)
            kept[:, list(allowed)] = logits.float()[list(allowed)]
            scores = kept
        if generator is None:
            return int(scores.argmax(-1))
        return int(torch.multinomial(scores.softmax(-1), 1, generator=generator))

    def _prepare(self, chat: Chat) -> Prepared:
        """Turn the chat into ids and tensors. Raises ModelError if the template or the processor refuses it."""
        text = self.writer.render(chat)
        inputs = self._process(text, chat.shown)
        ids = tuple(inputs.pop("input_ids")[0].tolist())
        inputs.pop("attention_mask", None)
        seen = [place for place, token in enumerate(ids) if token in self._vision_ids]
        end = min(seen[-1] + 1, len(ids) - 1) if seen else 0
        notes = {**sent_notes(chat.shown), **({"vision_tokens": len(seen)} if chat.shown else {}), **grid(inputs)}
        begun = text.rstrip().endswith("<think>")
        return Prepared(ids, inputs, end, text, begun, notes)

    def _process(self, text: str, shown: Shown | None) -> dict[str, Any]:
        kwargs: dict[str, Any] = {**self._cap_arguments(), **self.sampling.processor_arguments}
        if shown is None:
            kwargs = {}
        elif shown.form == "video":
            metadata = VideoMetadata(**true_times(shown))
            kwargs |= {"videos": [shown.frames.pixels], "video_metadata": [metadata], "do_sample_frames": False}
        else:
            kwargs = {**self.sampling.processor_arguments, "images": [list(shown.frames.pixels)]}
        bos = self._tokenizer.bos_token
        begun = bool(bos) and text.startswith(bos)
        for memory in self._memories:
            memory.now = None if shown is None else shown.frames
        with foreign_file(f"the processor of '{self.info.name}' refuses what it is shown"):
            found = self._processor(text=[text], return_tensors="pt", add_special_tokens=not begun, **kwargs)
        return dict(found)

    def _cap_arguments(self) -> dict[str, Any]:
        """Return our own pixel bound for processors whose bound depends on their version."""
        known = getattr(getattr(self._processor, "video_processor", None), "valid_kwargs", None)
        return (
            {"cap_pixels_per_frame": False} if "cap_pixels_per_frame" in getattr(known, "__annotations__", {}) else {}
        )

    @contextmanager
    def _read(self, prepared: Prepared, shown: Shown | None, places: Places) -> Iterator[tuple[Tensor, Cache]]:
        """Yield the logits after the prompt, and its cache."""
        with self._begun(prepared, shown, places) as (cache, end):
            vision = {} if end else prepared.vision
            out = self._run(torch.tensor([prepared.ids[end:]]), cache, 1, **vision, **places.of(end))
            if cache is None:
                yield out.logits[0, -1], out.past_key_values
            else:
                yield out.logits[0, -1], cache

    @contextmanager
    def _begun(self, prepared: Prepared, shown: Shown | None, places: Places) -> Iterator[tuple[Cache | None, int]]:
        """Yield the cache of a prompt's first part and its length; None and 0 if prompts are processed whole.

        Tokens that are appended within the context are removed from the cache when it ends.
        """
        if not self.splits or prepared.seen == 0:
            yield None, 0
            return
        end = prepared.seen
        first, frames = prepared.ids[:end], shown.frames if shown else None
        cache, self._prefix.cache = self._prefix.cache, None
        if cache is None or self._prefix.ids != first or self._prefix.frames is not frames:
            out = self._run(torch.tensor([first]), None, 1, **cut_to(prepared, end), **places.of(0, end))
            cache = out.past_key_values
            self._prefix = Prefix(first, frames)
        yield cache, end
        if croppable(cache):
            rewind_all(cache, end)
            self._prefix.cache = cache

    def _run(self, ids: Tensor, cache: Cache | None, keep: int | Tensor, **more: Any) -> Any:  # noqa: ANN401 - untyped
        kept = {"logits_to_keep": keep} if self._keeps else {}
        given = on(self._model.device, {"input_ids": ids, **kept, **more})
        return self._model(past_key_values=cache, use_cache=True, **given)

    def _forward(self, ids: Tensor, cache: Cache | None, *, keep: int, **more: Any) -> Tensor:  # noqa: ANN401
        """Return logits [keep, vocabulary] after the last tokens."""
        logits: Tensor = self._run(ids, cache, keep, **more).logits[0, -keep:]
        return logits

    def _places(self, prepared: Prepared) -> Places:
        """Return each token's position in time and space, for models that compute it."""
        place = next((module for module in self._model.modules() if hasattr(module, "get_rope_index")), None)
        if place is None:
            return Places(None)
        wanted = inspect.signature(place.get_rope_index).parameters
        given = {name: value for name, value in prepared.vision.items() if name in wanted}
        return Places(behind_frames(place.get_rope_index(torch.tensor([prepared.ids]), **given)[0], prepared.seen))

    def _check_room(self, item: str, prompt: int, extra: int, what: str) -> None:
        check_room(item, prompt, extra, what, context=self.context, model=self.info.name)

    def _check_arrival(self, chat: Chat, prepared: Prepared) -> None:
        """Check once per number and size of frames; raises FramesLostError if the processor drops or shrinks some."""
        if chat.shown is None:
            return
        key = pixels_key(chat.shown)
        if key not in self._costs:
            costs = costs_by(partial(self._tokens_with, chat.shown))
            whole = self._tokens_with(chat.shown, len(chat.shown.frames.seconds))
            check_arrival(len(chat.shown.frames.seconds), whole, costs, f"the processor of '{self.info.name}'", REMEDY)
            self._costs[key] = whole
        seen = prepared.notes["vision_tokens"]
        if not isinstance(seen, int) or seen < 1:
            raise ModelError(f"the processor of '{self.info.name}' made no tokens of the frames")

    def _tokens_with(self, shown: Shown, count: int) -> int:
        """Count the tokens of `count` of the frames alone, without the words that give their times."""
        found = self._prepare(Chat("", shown=first_frames(shown, count))).notes["vision_tokens"] if count else 0
        return found if isinstance(found, int) else 0

    def _find_forms(self) -> tuple[Form, ...]:
        """Find out by trying which forms of frames the model takes. Raises ModelError if none works."""
        faults = []
        able: list[Form] = []
        for form in ("video", "images"):
            try:
                found = self._prepare(Chat("?", shown=probe_frames(form))).notes
                if found.get("vision_tokens"):
                    able.append(form)
            except ModelError as error:
                faults.append(str(error))
        if not able:
            raise ModelError(f"'{self.info.name}' takes neither a video nor pictures: {'; '.join(faults)[:300]}")
        return tuple(able)

    def _times_are_told(self) -> bool:
        """Whether what the model reads of a video depends on the times of its frames."""
        one, other = (self._prepare(Chat("?", shown=probe_frames("video", seconds=s))) for s in (1.0, 9.0))
        if one.ids != other.ids:
            return True
        same = (torch.equal(a, other.vision[k]) for k, a in one.vision.items() if isinstance(a, Tensor))
        return not all(same)

    @torch.inference_mode()
    def _parts_give_the_whole(self) -> bool:
        """Whether a prompt read in two parts gives the logits that it gives in one."""
        self.splits = True
        chat = Chat("Which one is it?", shown=probe_frames(self.forms[0]))
        prepared = self._prepare(chat)
        with foreign_file(f"'{self.info.name}' can't be run by its config.json"):
            places = self._places(prepared)
            ids = torch.tensor([prepared.ids])
            whole = self._forward(ids, None, keep=1, **prepared.vision)[0].float()
        if not bool(torch.isfinite(whole).all()):
            raise ModelError(f"'{self.info.name}': by its config.json the model gives numbers that are not finite")
        try:
            with self._read(prepared, chat.shown, places) as (logits, _):
                parted = logits.float()
        except (ValueError, RuntimeError, TypeError, AttributeError, IndexError):
            return False
        finally:
            self._prefix = Prefix()
        return bool((whole - parted).abs().max() <= SAME * self._coarse * max(float(whole.std()), 1e-6))

    @property
    def _coarse(self) -> float:
        """How much larger than in float32 differences may be."""
        return 1.0 if self._model.dtype is torch.float32 else 50.0

    @torch.inference_mode()
    def _one_row_gives_each(self) -> bool:
        """Whether continuations scored in one row get the same likelihoods as one by one."""
        attention = self._model.config._attn_implementation  # noqa: SLF001 - no public name
        placed = "position_ids" in inspect.signature(self._model.forward).parameters
        if not (self.splits and placed and attention in {"sdpa", "eager"}):
            return False
        shown = probe_frames(self.forms[0])
        prepared = [self._prepare(Chat(words, shown=shown)) for words in ("Which one?", "Who is it?")]
        group = [
            Weighed(Chat("", shown=shown), one, self.writer.continue_with(one.text, PROBE_TEXTS, "a probe"), "a probe")
            for one in prepared
        ]
        try:
            with self._begun(prepared[0], shown, self._places(prepared[0])) as (cache, _):
                if cache is None or not croppable(cache):
                    return False
            packed = self._weigh_together(group)
        except (ValueError, RuntimeError, TypeError, AttributeError, IndexError):
            return False
        finally:
            self._prefix = Prefix()
        each = self._weigh_each(group)
        self._prefix = Prefix()
        return bool(np.allclose(packed, each, rtol=SAME * self._coarse, atol=SAME * self._coarse))


def together(asked: Sequence[Weighed]) -> list[list[Weighed]]:
    """Group consecutive chats whose prompts are the same up to the end of the same frames."""
    groups: list[list[Weighed]] = []
    for one in asked:
        last = groups[-1][-1] if groups else None
        if last is not None and one.prepared.seen and begin_alike(last, one):
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def begin_alike(one: Weighed, other: Weighed) -> bool:
    """Whether two chats show the same frames and their prompts are the same up to the end of them."""
    if one.chat.shown is None or other.chat.shown is None or one.chat.shown.frames is not other.chat.shown.frames:
        return False
    seen = one.prepared.seen
    return seen == other.prepared.seen and one.prepared.ids[:seen] == other.prepared.ids[:seen]


@dataclass(frozen=True, slots=True)
class Guide:
    """Constrains a reply to one of several token sequences, after which it ends."""

    paths: tuple[tuple[int, ...], ...]
    end: int

    def next(self, written: Sequence[int]) -> list[int]:
        """Return the tokens that may follow; empty if the reply is complete."""
        begun = [path for path in self.paths if list(path[: len(written)]) == list(written)]
        following = sorted({path[len(written)] for path in begun if len(path) > len(written)})
        whole = any(len(path) == len(written) for path in begun)
        return [*following, self.end] if whole and following else following


def behind_frames(positions: Tensor, seen: int) -> Tensor:
    """Place what follows the frames behind all of their positions, times included, as Qwen's models were trained.

    transformers 5 counts a video's height and width alone, so that words fall among the times of its frames.
    """
    late = int(positions[..., :seen].amax() + 1 - positions[..., seen].amin()) if seen else 0
    return positions if late <= 0 else torch.cat([positions[..., :seen], positions[..., seen:] + late], -1)


def branch(cache: Cache) -> Cache:
    """Return a cache to extend: the same one if it can be cropped afterwards, else a copy."""
    return cache if croppable(cache) else deepcopy(cache)


def rewind(cache: Cache, tokens: int) -> None:
    """Remove the last `tokens` tokens from a cache."""
    if croppable(cache):
        cache.crop(-tokens)


def rewind_all(cache: Cache, length: int) -> None:
    """Crop a cache to its first `length` tokens."""
    if croppable(cache) and (more := cache.get_seq_length() - length) > 0:
        cache.crop(-more)


def croppable(cache: Cache) -> bool:
    """Whether every layer keeps all past tokens, so that the cache can be cropped."""
    return all(type(layer) is DynamicLayer for layer in cache.layers)


def cut_to(prepared: Prepared, length: int) -> dict[str, Any]:
    """Return the inputs of the first `length` tokens: all frames, and per-token rows cut."""
    whole = len(prepared.ids)
    return {name: value[:, :length] if is_row(value, whole) else value for name, value in prepared.vision.items()}


def grown(prepared: Prepared, length: int) -> dict[str, Any]:
    """Return the inputs of `length` tokens that start with the prompt; the added tokens are text, marked with 0."""
    whole = len(prepared.ids)
    return {
        name: torch.nn.functional.pad(value, (0, length - whole)) if is_row(value, whole) else value
        for name, value in prepared.vision.items()
    }


def is_row(value: object, length: int) -> bool:
    """Whether a tensor has one entry per token of the prompt."""
    return isinstance(value, Tensor) and value.shape == (1, length)


def on(device: torch.device, values: Mapping[str, Any]) -> dict[str, Any]:
    """Move tensors to the device."""
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in values.items()}


def grid(inputs: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Return the processor's grid of patches if it gives one, else the shape of the pixels."""
    for name in ("video_grid_thw", "image_grid_thw"):
        if name in inputs:
            rows = inputs[name].tolist()
            return {"grid": rows[0] if len(rows) == 1 else rows}
    found = next((inputs[name] for name in ("pixel_values_videos", "pixel_values") if name in inputs), None)
    return {} if found is None else {"pixels_read": list(found.shape)}


def vision_ids(model: PreTrainedModel, processor: Any) -> frozenset[int]:  # noqa: ANN401 - untyped processors
    """Return the tokens that stand for images and videos."""
    names = ("image_token_id", "video_token_id", "image_token_index", "video_token_index")
    found = {getattr(holder, name, None) for holder in (model.config, processor) for name in names}
    return frozenset(token for token in found if isinstance(token, int))


def remember(processor: Any) -> tuple[Remembering, ...]:  # noqa: ANN401 - untyped processors
    """Make the processor's video and image parts cache their results."""
    made = []
    for name in ("video_processor", "image_processor"):
        if getattr(processor, name, None) is not None:
            made.append(Remembering(getattr(processor, name)))
            setattr(processor, name, made[-1])
    return tuple(made)


def warpers_of(sampling: Sampling) -> LogitsProcessorList:
    """Return the logits processors of the sampling options. Raises ModelError for options that this engine lacks."""
    chosen = LogitsProcessorList()
    for name, value in sampling.extra.items():
        if name in KEYWORDS:
            continue
        if name not in WARPERS:
            known = ", ".join([*WARPERS, *KEYWORDS])
            raise ModelError(f"-M extra=: llm transformers:… does not know '{name}'; it knows {known}")
        with foreign_file(f"-M extra=: {name}={value}"):
            chosen.append(WARPERS[name](value))
    if sampling.temperature:
        chosen.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_p < 1:
            chosen.append(TopPLogitsWarper(sampling.top_p))
    return chosen


def read_processor(folder: Path) -> Any:  # noqa: ANN401 - untyped processors
    """Load the processor of a folder without running code of its own. Raises ModelError if there is none for images."""
    check_json(folder)
    with quiet(), without_code(folder, "processor"), foreign_file(f"can't load the processor of {folder}"):
        processor: Any = AutoProcessor.from_pretrained(  # type: ignore[no-untyped-call]  # untyped library
            str(folder), trust_remote_code=False
        )
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise ModelError(f"{folder} has no processor of images or videos: it is not a vision model")
    if processor.chat_template is None:
        processor.chat_template = getattr(processor.tokenizer, "chat_template", None)
    if processor.chat_template is None:
        raise ModelError(
            f"{folder} has no chat template (chat_template.jinja): without it there is no way to ask the model"
        )
    return processor


def load_vision_model(
    source: str, *, sampling: Sampling, context: int | None = None, dtype: str = "bfloat16", device: str = "auto"
) -> TransformersVisionModel:
    """Load a folder or a hub name. Raises ModelError if it is not a vision model, or can't be read or run."""
    folder, name = model_folder(source, f"llm 'transformers:{source}'")
    target = find_device(device)
    warn_of_slow_bfloat16(dtype_of(dtype), target)
    files = weight_files(folder)
    processor = read_processor(folder)
    with quiet(), without_code(folder, "model"), foreign_file(f"can't load model folder {folder}"):
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            str(folder),
            config=config,
            dtype=dtype_of(dtype),
            use_safetensors=True,
            output_loading_info=True,
            trust_remote_code=False,
        )
    model, report = loaded
    check_weights(folder, model, report)
    model.eval().to(target)
    own = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    limit = context_limit(name, own, context)
    parameters = model.num_parameters()
    use_float32_head(model)
    details: dict[str, JsonValue] = {
        "engine": f"transformers {transformers.__version__}",
        "context": limit,
        "chat_template_sha256": hashlib.sha256(str(processor.chat_template).encode()).hexdigest(),
        "processor_sha256": processor_sha256(folder),
        **sampling.facts,
    }
    info = ModelInfo(
        name=name,
        parameters=parameters,
        weights_sha256=weights_sha256(files),
        device=device_name(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        details=details,
    )
    return TransformersVisionModel(model, processor, info, limit, sampling)


def processor_sha256(folder: Path) -> str:
    """Digest the files that configure how frames are processed."""
    held = {name: (folder / name).read_text(encoding="utf-8") for name in PROCESSOR_FILES if (folder / name).is_file()}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()
