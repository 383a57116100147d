"""Load a causal language model: a local folder, a GGUF file, a hub name, or the bundled SmolLM2.

No code of a model's own is run, whatever a folder asks for. A configuration is checked against the shapes in the weight
files before anything is allocated, and the model must give finite numbers before it is used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from encoders.causal_lm.smollm2 import SMOLLM2_NAME, find_smollm2
from encoders.config import LanguageShape, foreign_file, read_json
from encoders.device import find_device, warn_of_slow_bfloat16
from encoders.tokens import PROBE, TextTokenizer
from encoders.weights import check_finite, read_shapes
from tasks.digests import file_sha256
from tasks.errors import ModelError
from tasks.resources import CACHE_VARIABLE, cache_folder


def weight_files(folder: Path) -> tuple[Path, ...]:
    """List the safetensors files of a transformers folder, sorted by name. Raises ModelError if incomplete."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        content = read_json(index, ours=False)
        places = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
            raise ModelError(
                f"{index} is not an index of safetensors files: it has no table 'weight_map' of file names"
            )
        names = sorted(set(places.values()))
        if strange := [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]:
            raise ModelError(f"{index} names '{strange[0][:60]}', which is not a safetensors file in its folder")
    else:
        names = ["model.safetensors"]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"model folder {folder} lacks {', '.join(missing)}")
    return tuple(folder / name for name in names)


def weights_sha256(files: tuple[Path, ...]) -> str:
    """Return a single file's digest, or the digest of all files' "digest  name" lines."""
    if len(files) == 1:
        return file_sha256(files[0])
    lines = "".join(f"{file_sha256(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


DIGESTS = "longvid-digests.json"
MOST_OF_GGUF = 1 << 30
"""More than any size in a published model (our choice)."""
_log = logging.getLogger(__name__)


def dense_folder(gguf: Path, digest: str, dtype: torch.dtype) -> Path:
    """Return the dense copy of `gguf` (SHA-256 `digest`) in `dtype`; it is made on first use, which takes a while.

    Reading SmolLM2-135M from GGUF took 21 s and its dense copy 0.2 s. The folder's name holds all that decides its
    content, and its files are checked against their digests before each use: a record names the GGUF's digest, so a
    damaged or changed copy must never be used in its name. Such a copy, or one from before there were digests, is made
    again.
    Raises ModelError if the file can't be read or the cache folder can't be written.
    """
    name = f"{digest[:24]}-{str(dtype).removeprefix('torch.')}-transformers-{transformers.__version__}"
    folder = cache_folder() / "dense" / name
    if is_untouched(folder):
        return folder
    if folder.is_dir():
        _log.warning("%s is damaged, changed or of an older version; making it again", folder)
    _log.info("unpacking %s once into %s", gguf.name, folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    except OSError as error:
        raise ModelError(
            f"can't write the model cache {folder.parent} ({error.strerror}): set {CACHE_VARIABLE}"
        ) from error
    try:
        _unpack(gguf, unfinished, dtype)
        (unfinished / DIGESTS).write_text(json.dumps(digests_of(unfinished), indent=2), encoding="utf-8")
        _publish(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def digests_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a folder by name, except the file that holds the digests."""
    return {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.name != DIGESTS}


def is_untouched(folder: Path) -> bool:
    """Whether a dense copy holds exactly the files that were written, unchanged."""
    try:
        recorded = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        return bool(recorded == digests_of(folder))
    except (OSError, ValueError, RecursionError):
        return False


def _unpack(gguf: Path, folder: Path, dtype: torch.dtype) -> None:
    check_gguf(gguf)
    with foreign_file(f"can't read GGUF file {gguf}"):
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent),
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=dtype,
            trust_remote_code=False,
        )
    try:
        model.save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))
    except OSError as error:
        raise ModelError(
            f"can't write the model cache {folder.parent} ({error.strerror}): set {CACHE_VARIABLE}"
        ) from error


def check_gguf(gguf: Path) -> None:
    """Check a GGUF file's metadata against its tensors. Raises ModelError naming field or file."""
    from gguf import GGUFReader

    with foreign_file(f"can't read GGUF file {gguf}"):
        reader = GGUFReader(gguf)
        shapes = {tensor.name: tuple(int(side) for side in tensor.shape) for tensor in reader.tensors}
        fields = {
            name: field.contents() for name, field in reader.fields.items() if field.types and len(field.types) == 1
        }
        listed = reader.fields.get("tokenizer.ggml.tokens")
        tokens = 0 if listed is None else len(listed.data)
    kind = fields.get("general.architecture")
    for name, value in fields.items():
        counts = name.startswith(f"{kind}.") and name.endswith(("_count", "_length", "_size", "_count_kv"))
        if counts and (not isinstance(value, int) or not 1 <= value <= MOST_OF_GGUF):
            raise ModelError(
                f"can't read GGUF file {gguf}: {name} is {value!r:.40}, which is not from 1 to {MOST_OF_GGUF}"
            )
        if name.startswith("tokenizer.") and name.endswith("_token_id") and isinstance(value, int) and value >= tokens:
            raise ModelError(f"can't read GGUF file {gguf}: {name} is {value}, but it has {tokens} tokens")
    layers = {name.split(".")[1] for name in shapes if name.startswith("blk.")}
    width, rows = shapes.get("token_embd.weight", (0, 0))
    wanted = {"block_count": len(layers), "embedding_length": width}
    for name, found in wanted.items():
        if fields.get(f"{kind}.{name}") != found:
            asked = fields.get(f"{kind}.{name}", "missing")
            raise ModelError(f"can't read GGUF file {gguf}: {kind}.{name} is {asked}, but its tensors say {found}")
    if tokens > rows:
        raise ModelError(f"can't read GGUF file {gguf}: {tokens} tokens, but rows for {rows} (token_embd.weight)")


def _publish(unfinished: Path, folder: Path) -> None:
    """Put the new copy in place, after moving a damaged one away."""
    replaced = unfinished.with_name(f"{unfinished.name}-replaced")
    try:
        if folder.is_dir():
            folder.rename(replaced)
        unfinished.rename(folder)
    except OSError as error:
        if not is_untouched(folder):  # otherwise another process was first, with the same content
            raise ModelError(f"can't write the model cache {folder} ({error.strerror})") from error
    finally:
        shutil.rmtree(replaced, ignore_errors=True)


SMOLLM2 = "smollm2"
TRANSFORMERS = "transformers"
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
    "head_dim",
    "max_position_embeddings",
)
"""Fields of a configuration that must be a number of at least 1, if present."""
MOST = 1 << 40
"""More than any size of a published model (our choice)."""
PACKED = 32
"""Most weights in one number of a packed tensor: 32 of one bit each."""
UNUSED = re.compile(
    r"inv_freq$|masked_bias$|\.attn\.bias$|^lm_head\.|(^|[._])(vision|visual|audio|image|mm|multi_modal|mtp)[._]"
)
"""Tensors of published models that a text-only model ignores: tables, a tied output layer, other towers."""
_HUB_FILES = ("*.json", "*.jinja", "*.safetensors", "*.txt", "tokenizer.model")


@dataclass(frozen=True, slots=True, eq=False)
class CausalLM:
    """A causal language model in evaluation mode, its tokenizer, its name and the SHA-256 of its weights."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    digest: str


def read_named(spec: str, *, dtype: str = "bfloat16", device: str = "auto") -> CausalLM:
    """Read `smollm2` or `transformers:NAME_OR_PATH`. Raises ModelError for any other spec."""
    kind, _, source = spec.partition(":")
    if spec == SMOLLM2:
        return read_gguf(find_smollm2(), name=SMOLLM2_NAME, dtype=dtype, device=device)
    if kind == TRANSFORMERS and source:
        return read_transformers(source, dtype=dtype, device=device)
    raise ModelError(
        f"'{spec}' is not a language model for video-to-text: use {SMOLLM2} or {TRANSFORMERS}:NAME_OR_PATH"
    )


def read_transformers(source: str, *, dtype: str = "bfloat16", device: str = "auto") -> CausalLM:
    """Read a local folder, a `.gguf` file or, failing both, a hub name (downloaded if needed).

    Only safetensors and GGUF weights are read, and no code of the model's own is run.
    Raises ModelError if there is no such model or it can't be read.
    """
    path = Path(source).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return read_gguf(path, name=path.stem, dtype=dtype, device=device)
    if path.is_dir():
        return read_folder(path, name=path.resolve().name, dtype=dtype, device=device)
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                source, allow_patterns=list(_HUB_FILES), ignore_patterns=["original/*", "consolidated*"]
            )
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"llm 'transformers:{source}': no such folder or .gguf file, and not available from the hub "
            f"({type(error).__name__})"
        ) from error
    return read_folder(folder, name=source, dtype=dtype, device=device)


SEEING_FILES = ("*.json", "*.jinja", "*.safetensors", "*.txt", "*.model")
"""The files of a vision model on a hub."""


def model_folder(source: str, asked: str) -> tuple[Path, str]:
    """Find a local folder or, failing that, download a hub name; return its folder and name.

    Raises ModelError that begins with `asked`, the option as typed.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path, path.resolve().name
    try:
        return Path(huggingface_hub.snapshot_download(source, allow_patterns=list(SEEING_FILES))), source
    except (OSError, ValueError) as error:
        msg = f"{asked}: no such folder, and not available from the hub ({type(error).__name__})"
        raise ModelError(msg) from error


def read_gguf(gguf: Path, *, name: str, dtype: str = "bfloat16", device: str = "auto") -> CausalLM:
    """Read a GGUF file through its dense copy in the cache folder; the digest is the GGUF's own."""
    digest = file_sha256(gguf)
    with quiet():
        folder = dense_folder(gguf, digest, dtype_of(dtype))
    return read_folder(folder, name=name, digest=digest, dtype=dtype, device=device)


def read_folder(
    folder: Path, *, name: str, digest: str | None = None, dtype: str = "bfloat16", device: str = "auto"
) -> CausalLM:
    """Read a dense transformers folder; `digest` defaults to that of its weight files."""
    target = find_device(device)
    chosen = dtype_of(dtype)
    warn_of_slow_bfloat16(chosen, target)
    files = weight_files(folder)
    check_folder(folder, files)
    tokenizer = read_tokenizer(str(folder))
    with quiet(), foreign_file(f"can't load model folder {folder}"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=chosen, use_safetensors=True, output_loading_info=True, trust_remote_code=False
        )
    model, report = loaded
    check_weights(folder, model, report)
    _check_vocabulary(folder, model, tokenizer)
    model.eval().to(target)
    _check_runs(folder, model)
    return CausalLM(model, tokenizer, name, digest or weights_sha256(files))


def check_weights(folder: Path, model: PreTrainedModel, report: Mapping[str, Sequence[str]]) -> None:
    """Raise ModelError, naming the tensor, unless the folder's weights are exactly the model's, and finite.

    `report` is transformers' loading report.
    """
    left = sorted(name for name in report["unexpected_keys"] if not UNUSED.search(name))
    for what, names in (("lack", sorted(report["missing_keys"])), ("hold, by its config.json for nothing,", left)):
        if names:
            raise ModelError(f"weights in {folder} {what} {', '.join(names[:3])}")
    check_finite(dict(model.named_parameters()), str(folder))


def read_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder or hub name, without running code of its own. Raises ModelError."""
    folder = Path(source).expanduser()
    check_json(folder)
    with quiet(), without_code(folder, "tokenizer"), foreign_file(f"can't load tokenizer '{source}'"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(folder) if folder.is_dir() else source, trust_remote_code=False
        )
        tokenizer(PROBE)
    return tokenizer


def check_folder(folder: Path, files: Sequence[Path]) -> None:
    """Check a folder's configuration against its weight files, without allocating anything.

    Raises ModelError naming the field or tensor that does not match.
    """
    check_json(folder)
    source = folder / "config.json"
    try:
        shapes = {name: shape for file in files for name, shape in read_shapes(file).items()}
    except ModelError as error:
        raise ModelError(f"can't load model folder {folder}: {error}") from error
    with quiet(), without_code(folder, "model"), foreign_file(f"{source} does not describe a model that can be built"):
        _check_sizes(source, _written(source), len(shapes))
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
        own = config.get_text_config()
        _check_sizes(source, {name: getattr(own, name, None) for name in SIZES}, len(shapes))
        with torch.device("meta"):
            described = AutoModelForCausalLM.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
    _check_shapes(source, described, shapes, packed=getattr(config, "quantization_config", None) is not None)


def _written(source: Path) -> dict[str, object]:
    """Read the sizes from config.json; those of the language model if it describes more."""
    content = read_json(source, ours=False)
    if not isinstance(content, dict):
        raise ModelError(f"{source} is not an object of settings")
    inner = content.get("text_config")
    return {**content, **(inner if isinstance(inner, dict) else {})}


def _check_sizes(source: Path, values: Mapping[str, object], tensors: int) -> None:
    for name in SIZES:
        value = values.get(name)
        for number in value if isinstance(value, list) else [value]:
            if number is not None and (type(number) is not int or not 1 <= number <= MOST):
                raise ModelError(f"{source}: {name} is {str(number)[:40]}, which is not a number from 1 to {MOST}")
    layers = values.get("num_hidden_layers")
    if isinstance(layers, int) and layers > tensors:
        raise ModelError(f"{source}: num_hidden_layers is {layers}, but the weights are {tensors} tensors")


def _check_shapes(
    source: Path, described: PreTrainedModel, shapes: Mapping[str, tuple[int, ...]], *, packed: bool
) -> None:
    """Raise ModelError unless the weights match the description; packed ones have other shapes."""
    own = {name: tuple(tensor.shape) for name, tensor in described.state_dict().items()}
    for name in () if packed else sorted(set(own) & set(shapes)):
        if own[name] != shapes[name]:
            raise ModelError(
                f"{source} does not match its weights: {name} is {own[name]} there and {shapes[name]} in the weights"
            )
    parameters = dict(described.named_parameters())
    asked = sum(parameter.numel() for parameter in parameters.values())
    held = sum(math.prod(shape) for shape in shapes.values()) * (PACKED if packed else 1)
    if asked > held:
        lacking = ", ".join(sorted(set(parameters) - set(shapes))[:3]) or "some"
        raise ModelError(
            f"weights in {source.parent} lack {lacking}: config.json asks for {asked} numbers, and they hold {held}"
        )


def check_json(folder: Path) -> None:
    """Raise ModelError naming an unreadable JSON file of the folder, before a library reads it."""
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        read_json(path, ours=False)


@contextmanager
def without_code(folder: Path, what: str) -> Iterator[None]:
    """Explain the error if a folder asks for code of its own that transformers can't replace."""
    try:
        yield
    except ModelError as error:
        path = folder / ("tokenizer_config.json" if what == "tokenizer" else "config.json")
        content = read_json(path, ours=False) if path.is_file() else None
        if isinstance(content, dict) and "auto_map" in content:
            raise ModelError(f"{path}: the {what} needs code of its own (auto_map), which is never run") from error
        raise


def _vocabulary(model: PreTrainedModel) -> int:
    """Return the number of tokens that a model has embedding rows for."""
    weight = model.get_input_embeddings().weight
    if not isinstance(weight, torch.Tensor):
        raise ModelError("the language model's input embeddings have no table of weights")
    return len(weight)


def _check_vocabulary(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ModelError if a text may become a token that the model has no row for.

    Added tokens may exceed its rows, as in some published models: only a template could write them.
    """
    rows = _vocabulary(model)
    added = set(tokenizer.added_tokens_decoder)
    named = {tokenizer.eos_token_id, tokenizer.bos_token_id}
    for text, number in tokenizer.get_vocab().items():
        if number >= rows and (number not in added or number in named):
            raise ModelError(
                f"{folder}: its tokenizer has the token {text[:40]!r} with the id {number}, but the model "
                f"has {rows} rows"
            )


@torch.inference_mode()
def _check_runs(folder: Path, model: PreTrainedModel) -> None:
    """Raise ModelError unless the model gives finite numbers, which even a matching configuration may prevent."""
    with foreign_file(f"{folder}: the model can't be run as its config.json says"):
        logits = model(torch.tensor([[0, 1, 0]], device=model.device), use_cache=False).logits
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(f"{folder}: run as its config.json says, the model gives numbers that are not finite")


def dtype_of(name: str) -> torch.dtype:
    """Return the dtype of that name. Raises ModelError for an unknown one."""
    if name not in _DTYPES:
        raise ModelError(f"unknown dtype '{name}': one of {', '.join(_DTYPES)}")
    return _DTYPES[name]


def eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return all tokens that end a reply: those of the generation config and of the tokenizer."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = set(configured) if isinstance(configured, list) else {configured}
    ids.add(tokenizer.eos_token_id)
    rows = _vocabulary(model)
    known = frozenset(token for token in ids if isinstance(token, int) and 0 <= token < rows)
    if not known:
        raise ModelError(f"the model names no end-of-reply token (eos_token_id) of its {rows}, so no reply could end")
    return known


@contextmanager
def quiet() -> Iterator[None]:
    """Disable the library's progress bars, which would disturb the command line's."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped library
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def for_transformers(tokenizer: TextTokenizer) -> PreTrainedTokenizerBase:
    """Wrap our tokenizer in transformers' class, with its start, end and padding tokens."""
    start, end, pad = (tokenizer.tokenizer.id_to_token(i) for i in (tokenizer.start, tokenizer.end, tokenizer.pad))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # untyped library
        tokenizer_object=tokenizer.tokenizer,
        bos_token=start,
        eos_token=end,
        pad_token=pad,
        clean_up_tokenization_spaces=False,
    )


def build_language_model(shape: LanguageShape, tokenizer: TextTokenizer, *, seed: int = 0) -> LlamaForCausalLM:
    """Build a randomly initialised model, the same for the same seed; global random state is unchanged."""
    config = LlamaConfig(
        vocab_size=tokenizer.size,
        hidden_size=shape.width,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.heads,
        intermediate_size=shape.mlp,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.start,
        eos_token_id=tokenizer.end,
        pad_token_id=tokenizer.pad,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def save_language_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> str:
    """Write a folder of weights in bfloat16, config and tokenizer atomically; return the weights' digest."""
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    copy = LlamaForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    try:
        with quiet():
            copy.bfloat16().save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return weights_sha256(weight_files(folder))
