"""Nothing that lies in a model's folder is ever run, and nobody is asked whether it may."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tasks.errors import ModelError
from tests.conftest import ROOT

LOADERS = ("from_pretrained", "from_config", "pipeline", "LLM", "load_dataset", "AutoTokenizer", "torch_hub_load")
SOURCES = sorted(path for layer in ("tasks", "encoders", "baselines", "evals") for path in (ROOT / layer).rglob("*.py"))
TRUST = "trust_remote_code"


@cache
def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def refuses(call: ast.Call) -> bool:
    """Whether the call says `trust_remote_code=False` itself, or by a dictionary in which it stands last."""
    for keyword in call.keywords:
        if keyword.arg == TRUST:
            return isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        if keyword.arg is None and isinstance(keyword.value, ast.Dict):
            last_key, last = keyword.value.keys[-1], keyword.value.values[-1]
            if isinstance(last_key, ast.Constant) and last_key.value == TRUST:
                return isinstance(last, ast.Constant) and last.value is False
    return False


def test_every_call_that_may_run_a_models_code_refuses_to() -> None:
    found = [(path, call) for path in SOURCES for call in calls(path) if name_of(call) in LOADERS]
    assert len(found) >= 6
    trusting = [f"{path.relative_to(ROOT)}:{call.lineno}" for path, call in found if not refuses(call)]
    assert trusting == []


def test_nothing_is_unpickled_and_no_module_is_loaded_from_a_path() -> None:
    dangerous = {"spec_from_file_location", "run_path", "get_class_from_dynamic_module", "unsafe_load"}
    found = [f"{path.name}:{name_of(call)}" for path in SOURCES for call in calls(path) if name_of(call) in dangerous]
    # A plugin is code that the user names as such, by --plugin or -m FILE.py:Class.
    assert found == ["registry.py:spec_from_file_location"]


def test_the_check_itself_finds_a_call_that_trusts() -> None:
    for text in ("A.from_pretrained('x')", "A.from_pretrained('x', trust_remote_code=True)", "LLM(**{**a})"):
        assert not refuses(ast.parse(text, mode="eval").body)  # type: ignore[arg-type]
    for text in ("A.from_pretrained('x', trust_remote_code=False)", "LLM(**{**a, 'trust_remote_code': False})"):
        assert refuses(ast.parse(text, mode="eval").body)  # type: ignore[arg-type]


CODE = "from pathlib import Path\nPath({path!r}).write_text('ran')\nclass C: pass\n"


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[Path, Path]:
    """A folder whose model and tokenizer want code that writes a file; the folder and that file."""
    pytest.importorskip("transformers")
    folder, written = tmp_path / "model", tmp_path / "written"
    shutil.copytree(ROOT / "encoders" / "checkpoints" / "kitchen-lm", folder)
    (folder / "code.py").write_text(CODE.format(path=str(written)), encoding="utf-8")
    wants = {
        "AutoConfig": "code.C", "AutoModel": "code.C", "AutoModelForCausalLM": "code.C",
        "AutoTokenizer": ["code.C", "code.C"],
    }  # fmt: skip
    for file, more in {
        "config.json": {"auto_map": wants, "model_type": "mine"},
        "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["code.C", "code.C"]}, "tokenizer_class": "Mine"},
    }.items():
        content = json.loads((folder / file).read_text(encoding="utf-8"))
        (folder / file).write_text(json.dumps({**content, **more}), encoding="utf-8")
    return folder, written


def load_model(folder: Path) -> object:
    from encoders.causal_lm.load import read_transformers

    return read_transformers(str(folder), device="cpu")


def load_tokenizer(folder: Path) -> object:
    from baselines.llm.local import load_writer

    return load_writer(str(folder))


@pytest.mark.parametrize("load", [load_model, load_tokenizer])
@pytest.mark.parametrize("answer", ["y", "yes", "1"])
def test_a_folder_that_wants_code_is_refused_without_a_question(
    load: Callable[[Path], object], answer: str, hostile: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, written = hostile
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text="": (asked.append(text), answer)[1])
    with pytest.raises(ModelError, match=r"needs code of its own|can't load tokenizer") as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert asked == []
    assert not written.exists()


def test_code_beside_a_model_that_transformers_knows_is_left_alone(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder, written = tmp_path / "model", tmp_path / "written"
    shutil.copytree(ROOT / "encoders" / "checkpoints" / "kitchen-lm", folder)
    (folder / "code.py").write_text(CODE.format(path=str(written)), encoding="utf-8")
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    content["auto_map"] = {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.C"}
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    load_model(folder)
    assert not written.exists()


def test_vllm_is_never_told_to_trust() -> None:
    pytest.importorskip("transformers")
    from baselines.llm.options import Serving
    from baselines.llm.vllm import engine_arguments

    with pytest.raises(ModelError, match="trust_remote_code runs a model's own code"):
        engine_arguments(Serving(engine='{"trust_remote_code": true}'), "x")


@pytest.mark.parametrize(
    ("tower", "key"),
    [("vision_cfg", "timm_model_name"), ("text_cfg", "hf_model_name"), ("text_cfg", "hf_tokenizer_name")],
)
def test_an_open_clip_folder_that_leads_to_other_libraries_is_refused(tower: str, key: str, tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    from encoders.from_open_clip import load_open_clip

    (tmp_path / "open_clip_model.safetensors").write_bytes(b"")
    model = {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {"tokenizer_kwargs": {TRUST: True}}}
    model[tower] |= {key: str(tmp_path)}  # type: ignore[operator]
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}), encoding="utf-8")
    with pytest.raises(ModelError, match=key):
        load_open_clip(f"local-dir:{tmp_path}")


def test_an_open_clip_folder_whose_pickle_would_be_taken_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    from encoders.from_open_clip import load_open_clip

    (tmp_path / "other.safetensors").write_bytes(b"")
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"")
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {}}', encoding="utf-8")
    with pytest.raises(ModelError, match="is a pickle"):
        load_open_clip(f"local-dir:{tmp_path}")


@pytest.mark.parametrize(
    ("key", "value"), [("layers", 10**6), ("width", 10**12), ("width", 0), ("patch_size", -1), ("width", 32_000)]
)
def test_an_open_clip_folder_of_impossible_size_is_refused(key: str, value: int, tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    import torch
    from safetensors.torch import save_file

    from encoders.from_open_clip import load_open_clip

    save_file({f"t{at}": torch.zeros(2) for at in range(9)}, tmp_path / "open_clip_model.safetensors")
    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32, key: value}
    text = {"context_length": 8, "vocab_size": 99, "width": 64, "heads": 2, "layers": 2}
    model = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}), encoding="utf-8")
    with pytest.raises(ModelError, match=f"{key} is|asks for"):
        load_open_clip(f"local-dir:{tmp_path}")
