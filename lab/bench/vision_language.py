"""What questions cost by each route on a video language model of a real size, with random weights.

Time and memory follow from a model's shape, not from its weights, so none need be downloaded: the model is built from
its config on the device, and asked through the engine that `-m vlm -M llm=transformers:…` uses. Its tokenizer reads
bytes, so words and the times of frames take some four times as many tokens as a published one's; frames do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lab.bench.encode import drain, free, within_memory
from lab.bench.peers import needed
from lab.bench.result import Comparison, Measured, NotMeasuredError, Timing, Way, clocked, in_turn
from tasks.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from baselines.llm.protocol import Chat, ContinuationScores, Reply
    from baselines.llm.vision_local import TransformersVisionModel
    from tasks.task import JsonValue

OURS, APART, BY_HAND = "ours", "each option with its whole prompt", "transformers' generate, one by one"
ANSWER_TOKENS = 32
OPTIONS = (" a pan is heated", " eggs are beaten", " a table is laid", " bread is cut", " nothing of these")
LETTERS = ("A", "B", "C", "D", "E")
QUESTIONS = ("What is done first?", "What is done last?", "Who is seen?", "Where is it?")
TOWER = {"patch_size": 16, "num_position_embeddings": 2304}
WORDS = {"head_dim": 128, "num_key_value_heads": 8, "vocab_size": 151_936, "max_position_embeddings": 262_144}
SECTIONS, TINY_SECTIONS = [24, 20, 20], [2, 3, 3]


def shape_of(
    layers: int, width: int, heads: int, mlp: int, *, tied: bool, tower: tuple[int, int, int], deep: list[int]
) -> dict[str, Any]:
    """Return the config of a Qwen3-VL; `tower` is the vision tower's depth, width and width of the hidden layer."""
    depth, tower_width, tower_mlp = tower
    return {
        "text_config": {
            **WORDS, "num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads,
            "intermediate_size": mlp, "tie_word_embeddings": tied, "rope_parameters": mrope(SECTIONS, 5e6),
        },
        "vision_config": {
            **TOWER, "depth": depth, "hidden_size": tower_width, "intermediate_size": tower_mlp, "num_heads": 16,
            "out_hidden_size": width, "deepstack_visual_indexes": deep,
        },
        "tie_word_embeddings": tied,
    }  # fmt: skip


def mrope(sections: list[int], theta: float = 10_000.0) -> dict[str, Any]:
    """Return the parameters of Qwen3-VL's rotary positions, in which time, height and width take turns."""
    return {"rope_type": "default", "rope_theta": theta, "mrope_section": sections, "mrope_interleaved": True}


TINY: dict[str, Any] = {
    "text_config": {
        "head_dim": 16, "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 8192,
        "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 96,
        "rope_parameters": mrope(TINY_SECTIONS),
    },
    "vision_config": {
        **TOWER, "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 64,
        "deepstack_visual_indexes": [0],
    },
}  # fmt: skip
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "tiny": TINY,
    "2b": shape_of(28, 2048, 16, 6144, tied=True, tower=(24, 1024, 4096), deep=[5, 11, 17]),
    "4b": shape_of(36, 2560, 32, 9728, tied=True, tower=(24, 1024, 4096), deep=[5, 11, 17]),
    "8b": shape_of(36, 4096, 32, 12_288, tied=False, tower=(27, 1152, 4304), deep=[8, 16, 24]),
}
"""The shapes of Qwen3-VL by their names; "tiny" is ours, to rehearse with."""
CHAT = "<|im_start|>", "<|im_end|>"
END = "<|end|>"
VISION_TOKENS = {
    "image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>",
}  # fmt: skip


def byte_tokenizer(
    specials: Mapping[str, str], *others: str, vocabulary: tuple[str, ...] = ()
) -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes with the special tokens that a processor looks for by name."""
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.decoders import ByteLevel as ByteDecoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import PreTrainedTokenizerFast

    alphabet = [*sorted(ByteLevel.alphabet()), *vocabulary]
    backend = Tokenizer(BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    backend.decoder = ByteDecoder()
    for text in dict.fromkeys([*CHAT, END, *specials.values(), *others]):
        backend.add_special_tokens([AddedToken(text, special=True)])
    fast: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerFast = fast(
        tokenizer_object=backend, eos_token=CHAT[1], pad_token=END, extra_special_tokens=dict(specials)
    )
    return made


def chat_template(video: str, image: str) -> str:
    """Return a chat template in the shape of Qwen's, with these placeholders; `enable_thinking` opens a thought."""
    return (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n"
        "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
        f"{{% if part.type == 'video' %}}{video}{{% elif part.type == 'image' %}}{image}"
        "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking is defined and enable_thinking %}"
        "<think>\n{% endif %}{% endif %}"
    )


def vision_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Return the ids of Qwen's tokens of images and videos, under the names of its config."""
    return {name: tokenizer.convert_tokens_to_ids(text) for name, text in VISION_TOKENS.items()}


@dataclass(frozen=True, slots=True)
class VisionWork:
    """What is measured: model sizes, frame counts, the frames' height and width, and videos with `QUESTIONS` each."""

    sizes: tuple[str, ...]
    frames: tuple[int, ...]
    device: torch.device
    repeats: int
    videos: int = 2
    height: int = 336
    width: int = 592

    def __post_init__(self) -> None:
        if unknown := [size for size in self.sizes if size not in SHAPES]:
            raise ModelError(f"no video language model '{unknown[0]}' to measure: known are {', '.join(SHAPES)}")

    @property
    def questions(self) -> int:
        """Return the number of questions."""
        return self.videos * len(QUESTIONS)


@dataclass(frozen=True, slots=True)
class Built:
    """A model with random weights behind our engine, and a processor of its own for the same by hand."""

    llm: TransformersVisionModel
    model: Any
    processor: Any


def build(size: str, device: torch.device) -> Built:
    """Build a Qwen3-VL of this size on the device. Raises NotMeasuredError if a library is missing or too old."""
    needed("transformers", "transformers")
    needed("torchvision", "torchvision")
    try:
        from transformers import AutoModelForImageTextToText, Qwen3VLConfig

        from baselines.llm.options import Sampling
        from baselines.llm.vision_local import TransformersVisionModel
    except ImportError as error:
        raise NotMeasuredError(f"what is installed has no Qwen3-VL: {error}".splitlines()[0]) from error
    from encoders.causal_lm.scoring import use_float32_head
    from tasks.model import ModelInfo

    processor, own = processor_of(), processor_of()
    config: Any = Qwen3VLConfig(**SHAPES[size], **vision_ids(processor.tokenizer))
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.manual_seed(0)
    with torch.device(device):
        auto: Any = AutoModelForImageTextToText
        model = auto.from_config(config, dtype=dtype).eval()
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    parameters = model.num_parameters()
    use_float32_head(model)
    info = ModelInfo(f"Qwen3-VL-{size}", parameters=parameters, device=str(device), dtype=str(dtype))
    context = config.text_config.max_position_embeddings
    return Built(TransformersVisionModel(model, processor, info, context, Sampling()), model, own)


def processor_of() -> Any:  # noqa: ANN401 - untyped processors
    """Return Qwen3-VL's processor with a tokenizer of bytes; frames are read in the size that they have."""
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    pads = {name: VISION_TOKENS[f"{name}_id"] for name in ("image_token", "video_token")}
    tokenizer = byte_tokenizer(pads, *VISION_TOKENS.values())
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    sizes: dict[str, Any] = {
        "size": {"shortest_edge": 32 * 32, "longest_edge": 10**9},
        "patch_size": TOWER["patch_size"],
        **half,
    }
    processor: Any = Qwen3VLProcessor
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    return processor(
        Qwen2VLImageProcessor(**sizes), tokenizer, Qwen3VLVideoProcessor(**sizes),
        chat_template=chat_template("<|video_pad|>", image),
    )  # fmt: skip


def compare_vision_language(work: VisionWork, done: Callable[[str], None]) -> Iterator[Comparison]:
    """Time all questions by each route, ours beside transformers by hand, for each size and frame count.

    A model that can't be built here is named and left out.
    """
    for size in work.sizes:
        try:
            built = build(size, work.device)
        except NotMeasuredError as error:
            label = f"questions to Qwen3-VL-{size} of random weights"
            done(f"{label}: left out, {error}")
            yield Comparison(label, (Timing(OURS, missing=str(error)),))
            continue
        except torch.OutOfMemoryError:
            yield Comparison(f"Qwen3-VL-{size} of random weights", (Timing(OURS, missing="out of memory"),))
            continue
        for frames in work.frames:
            yield from _compare_routes(built, frames, work, done)
        del built
        free(work.device)


def _compare_routes(built: Built, frames: int, work: VisionWork, done: Callable[[str], None]) -> Iterator[Comparison]:
    llm = built.llm
    asked = chats(frames, work)
    scored = [replace(chat, reply_start="Answer:") for chat in asked]
    chosen = [replace(chat, choices=LETTERS) for chat in asked]

    def scores(ask: Any, texts: Sequence[str]) -> Way:  # noqa: ANN401 - a method of the engine
        return _way(lambda: ask(scored, [texts] * len(scored)), frames, work)

    def replies(about: Sequence[Chat]) -> Way:
        return _way(lambda: llm.generate(about, ANSWER_TOKENS), frames, work)

    by_hand = _way(lambda: generate_by_hand(built, asked), frames, work)
    routes: Mapping[str, Mapping[str, Way]] = {
        "options-loglik": {
            OURS: scores(llm.score, OPTIONS),
            APART: scores(llm.score_from_scratch, OPTIONS),
        },
        "letter-logprob": {
            OURS: scores(llm.score, LETTERS),
            APART: scores(llm.score_from_scratch, LETTERS),
        },
        f"generate+parse, {ANSWER_TOKENS} tokens": {OURS: replies(asked), BY_HAND: by_hand},
        "guided": {OURS: replies(chosen)},
    }
    billions = (llm.info.parameters or 0) / 1e9
    for route, ways in routes.items():
        label = (
            f"{route}: {work.questions} questions about {work.videos} videos of {frames} frames of "
            f"{work.width}×{work.height}, {llm.info.name} of random weights ({billions:.2g} billion parameters)"
        )
        size: dict[str, JsonValue] = {"size": llm.info.name, "frames": frames}
        facts = {**size, "questions": work.questions, "options": len(OPTIONS)}
        yield in_turn(label, ways, work.repeats, done, facts=facts)


def chats(frames: int, work: VisionWork) -> list[Chat]:
    """Return the questions about each video, whose frames are noise that is the same for every route."""
    from baselines.llm.protocol import Chat, Shown
    from encoders.frames import Frames

    found = []
    for video in range(work.videos):
        shape = (frames, work.height, work.width, 3)
        pixels = np.random.default_rng(video).integers(0, 256, shape, dtype=np.uint8)
        seconds = tuple(2.0 * place + 1.0 for place in range(frames))
        shown = Shown(Frames(pixels, seconds, seconds, 1.0), "video", 2.0 * frames)
        found += [Chat(words, shown=shown) for words in QUESTIONS]
    return found


def _way(ask: Callable[[], Sequence[ContinuationScores | Reply]], frames: int, work: VisionWork) -> Way:
    """Make a way of asking that is timed, with its rates and on a GPU its peak memory, weights included."""
    answers: list[ContinuationScores | Reply] = []

    def call() -> None:
        answers[:] = ask()

    def measured() -> Measured:
        if work.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(work.device)
        taken = clocked(call, partial(drain, work.device))()
        read = sum(answer.usage.prompt for answer in answers)
        written = sum(answer.usage.completion for answer in answers)
        facts: dict[str, Any] = {
            "frames_per_second": round(frames * work.videos / taken.seconds, 2),
            "questions_per_second": round(work.questions / taken.seconds, 3),
            "prompt_tokens": read,
            "prompt_tokens_per_second": round(read / taken.seconds),
            "answer_tokens_per_second": round(written / taken.seconds, 2),
        }
        if work.device.type == "cuda":
            facts["peak_gb"] = round(torch.cuda.max_memory_allocated(work.device) / 1e9, 2)
        return replace(taken, facts=facts)

    return within_memory(measured)


@torch.inference_mode()
def generate_by_hand(built: Built, asked: Sequence[Chat]) -> list[Reply]:
    """Ask as transformers documents it: the processor, then `generate`, for one question after the other."""
    from transformers.video_utils import VideoMetadata

    from baselines.llm.protocol import Reply
    from baselines.llm.vision import true_times
    from tasks.task import TokenUsage

    replies = []
    for chat in asked:
        assert chat.shown is not None
        text = built.llm.writer.render(chat)
        inputs = built.processor(
            text=[text], videos=[chat.shown.frames.pixels], video_metadata=[VideoMetadata(**true_times(chat.shown))],
            do_sample_frames=False, return_tensors="pt",
        ).to(built.model.device, dtype=built.model.dtype)  # fmt: skip
        length = inputs["input_ids"].shape[1]
        ids = built.model.generate(**inputs, max_new_tokens=ANSWER_TOKENS, do_sample=False)[0, length:]
        text = built.processor.tokenizer.decode(ids, skip_special_tokens=True)
        replies.append(Reply(text, True, TokenUsage(prompt=length, completion=len(ids))))
    return replies
