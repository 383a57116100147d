"""The encoder beside its peers, at small size on the CPU: what a GPU will be asked, end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from encoders.vit import token_count
from lab.bench.encode import (
    Case,
    Shape,
    Work,
    attention_seconds,
    compare_forward,
    compare_step,
    find_methods,
    method_config,
    own_module,
)
from lab.bench.peers import PerFrame, PerVideo, build_peer
from lab.bench.result import NotMeasuredError
from lab.bench.suite import Asked, bench_encode, main
from tasks.errors import ModelError

CPU = torch.device("cpu")
WORK = Work(("tiny",), (4,), CPU, 1)
TINY = method_config(find_methods(("jst-mask0",))[0], "tiny", 4)
JOINT, FRAMES = "joint space-time", "frame by frame"
# A machine with torch, what torch needs, and NumPy: all other installed packages are hidden.
BARE = """
import sys
from importlib.metadata import packages_distributions
kept = "torch functorch torchgen numpy typing_extensions filelock sympy mpmath networkx jinja2 markupsafe fsspec"
ours = "tasks encoders baselines evals longvid lab"
hidden = {name for name in packages_distributions() if not name.startswith(("nvidia", "triton", "cuda"))}
hidden -= {*kept.split(), *ours.split(), "setuptools", "_distutils_hack", "pkg_resources"}
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Hidden())
import importlib.util
found = importlib.util.find_spec
def find_spec(name, package=None):
    try:
        return found(name, package)
    except ModuleNotFoundError:
        if "." in name:
            raise  # as where the package is not installed
        return None
importlib.util.find_spec = find_spec
from lab.bench.suite import main
sys.exit(main(sys.argv[1:]))
"""


def ignore(note: str) -> None:
    """No progress to show."""


def test_forward_passes_are_set_beside_the_peer_that_does_the_same_work() -> None:
    pytest.importorskip("open_clip")
    joint, frames = compare_forward(WORK, ignore)
    assert JOINT in joint.work
    assert FRAMES in frames.work
    assert [row.name for row in joint.rows] == ["ours", "transformers ViViT"]
    assert [row.name for row in frames.rows] == ["ours", "open_clip per frame"]
    assert all((row.ratio or 0) > 0 and row.missing is None for row in (*joint.rows, *frames.rows))


def test_training_steps_say_what_they_keep_and_masking_keeps_less() -> None:
    joint = next(compare_step(WORK, ignore))
    kept = {row.name: row.facts["activation_bytes"] for row in joint.rows}
    assert list(kept) == ["ours", "ours, 75 % masked", "transformers ViViT"]
    assert kept["ours, 75 % masked"] < kept["ours"] / 2


@pytest.mark.parametrize("build", [PerVideo, PerFrame])
def test_a_peer_has_our_shape_and_its_output_depends_on_the_pixels(build: type) -> None:
    pytest.importorskip("transformers" if build is PerVideo else "open_clip")
    peer = build_peer(build, TINY, CPU).float().eval()
    pixels = Shape(2, 4, 64).pixels("cpu")
    with torch.inference_mode():
        vectors = peer(pixels)
    assert vectors.shape == (2, TINY.width)
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3
    case = Case(find_methods(("jst-mask0" if build is PerVideo else "frame-level",))[0], "tiny", 4, "", build)
    ours = own_module(case.method, case, CPU)
    counted = [sum(p.numel() for n, p in m.named_parameters() if "blocks" in n or "layers" in n) for m in (peer, ours)]
    if build is PerVideo:
        assert counted[0] == counted[1]  # the same transformer


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.bench.peers.find_spec", lambda name: None)
    with pytest.raises(NotMeasuredError, match="transformers is not installed"):
        build_peer(PerVideo, TINY, CPU)
    joint = next(compare_forward(WORK, ignore))
    assert joint.rows[0].ratio == 1.0
    assert joint.rows[1].missing == "transformers is not installed"


def test_out_of_memory_is_a_reason_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("lab.bench.encode.build_peer", full)
    joint = next(compare_step(WORK, ignore))
    assert joint.rows[-1].missing == "out of memory"
    assert joint.rows[0].seconds


def test_attention_is_timed_by_kernel_and_one_that_is_not_there_is_null() -> None:
    seconds = attention_seconds(TINY, CPU, 1)
    assert set(seconds) == {"chosen", "flash", "cudnn", "efficient", "plain"}
    assert (seconds["chosen"] or 0) > 0
    assert (seconds["plain"] or 0) > 0
    assert seconds["cudnn"] is None


def test_one_command_gives_every_figure_of_a_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "all.json"
    given = ["--device", "cpu", "--sizes", "tiny", "--frames", "4", "--repeats", "1", "--json", str(file)]
    assert main(given) == 0
    data = json.loads(file.read_text())
    works = [comparison["work"] for comparison in data["comparisons"]]
    of_encoder = ["forward"] * 2 + ["training step"] * 2
    assert [work.split(",")[0] for work in works[:4]] == of_encoder
    decoding = data["comparisons"][4]["rows"]
    assert works[4] == "decoding 30 frames of 256×144 H.264"
    assert works[5] == "image: 2 training steps"
    assert len(works) > 6
    assert all("of random weights" in work for work in works[6:])
    assert decoding[0]["missing"] or decoding[0]["facts"]["frames_per_second"] > 0
    assert decoding[1]["missing"] == "asked for cpu"
    rows = {row["method"]: row for row in data["details"]["rows"]}
    assert set(rows) == {"jst-mask0", "jst-mask75"}
    assert all(row["forward_seconds"] and row["step_seconds"] and row["activation_bytes"] for row in rows.values())
    assert set(data["details"]["matmul_shares"]) == {f"ViT-TINY, 4 frames, {name}" for name in rows}
    assert list(data["details"]["attention_seconds"]) == ["ViT-TINY, 4 frames"]
    assert data["machine"]["threads"] == torch.get_num_threads()
    tables = capsys.readouterr().out
    assert "| of matmul |" in tables
    assert "| in 16 GB | step s | trained videos/s |" in tables
    assert all(row["train_batch"] == 1 and row["train_seconds"] == row["step_seconds"] for row in rows.values())
    assert main(["--read", str(file)]) == 0
    assert capsys.readouterr().out == tables


def test_torch_and_numpy_suffice(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    given = ["--device", "cpu", "--sizes", "tiny", "--frames", "4", "--repeats", "1", "--json", str(tmp_path / "b")]
    done = subprocess.run([sys.executable, "-c", BARE, *given], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "b").read_text())
    missing = {row["name"]: row["missing"] for c in data["comparisons"] for row in c["rows"] if row["missing"]}
    assert missing == {
        "transformers ViViT": "transformers is not installed",
        "open_clip per frame": "open_clip_torch is not installed",
        "TorchCodec on the CPU": "torchcodec is not installed",
        "TorchCodec on the GPU (NVDEC)": "asked for cpu",
        "ours": "transformers is not installed",  # a video language model
    }


@pytest.mark.slow
def test_without_computing_there_are_no_comparisons_and_all_methods() -> None:
    result = bench_encode(Asked("meta", ("tiny",), (16,)), ignore)
    assert result.comparisons == ()
    assert len(result.details["rows"]) == 16


def test_a_device_that_is_not_there_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ModelError, match="no CUDA device"):
        bench_encode(Asked("cuda"), ignore)


def test_the_tower_compiles_to_one_graph_with_a_fixed_number_of_tokens() -> None:
    module = own_module(
        find_methods(("jst-mask0",))[0], Case(find_methods(("jst-mask0",))[0], "tiny", 4, "", PerVideo), CPU
    )
    graphs = []

    def backend(graph: torch.fx.GraphModule, _inputs: object) -> object:
        graphs.append(graph)
        return graph.forward

    with torch.inference_mode():
        pixels = Shape(1, 4, 64).pixels("cpu")
        compiled = torch.compile(module, backend=backend, fullgraph=True)
        assert torch.allclose(compiled(pixels).float(), module(pixels).float(), atol=1e-2)
        compiled(Shape(1, 4, 64).pixels("cpu"))
    assert len(graphs) == 1
    assert token_count(TINY, 4, 64, 64) == 32


@pytest.mark.gpu
def test_attention_on_a_gpu_takes_a_fused_kernel() -> None:
    config = method_config(find_methods(("jst-mask0",))[0], "b", 128)
    seconds = attention_seconds(config, torch.device("cuda"), 3)
    fused = min(value for name in ("flash", "cudnn") if (value := seconds[name]) is not None)
    assert (seconds["chosen"] or 0) < 2 * fused


@pytest.mark.gpu
def test_a_forward_pass_of_vit_l_at_256_frames_reaches_half_the_matmul_rate() -> None:
    result = bench_encode(Asked("cuda", ("l",), (256,), ("jst-mask0",), repeats=3), ignore)
    assert result.details["matmul_shares"]["ViT-L, 256 frames, jst-mask0"] >= 0.5
