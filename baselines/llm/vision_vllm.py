"""Video language models run by vLLM in this process: the same frames, words and times as with transformers."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import transformers
from PIL import Image

from baselines.llm.options import Sampling
from baselines.llm.protocol import (
    Chat,
    ContinuationScores,
    Form,
    Reply,
    check_max_tokens,
    check_room,
    context_limit,
    describe_chat,
)
from baselines.llm.vision import (
    Costs,
    check_arrival,
    costs_by,
    first_frames,
    pixels_key,
    probe_frames,
    sent_notes,
    split_thought,
    true_times,
)
from baselines.llm.vision_local import SeeingWriter, processor_sha256, read_processor
from baselines.llm.vllm import (
    FINISHED,
    QUIET,
    Engine,
    check_names,
    count_parameters,
    echo_params,
    engine_arguments,
    letter_params,
    vllm_version,
)
from baselines.models import VisionOptions
from encoders.causal_lm.load import model_folder, weight_files, weights_sha256
from encoders.config import foreign_file
from encoders.device import device_name, find_device
from tasks.digests import text_sha256
from tasks.errors import ModelError
from tasks.model import BatchHint, ModelInfo
from tasks.task import JsonValue, TokenUsage

REMEDY = 'Set engine={"mm_processor_kwargs": …, "video_pruning_rate": 0}, or lower frames=, pixels= or total_pixels='


class VllmVisionModel:
    """Implements the LanguageModel protocol through `vllm.LLM`; all chats of a call are processed together."""

    tells_times = False

    def __init__(
        self,
        engine: Engine,
        writer: SeeingWriter,
        info: ModelInfo,
        context: int,
        sampling: Sampling,
        batch: int,
    ) -> None:
        self.info = info
        self.context = context
        self.sampling = sampling
        self.batch_hint = BatchHint(batch=batch)
        self._engine = engine
        self.writer = writer
        self._costs: dict[tuple[int, ...], Costs] = {}
        self.forms: tuple[Form, ...] = self._find_forms()

    def count_tokens(self, chat: Chat) -> int:
        """Count the tokens of the prompt's words."""
        return len(self.writer.tokenizer.encode(self.writer.render(chat), add_special_tokens=False))

    def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
        """Generate replies together. Raises ModelError if a prompt leaves no room, FramesLostError for lost frames."""
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        check_max_tokens(max_tokens)
        room = self.sampling.room(max_tokens)
        extra = {name: value for name, value in self.sampling.extra.items() if not name.endswith("_kwargs")}
        params = []
        for index, chat in enumerate(chats):
            prompt = self.count_tokens(chat)
            item = describe_chat(index, chat)
            check_room(item, prompt, room, "the reply", context=self.context, model=self.info.name)
            choice = StructuredOutputsParams(choice=list(chat.choices)) if chat.choices else None
            seed = None if self.sampling.seed is None else self.sampling.seed + chat.draw
            drawn = {"top_p": self.sampling.top_p, "seed": seed} if self.sampling.temperature else {}
            with foreign_file("-M extra=: vLLM refuses it"):
                params.append(
                    SamplingParams(
                        temperature=self.sampling.temperature,
                        max_tokens=room,
                        structured_outputs=choice,
                        **drawn,
                        **extra,
                    )
                )
        outputs = self._ask(chats, params)
        return [self._reply(chat, output) for chat, output in zip(chats, outputs, strict=True)]

    def score(self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]:
        """Score continuations: single tokens in one pass, longer ones in a pass each after the cached prompt."""
        results = []
        for index, (chat, texts) in enumerate(zip(chats, continuations, strict=True)):
            ids = self.writer.continue_with(self.writer.render(chat), texts, describe_chat(index, chat))
            single = all(len(one) == 1 for one in ids)
            scores = (
                self._score_letters(chat, [one[0] for one in ids]) if single else self._score_longer(chat, texts, ids)
            )
            if not all(math.isfinite(value) for value in scores.logprobs):
                raise ModelError(f"chat {index}: '{self.info.name}' gave a log-likelihood that is not finite")
            results.append(scores)
        return results

    def _score_letters(self, chat: Chat, ids: Sequence[int]) -> ContinuationScores:
        (output,) = self._ask([chat], [letter_params(ids)])
        told = output.outputs[0].logprobs[0]
        usage = TokenUsage(len(output.prompt_token_ids), output.num_cached_tokens or 0, len(ids))
        found = tuple(told[token].logprob for token in ids)
        return ContinuationScores(found, (1,) * len(ids), usage, self._notes(chat, output))

    def _score_longer(self, chat: Chat, texts: Sequence[str], ids: Sequence[tuple[int, ...]]) -> ContinuationScores:
        """Score every continuation after its prompt; those whose own tokens came from the cache are computed again."""
        said = [_saying(chat, text) for text in texts]
        outputs = self._ask(said, [echo_params(cached=True)] * len(said))
        for at, (output, one) in enumerate(zip(outputs, ids, strict=True)):
            if (output.num_cached_tokens or 0) >= len(output.prompt_token_ids) - len(one):
                (outputs[at],) = self._ask([said[at]], [echo_params(cached=False)])
        totals = tuple(_total(output, one) for output, one in zip(outputs, ids, strict=True))
        lengths = tuple(map(len, ids))
        prompt = sum(len(output.prompt_token_ids) for output in outputs) - sum(lengths)
        usage = TokenUsage(prompt, sum(output.num_cached_tokens or 0 for output in outputs), sum(lengths))
        return ContinuationScores(totals, lengths, usage, self._notes(chat, outputs[0]))

    def _ask(self, chats: Sequence[Chat], params: Sequence[Any], *, check: bool = True) -> list[Any]:
        outputs = self._engine.generate([self._prompt(chat) for chat in chats], list(params), use_tqdm=False)
        for chat, output in zip(chats, outputs, strict=True):
            if check and chat.shown is not None:
                self._check_arrival(chat, len(output.prompt_token_ids))
        return outputs

    def _prompt(self, chat: Chat) -> dict[str, Any]:
        prompt: dict[str, Any] = {"prompt": self.writer.render(chat)}
        if chat.shown is None:
            return prompt
        if chat.shown.form == "video":
            times = {**true_times(chat.shown), "do_sample_frames": False, "video_backend": "frames"}
            prompt["multi_modal_data"] = {"video": [(chat.shown.frames.pixels, times)]}
        else:
            prompt["multi_modal_data"] = {"image": [Image.fromarray(one) for one in chat.shown.frames.pixels]}
        arguments = self.sampling.processor_arguments
        return {**prompt, **({"mm_processor_kwargs": arguments} if arguments else {})}

    def _check_arrival(self, chat: Chat, tokens: int) -> None:
        """Check once per number and size of frames; raises FramesLostError if the engine drops some."""
        if chat.shown is None or (key := pixels_key(chat.shown)) in self._costs:
            return

        def cost(count: int) -> int:
            assert chat.shown is not None
            picked = first_frames(chat.shown, count) if count else None
            asked = Chat(chat.user, chat.system, chat.reply_start, shown=picked)
            (output,) = self._ask([asked], [letter_params([0])], check=False)
            return len(output.prompt_token_ids)

        self._costs[key] = costs_by(cost)
        frames = len(chat.shown.frames.seconds)
        check_arrival(frames, tokens, self._costs[key], f"vLLM with '{self.info.name}'", REMEDY)

    def _reply(self, chat: Chat, output: Any) -> Reply:  # noqa: ANN401 - vLLM's RequestOutput
        written = output.outputs[0]
        if written.finish_reason not in FINISHED:
            raise ModelError(f"vLLM ended the reply for an unknown reason ({written.finish_reason})")
        usage = TokenUsage(len(output.prompt_token_ids), output.num_cached_tokens or 0, len(written.token_ids))
        finished = FINISHED[written.finish_reason]
        thought, answer = split_thought(written.text, begun=bool(self.sampling.thinking), finished=finished)
        return Reply(answer, finished, usage, thought, self._notes(chat, output))

    def _notes(self, chat: Chat, output: Any) -> dict[str, JsonValue]:  # noqa: ANN401 - vLLM's RequestOutput
        notes = sent_notes(chat.shown)
        if chat.shown is not None:
            words = self.count_tokens(Chat(chat.user, chat.system, chat.reply_start))
            notes["vision_tokens"] = len(output.prompt_token_ids) - words
        return notes

    def _find_forms(self) -> tuple[Form, ...]:
        able: list[Form] = []
        faults = []
        for form in ("video", "images"):
            try:
                with foreign_file(f"{form}"):
                    self._ask([Chat("?", shown=probe_frames(form))], [letter_params([0])], check=False)
                able.append(form)
            except ModelError as error:
                faults.append(str(error))
        if not able:
            raise ModelError(f"'{self.info.name}' takes neither a video nor pictures: {'; '.join(faults)[:300]}")
        return tuple(able)


def _saying(chat: Chat, text: str) -> Chat:
    return Chat(chat.user, chat.system, chat.reply_start + text, shown=chat.shown)


def _total(output: Any, ids: Sequence[int]) -> float:  # noqa: ANN401 - vLLM's RequestOutput
    """Sum the log-likelihoods of the prompt's last tokens, which must be `ids`."""
    entries = output.prompt_logprobs[-len(ids) :]
    if len(entries) != len(ids) or any(not e or token not in e for token, e in zip(ids, entries, strict=True)):
        raise ModelError("vLLM gave no log-likelihoods of the continuation's tokens")
    return float(sum(entry[token].logprob for token, entry in zip(ids, entries, strict=True)))


def load_vllm_vision(source: str, options: VisionOptions, sampling: Sampling) -> VllmVisionModel:
    """Start the engine on a folder or hub name. Raises ModelError if there is no such model or vLLM refuses it."""
    arguments: Mapping[str, Any] = engine_arguments(options, source)
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped library
    folder, name = model_folder(source, f"llm 'vllm:{source}'")
    files = weight_files(folder)
    processor = read_processor(folder)
    from vllm import LLM
    from vllm.engine.arg_utils import EngineArgs

    check_names(arguments, ["trust_remote_code", *(field.name for field in fields(EngineArgs))])
    with foreign_file(f"vLLM refuses '{source}'"):
        engine = LLM(
            model=str(folder),
            dtype=options.dtype,
            max_model_len=options.context,
            **{**arguments, "trust_remote_code": False},
        )
    limit = context_limit(name, int(engine.llm_engine.model_config.max_model_len), options.context)
    details: dict[str, JsonValue] = {
        "engine": f"vllm {vllm_version()}",
        "context": limit,
        "chat_template_sha256": text_sha256(str(processor.chat_template)),
        "processor_sha256": processor_sha256(folder),
        **{name: value for name, value in arguments.items() if name.endswith("_parallel_size")},
        **sampling.facts,
    }
    info = ModelInfo(
        name=name,
        parameters=count_parameters(files),
        weights_sha256=weights_sha256(files),
        device=device_name(find_device("auto")),
        dtype=options.dtype,
        details=details,
    )
    return VllmVisionModel(engine, SeeingWriter(processor, sampling), info, limit, sampling, options.batch)
