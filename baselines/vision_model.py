"""A video language model, in this process or behind a server, shown frames that we choose (`-m vlm`).

Every engine gets the same frames with the same times, because engines sample videos differently by themselves (vLLM: 32
frames at any length). Frames come first and the question last, so that questions about one video share a prefix. Videos
are decoded ahead, in separate processes, while the model is busy.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from time import perf_counter

from baselines.llm.load import load_seeing
from baselines.llm.protocol import Chat, Form, Shown
from baselines.llm.vision import SeeingModel, check_forms
from baselines.models import VisionOptions
from baselines.prompted import Ask, Composed, PromptedModel
from baselines.segments import clock
from encoders.decode_ahead import FrameSource, ReadClip, Reading
from encoders.frames import read_together
from encoders.models import timed_policy
from encoders.sampling import FramePolicy
from encoders.task_model import policy_facts
from tasks.model import BatchHint
from tasks.prompt import Prompt, load_prompt
from tasks.subtitles import Line, count_words, lines_at, lines_of
from tasks.task import Clip, JsonValue

FRAMES = FramePolicy(count=8)
"""Our choice: eight frames per clip."""
DECODER_THREADS = 2
TIMED, BARE, SUBTITLES = "vision.v1", "vision-video.v1", "vision-subtitles.v1"
NO_VECTORS = {"VideoTextEncoder": "it writes texts; hf-dual and openclip compare videos with texts"}


class FrameReader:
    """Reads frames of clips for any number of threads: decoded ahead if a run announces them, else on demand."""

    def __init__(self, policy: FramePolicy, reading: Reading) -> None:
        self.policy = policy
        self._source = FrameSource(policy, reading)
        self._turn = threading.Lock()
        self._announced: frozenset[Clip] = frozenset()

    @contextmanager
    def ahead(self, clips: Sequence[Clip]) -> Iterator[None]:
        """Within this context, `clips` are decoded in order, each once, while the model is busy with earlier ones."""
        before = self._announced
        with self._source.ahead(clips):
            self._announced = frozenset(clips)
            try:
                yield
            finally:
                self._announced = before

    def read(self, clips: Sequence[Clip]) -> list[ReadClip]:
        """Return the frames of each clip. Raises the first VideoError."""
        if any(clip in self._announced for clip in clips):
            with self._turn:
                return self._source.read(clips)
        started = perf_counter()
        found = read_together(clips, self.policy, threads=DECODER_THREADS)
        spent = (perf_counter() - started) / len(clips)
        return [ReadClip(frames, spent, spent) for frames in found]


@dataclass(frozen=True, slots=True)
class FrameComposer:
    """Puts a clip's frames and subtitles before the task's prompt."""

    reader: FrameReader
    prompts: Mapping[Form, Prompt]
    subtitles: Prompt
    form: Form
    spoken: str
    may_interleave: bool = True

    def __call__(self, asks: Sequence[Ask]) -> list[Composed]:
        # Subtitles are read before the video, so that a missing file costs no decoding.
        said = [lines_of(ask.clip) if self.spoken != "none" else () for ask in asks]
        read = self.reader.read([ask.clip for ask in asks])
        return [self._composed(*one) for one in zip(asks, read, said, strict=True)]

    def _composed(self, ask: Ask, read: ReadClip, said: Sequence[Line]) -> Composed:
        frames = read.frames
        among = self.spoken != "none" and ask.interleaved and self.may_interleave
        # A single frame is sent as an image: models that read videos in pairs of frames refuse it as a video.
        apart = "images" in self.prompts and (among or len(frames.seconds) == 1)
        form: Form = "images" if apart else self.form
        times = ", ".join(clock(second) for second in frames.seconds)
        words = self.prompts[form].fill("user", times=times, prompt=ask.prompt)
        notes: dict[str, JsonValue] = {}
        between: tuple[tuple[int, str], ...] = ()
        if self.spoken != "none":
            heard = lines_at(said, frames.seconds) if self.spoken == "seen" else tuple(said)
            total = count_words(said)
            notes = {"subtitle_words": total, "subtitle_share": count_words(heard) / total}
            placed = form == "images" and among
            notes["subtitles"] = "interleaved" if placed else "listed"
            if placed:
                between = tuple((frame_after(line, frames.seconds), self._line(line)) for line in heard)
            elif heard:
                lines = "\n".join(map(self._line, heard))
                words = f"{self.subtitles.fill(self.spoken, lines=lines)}\n\n{words}"
        length = ask.clip.duration if isfinite(ask.clip.end) else frames.seconds[-1] + frames.seconds[0]
        chat = Chat(words, "", ask.reply_start, shown=Shown(frames, form, length, between))
        return Composed(chat, notes, seconds=read.seconds, frames=frames.seen)

    def _line(self, line: Line) -> str:
        return self.subtitles.fill("line", time=clock(line.start), text=line.text)


def frame_after(line: Line, seconds: Sequence[float]) -> int:
    """Return the first frame shown after a line begins; the number of frames if there is none."""
    return next((place for place, second in enumerate(seconds) if second > line.start), len(seconds))


class VisionModel(PromptedModel):
    """Implements ChoiceScorer, TextGenerator and Captioner; reads clips ahead."""

    reader: FrameReader

    @contextmanager
    def looking_ahead(self, clips: Sequence[Clip]) -> Iterator[None]:
        """Decode `clips` while the model answers about earlier ones."""
        with self.reader.ahead(clips):
            yield


def build_vision_model(options: VisionOptions) -> VisionModel:
    """Load the model, or connect to its server, and find out how it takes frames. Raises ModelError."""
    policy = timed_policy(options, FRAMES, options.shape)
    llm = load_seeing(options)
    return vision_model_on(llm, options, policy)


def vision_model_on(llm: SeeingModel, options: VisionOptions, policy: FramePolicy) -> VisionModel:
    """Build the model for the tasks on a loaded engine."""
    form = check_forms(options.send, llm.forms, llm.info.name)
    told = form == "video" and llm.tells_times
    forms: tuple[Form, ...] = (form, "images") if "images" in llm.forms and form != "images" else (form,)
    prompts = {
        one: load_prompt("baselines", options.prompt or (BARE if told and one == "video" else TIMED)) for one in forms
    }
    subtitles = load_prompt("baselines", SUBTITLES)
    hint = llm.batch_hint
    batch = max(hint.batch, hint.lanes)
    reader = FrameReader(policy, Reading(options.workers, batch, DECODER_THREADS))
    details: dict[str, JsonValue] = {
        **llm.info.details,
        **policy_facts(policy),
        "send": form,
        "times_told": "by the model" if told else "in words",
        "max_tokens": options.max_tokens,
    }
    used = (*prompts.values(), *(() if options.subtitles == "none" else (subtitles,)))
    info = replace(llm.info, prompts={prompt.name: prompt.sha256 for prompt in used}, details=details)
    compose = FrameComposer(reader, prompts, subtitles, form, options.subtitles, options.send != "video")
    model = VisionModel(
        llm,
        compose,
        info,
        options.route,
        options.max_tokens,
        missing_capabilities=NO_VECTORS,
        guided=options.guided,
        reads_subtitles=options.subtitles != "none",
        is_sampled=options.temperature > 0,
    )
    model.reader = reader
    model.batch_hint = BatchHint(hint.batch, hint.lanes)
    return model
