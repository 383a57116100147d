"""The entries of the baselines, with their options; importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import Literal

from baselines.llm.options import UNRECORDED, Dtype, LanguageModelOptions, Serving, check_reach
from encoders.models import Timing
from encoders.sampling import FramePolicy
from tasks.errors import ModelError
from tasks.registry import ANSWERS, CAPTIONS, DECIDING, FRAMES, RUNTIME, ModelEntry, System
from tasks.routes import Route

SALAD_WORDS = 40


class Unit(StrEnum):
    """What a floor gives as text: all sentences of a video, or one of them."""

    PARAGRAPH = "paragraph"
    SENTENCE = "sentence"


@dataclass(frozen=True, kw_only=True)
class CaptionOptions:
    """Where captions come from: a file, or a captioner that makes them first. A mix-in, so it has no slots."""

    captions: Path | None = field(
        default=None, metadata={"help": "captions file: JSON, JSON lines or transcripts", "group": DECIDING}
    )
    captioner: str | None = field(
        default=None,
        metadata={"help": "or a model that makes them: NAME:key=value,key=value (not both)", "group": DECIDING},
    )
    cut: str = field(
        default="uniform:16",
        metadata={"help": "captioner's segments: uniform:N, shots, shots:N, whole, or a JSON file", "group": CAPTIONS},
    )
    caption_prompt: str = field(
        default="segment.v1", metadata={"help": "what the captioner is asked (prompt file)", "group": CAPTIONS}
    )
    caption_tokens: int = field(default=64, metadata={"help": "longest caption of the captioner", "group": CAPTIONS})

    @property
    def reads_subtitles(self) -> bool:
        """Whether subtitles are read, so that captions are not needed."""
        return False

    def __post_init__(self) -> None:
        given = (self.captions is not None) + (self.captioner is not None)
        if given > 1 or (not given and not self.reads_subtitles):
            msg = "give captions=FILE, or captioner=MODEL to have them made first (one of them)"
            raise ModelError(msg)
        if self.caption_tokens < 1:
            msg = f"caption_tokens must be at least 1, not {self.caption_tokens}"
            raise ModelError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatorOptions(LanguageModelOptions, CaptionOptions):
    """Options of `--model aggregator`."""

    two_step: bool = field(
        default=False,
        metadata={"help": "first a summary for the question, then the answer (LLoVi)", "group": ANSWERS},
    )
    overflow: Literal["thin", "map-reduce"] = field(
        default="thin",
        metadata={
            "help": "captions that exceed the context: keep every k-th, or summarise parts first",
            "group": CAPTIONS,
        },
    )
    summary_words: int = field(
        default=200, metadata={"help": "length asked of a summary (two_step, map-reduce)", "group": CAPTIONS}
    )
    segment_seconds: float = field(default=16.0, metadata={"help": "length of a uniform segment", "group": CAPTIONS})
    segments: Literal["auto", "uniform", "captions"] = field(
        default="auto",
        metadata={"help": "group short captions into uniform segments, or keep each one", "group": CAPTIONS},
    )
    boundaries: Path | None = field(
        default=None, metadata={"help": "JSON {id: [[start, end], …]} instead", "group": CAPTIONS}
    )
    examples: Path | None = field(
        default=None, metadata={"help": "few-shot: JSON lines {captions, prompt, reply}", "group": ANSWERS}
    )
    subtitles: Literal["none", "all"] | None = field(
        default=None,
        metadata={
            "help": "all: also read the subtitles, with captions or without; default: none",
            "group": CAPTIONS,
        },
    )
    prompt: str | None = field(
        default=None,
        metadata={"help": "file in baselines/prompts; default: by what is asked, aggregator*.v1", "group": ANSWERS},
    )

    @property
    def reads_subtitles(self) -> bool:
        return self.subtitles == "all"

    def __post_init__(self) -> None:
        CaptionOptions.__post_init__(self)
        LanguageModelOptions.__post_init__(self)
        if not self.segment_seconds > 0:
            msg = f"segment_seconds must be positive, not {self.segment_seconds}"
            raise ModelError(msg)
        if self.summary_words < 1:
            msg = f"summary_words must be at least 1, not {self.summary_words}"
            raise ModelError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindOptions(LanguageModelOptions):
    """Options of `--model blind`."""

    prompt: str | None = field(
        default=None,
        metadata={"help": "file in baselines/prompts; default: by what is asked, blind*.v1", "group": ANSWERS},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionVectorOptions(CaptionOptions):
    """Options of `--model caption-vectors`."""

    encoder: str = field(metadata={"help": "model whose text tower reads captions and texts: NAME:key=value,…"})


@dataclass(frozen=True, slots=True)
class OneFrameOptions:
    """Options of `--model one-frame`."""

    of: str = field(metadata={"help": "a model that takes frames=N: NAME:key=value,key=value"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFrameOptions:
    """Options of `--model keyframes`."""

    encoder: str = field(metadata={"help": "what looks at the chosen frames: shortvivit-b:weights=FILE"})
    selector: str = field(metadata={"help": "image encoder that scores frames against the query: openclip:name=…"})
    frames: int = field(default=16, metadata={"help": "frames chosen", "group": FRAMES})
    fps: float = field(default=1.0, metadata={"help": "frames per second that are scored", "group": FRAMES})
    cap: int = field(
        default=256, metadata={"help": "most frames scored; longer clips are sampled evenly", "group": FRAMES}
    )
    min_gap: float = field(
        default=2.0, metadata={"help": "least seconds between chosen frames, while there is room", "group": FRAMES}
    )

    def __post_init__(self) -> None:
        if self.frames < 1 or not self.min_gap >= 0:
            msg = f"frames must be at least 1 and min_gap not negative: {self.frames}, {self.min_gap}"
            raise ModelError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionOptions(Serving, Timing):
    """Options of `--model vlm`; unrecorded options change no answer, so a run resumes with other values."""

    llm: str | None = field(
        default=None,
        metadata={"help": "the model: transformers:NAME_OR_PATH, vllm:NAME_OR_PATH or openai:MODEL", "group": DECIDING},
    )
    model: str | None = field(
        default=None,
        metadata={"help": "openai:MODEL by its name alone", "group": DECIDING, "replaced_by": "llm=openai:"},
    )
    route: Route = field(default=Route.GENERATE, metadata={"help": "how the answer is obtained", "group": DECIDING})
    subtitles: Literal["none", "seen", "all"] = field(
        default="none",
        metadata={"help": "subtitles to read: those spoken at the frames shown (seen), or all", "group": CAPTIONS},
    )
    fit: Literal["keep", "crop", "squash"] = field(
        default="keep",
        metadata={"help": "keep: the whole picture, aspect kept; crop or squash: a square", "group": FRAMES},
    )
    size: int = field(
        default=448,
        metadata={"help": "side of the square in pixels; with keep, pixels defaults to its square", "group": FRAMES},
    )
    pixels: int | None = field(
        default=None, metadata={"help": "keep: most pixels of a frame; default: size squared", "group": FRAMES}
    )
    total_pixels: int | None = field(
        default=None, metadata={"help": "keep: most pixels of all frames of a question", "group": FRAMES}
    )
    send: Literal["video", "images"] | None = field(
        default=None,
        metadata={
            "help": "frames as one video with their times (default if supported), or images",
            "group": FRAMES,
        },
    )
    check_frames: bool = field(
        default=True,
        metadata={"help": "stop if the prompt's token count shows that not every frame was read", "group": FRAMES},
    )
    max_tokens: int | None = field(
        default=None, metadata={"help": "longest reply; default: the task's", "group": ANSWERS}
    )
    temperature: float = field(default=0.0, metadata={"help": "0: the likeliest token every time", "group": ANSWERS})
    top_p: float = field(
        default=1.0,
        metadata={
            "help": "nucleus sampling: draw from the likeliest tokens with this total probability",
            "group": ANSWERS,
        },
    )
    seed: int | None = field(default=None, metadata={"help": "seed of the sampling", "group": ANSWERS})
    thinking: bool | None = field(
        default=None, metadata={"help": "for models with both modes: think first, or don't", "group": ANSWERS}
    )
    thinking_tokens: int = field(
        default=4096, metadata={"help": "token budget of the thought, in addition to max_tokens", "group": ANSWERS}
    )
    extra: str = field(
        default="",
        metadata={"help": 'further sampling fields for the engine, as JSON: {"top_k": 20}', "group": ANSWERS},
    )
    prompt: str | None = field(
        default=None,
        metadata={"help": "file in baselines/prompts; default: by how frames are sent, vision*.v1", "group": ANSWERS},
    )
    dtype: Dtype = field(
        default="bfloat16", metadata={"help": "of weights loaded here; a server has its own", "group": RUNTIME}
    )
    device: str = field(default="auto", metadata={"help": "transformers: auto, cpu, cuda or cuda:N", "group": RUNTIME})
    workers: int = field(default=2, metadata={"help": "processes that decode ahead", "group": RUNTIME, **UNRECORDED})
    context: int | None = field(
        default=None,
        metadata={
            "help": "use less context than the model has, in tokens; within engine=: max_model_len",
            "group": RUNTIME,
            "also_within": ("engine", "max_model_len"),
        },
    )

    @property
    def spec(self) -> str:
        """The model in the form that all language models use."""
        return self.llm or ""

    @property
    def shape(self) -> FramePolicy:
        """How a frame is resized; the frame count is a placeholder."""
        if self.fit == "keep":
            pixels = self.pixels if self.pixels is not None else self.size**2
            return FramePolicy(count=1, size=None, fit="keep", pixels=pixels, total_pixels=self.total_pixels)
        return FramePolicy(count=1, size=self.size, fit=self.fit, pixels=self.pixels, total_pixels=self.total_pixels)

    def __post_init__(self) -> None:
        Serving.__post_init__(self)
        if (self.llm is None) == (self.model is None):
            msg = "give llm=openai:MODEL, llm=transformers:NAME_OR_PATH or llm=vllm:NAME_OR_PATH (and no model=)"
            raise ModelError(msg)
        if self.model is not None:
            # A run is the same under either name.
            object.__setattr__(self, "llm", f"openai:{self.model}")
            object.__setattr__(self, "model", None)
        if self.engine and not self.spec.startswith("vllm:"):
            msg = f"-M engine= has settings that model 'vlm' does not have: {self.engine}"
            raise ModelError(msg)
        if self.guided and self.route is not Route.GENERATE:
            msg = f"guided=true goes with route={Route.GENERATE}, not {self.route}"
            raise ModelError(msg)
        if self.route not in SEEING_ROUTES:
            msg = f"route={self.route} is not a route of a language model: {', '.join(SEEING_ROUTES)}"
            raise ModelError(msg)
        for name in ("max_tokens", "thinking_tokens", "workers", "size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                msg = f"{name} must be at least 1, not {value}"
                raise ModelError(msg)
        if not (0 <= self.temperature < inf and 0 < self.top_p <= 1):
            msg = f"temperature must be 0 or more and top_p above 0, up to 1: {self.temperature}, {self.top_p}"
            raise ModelError(msg)
        if self.temperature == 0 and (self.top_p < 1 or self.seed is not None):
            msg = "top_p and seed need a temperature above 0"
            raise ModelError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedDualOptions(Timing):
    """Options of `--model served-dual`; what is marked unrecorded changes no answer, so a run resumes without."""

    name: str = field(metadata={"help": "a model that embeds pictures and texts, by its name at the server"})
    pixels: int = field(default=448 * 448, metadata={"help": "most pixels of a frame that is sent", "group": FRAMES})
    picture_words: str | None = field(
        default=None,
        metadata={"help": "words sent with each frame, where the model was trained so", "group": ANSWERS},
    )
    text_words: str = field(
        default="{text}", metadata={"help": "words around a text, which stands for {text}", "group": ANSWERS}
    )
    texts_as: Literal["messages", "input"] = field(
        default="messages",
        metadata={"help": "texts as conversations, by the model's template, or as bare input", "group": ANSWERS},
    )
    extra: str = field(
        default="", metadata={"help": 'what else the server is told, as JSON: {"dimensions": 512}', "group": ANSWERS}
    )
    base_url: str | None = field(
        default=None,
        metadata={"help": "server, http://HOST:PORT/v1; default: $OPENAI_BASE_URL", "group": RUNTIME, **UNRECORDED},
    )
    key_from: str = field(
        default="OPENAI_API_KEY",
        metadata={"help": "environment variable that holds the server's key", "group": RUNTIME, **UNRECORDED},
    )
    concurrency: int = field(default=8, metadata={"help": "requests in flight", "group": RUNTIME, **UNRECORDED})
    timeout: float = field(
        default=120.0,
        metadata={"help": "seconds for one request; twice as many after each time-out", "group": RUNTIME, **UNRECORDED},
    )
    retries: int = field(
        default=4, metadata={"help": "further tries after a server's fault", "group": RUNTIME, **UNRECORDED}
    )
    patience: float = field(
        default=300.0,
        metadata={"help": "seconds a server may be away or ask to wait", "group": RUNTIME, **UNRECORDED},
    )
    workers: int = field(default=2, metadata={"help": "processes that decode ahead", "group": RUNTIME, **UNRECORDED})

    def __post_init__(self) -> None:
        check_reach(self.concurrency, self.timeout, self.retries, self.patience)
        if "{text}" not in self.text_words:
            msg = f"text_words must say where the text stands, as in 'Find: {{text}}', not '{self.text_words}'"
            raise ModelError(msg)
        if self.pixels < 1 or self.workers < 1:
            msg = f"pixels and workers must be at least 1: {self.pixels}, {self.workers}"
            raise ModelError(msg)


SEEING_ROUTES = (Route.OPTIONS_LOGLIK, Route.LETTER_LOGPROB, Route.GENERATE)


@dataclass(frozen=True, slots=True)
class ConstantOptions:
    """Options of `--model constant`."""

    choice: int = field(default=0, metadata={"help": "the option to choose every time, counted from 0"})


@dataclass(frozen=True, slots=True)
class LengthOptions:
    """Options of `--model longest-option` and `shortest-option`."""

    unit: Literal["characters", "words"] = field(
        default="characters", metadata={"help": "unit of an option's length; the first of equals is taken"}
    )


@dataclass(frozen=True, slots=True)
class ChanceOptions:
    """Options of `--model chance`."""

    seed: int = field(default=0, metadata={"help": "seed of the draw; an item's draw depends on its id alone"})


@dataclass(frozen=True, slots=True)
class RandomVectorOptions:
    """Options of `--model random-vectors`."""

    dimensions: int = field(default=64, metadata={"help": "length of the vectors"})
    seed: int = field(default=0, metadata={"help": "seed; a vector depends on its clip or text alone"})

    def __post_init__(self) -> None:
        if self.dimensions < 1:
            msg = f"dimensions must be at least 1, not {self.dimensions}"
            raise ModelError(msg)


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Options of the floors that give training texts."""

    annotations: Path = field(metadata={"help": "YouCook2's annotation file, for its training texts"})
    unit: Unit = field(default=Unit.PARAGRAPH, metadata={"help": "paragraph for summaries, sentence for clips"})
    seed: int = field(default=0, metadata={"help": "seed of the draw, if there is one"})


@dataclass(frozen=True, slots=True)
class SaladOptions:
    """Options of `--model word-salad`."""

    words: int = field(default=SALAD_WORDS, metadata={"help": "length of the text"})


@dataclass(frozen=True, slots=True)
class TfidfOptions:
    """Options of `--model tfidf`."""

    captions: Path = field(metadata={"help": "speech transcripts or a captions file"})


@dataclass(frozen=True, slots=True)
class Bm25Options:
    """Options of `--model bm25`."""

    captions: Path = field(metadata={"help": "speech transcripts or a captions file"})
    k1: float = field(default=1.5, metadata={"help": "saturation of repeated words"})
    b: float = field(default=0.75, metadata={"help": "strength of the length normalisation, 0 to 1"})


MODELS = (
    ModelEntry(
        name="aggregator",
        summary="captions of segments, read by a language model",
        system=System.AGGREGATOR,
        families=("multiple-choice", "free-answer", "captioning"),
        options=AggregatorOptions,
        build="baselines.aggregator:build_aggregator",
        example="-M captions=FILE -M llm=smollm2 -M route=options-loglik",
    ),
    ModelEntry(
        name="caption-vectors",
        summary="captions against texts, both read by a text tower",
        system=System.AGGREGATOR,
        families=("multiple-choice", "retrieval"),
        options=CaptionVectorOptions,
        build="baselines.caption_vectors:build_caption_vectors",
        example="-M captions=FILE -M encoder=shortvivit-tiny:weights=kitchen",
    ),
    ModelEntry(
        name="keyframes",
        summary="key frames chosen by the question, for a short encoder",
        system=System.ENCODER,
        families=("multiple-choice", "retrieval"),
        options=KeyFrameOptions,
        build="baselines.keyframes:build_keyframes",
        example="-M encoder=shortvivit-b:weights=FILE -M selector=openclip:name=ViT-B-16",
    ),
    ModelEntry(
        name="one-frame",
        summary="any model with frames=N, shown only the middle frame",
        system=System.ENCODER,
        families=("multiple-choice", "retrieval", "captioning"),
        options=OneFrameOptions,
        build="baselines.keyframes:build_one_frame",
        example="-M of=shortvivit-tiny:weights=kitchen",
    ),
    ModelEntry(
        name="blind",
        summary="a language model alone: no video",
        system=System.TEXT,
        families=("multiple-choice", "free-answer", "captioning"),
        options=BlindOptions,
        build="baselines.prompted:build_blind",
        example="-M llm=smollm2",
    ),
    ModelEntry(
        name="constant",
        summary="one option, every time",
        system=System.FLOOR,
        families=("multiple-choice",),
        options=ConstantOptions,
        build="baselines.floors:build_constant",
        example="-M choice=4",
    ),
    *(
        ModelEntry(
            name=f"{which}-option",
            summary=f"the {which} option; of equally long ones the first",
            system=System.FLOOR,
            families=("multiple-choice",),
            options=LengthOptions,
            build="baselines.floors:build_length",
            preset=f"{which}-option",
            example="-M unit=words",
        )
        for which in ("longest", "shortest")
    ),
    ModelEntry(
        name="chance",
        summary="an option at random, seeded",
        system=System.FLOOR,
        families=("multiple-choice",),
        options=ChanceOptions,
        build="baselines.floors:build_chance",
        example="-M seed=1",
    ),
    ModelEntry(
        name="tfidf",
        summary="transcripts against texts by TF-IDF: no video",
        system=System.TEXT,
        families=("retrieval",),
        options=TfidfOptions,
        build="baselines.text_retrieval:build_tfidf",
        example="-M captions=FILE",
    ),
    ModelEntry(
        name="bm25",
        summary="transcripts against texts by BM25: no video",
        system=System.TEXT,
        families=("retrieval",),
        options=Bm25Options,
        build="baselines.text_retrieval:build_bm25",
        example="-M captions=FILE",
    ),
    ModelEntry(
        name="random-vectors",
        summary="unit vectors in random directions, seeded",
        system=System.FLOOR,
        families=("retrieval",),
        options=RandomVectorOptions,
        build="baselines.floors:build_random_vectors",
        example="",
    ),
    ModelEntry(
        name="word-salad",
        summary="the same six words over and over",
        system=System.FLOOR,
        families=("captioning",),
        options=SaladOptions,
        build="baselines.floors:build_word_salad",
        example="",
    ),
    ModelEntry(
        name="constant-paragraph",
        summary="the most typical training text, every time",
        system=System.FLOOR,
        families=("captioning",),
        options=TrainingOptions,
        build="baselines.floors:build_constant_paragraph",
        example="-M annotations=FILE",
    ),
    ModelEntry(
        name="random-paragraph",
        summary="a training text at random, seeded",
        system=System.FLOOR,
        families=("captioning",),
        options=TrainingOptions,
        build="baselines.floors:build_random_paragraph",
        example="-M annotations=FILE",
    ),
    ModelEntry(
        name="recipe-type-paragraph",
        summary="typical training text of its recipe type (uses labels)",
        system=System.FLOOR,
        families=("captioning",),
        options=TrainingOptions,
        build="baselines.floors:build_recipe_type_paragraph",
        example="-M annotations=FILE",
    ),
    ModelEntry(
        name="vlm",
        summary="a video language model, here or behind a server",
        system=System.VIDEO_LLM,
        families=("multiple-choice", "free-answer", "captioning"),
        options=VisionOptions,
        build="baselines.vision_model:build_vision_model",
        example="-M llm=openai:NAME -M base_url=http://HOST:8000/v1",
    ),
    ModelEntry(
        name="served-dual",
        summary="a dual encoder behind a server: frames and texts by /v1/embeddings",
        system=System.ENCODER,
        families=("multiple-choice", "retrieval"),
        options=ServedDualOptions,
        build="baselines.served_dual:build_served_dual",
        example="-M name=NAME -M base_url=http://HOST:8000/v1",
    ),
)
