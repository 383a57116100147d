from dataclasses import replace

import pytest
import torch

from encoders.vit import VisionTower, sample_keep
from lab.bench.encode import METHODS, Method, Shape, build_tower, count_row, find_methods, flops, meta_keep, saved_bytes
from lab.bench.result import Machine, Report, read_json, table
from lab.bench.suite import BenchOptions, bench, main, run_encoder_bench
from tasks.errors import DataError, ModelError
from tests.encoders.small import generator, videos, vision

NAMES = [method.name for method in METHODS]
RUN_FAST = ("jst-mask75", "fst", "lora", "last4-patches")
MACHINE = Machine("meta", "none", "2", 1, None, compiled=False)


def method(name):
    return find_methods((name,))[0]


def analytic_flops(config, tokens, groups=1):
    """Multiply-adds of patches, linear layers and attention, written down independently of torch."""
    width, per_group = config.width, tokens // groups
    patch = config.tubelet * config.patch**2 * 3 * width
    linear = 4 * width**2 + 2 * width * config.mlp
    attention = 2 * per_group * width
    return 2 * tokens * (patch + config.depth * (linear + attention))


@pytest.mark.parametrize("mask", [0, 0.25, 0.5, 0.75])
def test_counted_flops_equal_the_closed_form(mask):
    tower, shape = build_tower(Method("x"), "tiny", 16, "meta"), Shape(1, 16, 64)
    tokens = round(128 * (1 - mask))
    counted = flops(tower, shape.pixels("meta"), meta_keep(tower, shape, mask))[0]
    assert counted == analytic_flops(tower.config, tokens)


def test_vit_b_over_16_and_256_frames_costs_what_arithmetic_says():
    assert count_row(method("jst-mask0"), "b", 16).forward_flops == pytest.approx(0.36e12, rel=0.02)
    assert count_row(method("jst-mask0"), "b", 256).forward_flops == pytest.approx(27.5e12, rel=0.01)


@pytest.mark.parametrize("changes", [{}, {"attention": "factorized"}, {"attention": "frame", "patches": "image"}])
@pytest.mark.parametrize("mask", [0, 0.5])
def test_bytes_counted_without_data_are_those_a_real_forward_keeps(changes, mask):
    config = vision(**changes)
    with torch.device("meta"):
        meta = VisionTower(config)
    shape = Shape(2, 8, 32)
    keep = sample_keep(config, (2, 8, 32, 32), mask, generator())
    real = saved_bytes(VisionTower(config), videos(), keep)
    counted = saved_bytes(meta, shape.pixels("meta"), meta_keep(meta, shape, mask))
    # CPU and CUDA attention keep a few bytes of their own differently: random state, padding.
    assert counted == pytest.approx(real, rel=0.02)


def bytes_of_a_block(*, checkpointing=False):
    """What the fifth block adds to a tower of four: 64 tokens of width 48 in bf16."""

    def bytes_of(depth):
        with torch.device("meta"):
            tower = VisionTower(vision(depth=depth)).to(torch.bfloat16)
        tower.checkpointing = checkpointing
        return saved_bytes(tower, Shape(1, 8, 32).pixels("meta"), None)

    return bytes_of(5) - bytes_of(4)


def test_saved_bytes_grow_with_depth_by_what_a_block_keeps():
    tokens, width, mlp, heads = 64, 48, 96, 4
    halves = tokens * (8 * width + 2 * mlp)  # two norms in and out, qkv, attention; before and after GELU
    singles = tokens * (4 + heads)  # mean and spread of two norms; log-sum-exp of each head, in fp32
    assert bytes_of_a_block() == pytest.approx(2 * halves + 4 * singles, rel=0.02)


def test_checkpointing_keeps_only_each_block_s_input():
    assert bytes_of_a_block(checkpointing=True) == 2 * 64 * 48


def test_frozen_early_layers_keep_no_activations():
    last, full = count_row(method("last4"), "b", 16), count_row(method("jst-mask0"), "b", 16)
    assert last.activation_bytes == pytest.approx(full.activation_bytes * 4 / 12, rel=0.03)


@pytest.mark.parametrize("size", ["b", "l"])
def test_masking_three_quarters_saves_two_and_a_half_times_the_activations_at_128_frames(size):
    tower, shape = build_tower(method("jst-mask0"), size, 128, "meta"), Shape(1, 128, 224)
    dense, masked = (saved_bytes(tower, shape.pixels("meta"), meta_keep(tower, shape, mask)) for mask in (0, 0.75))
    assert dense >= 2.5 * masked


@pytest.mark.parametrize("name", [pytest.param("last4-mask75", marks=pytest.mark.slow), "last4-patches-mask75"])
def test_training_the_last_four_layers_of_vit_l_on_256_masked_frames_fits_16_gb(name):
    row = count_row(method(name), "l", 256)
    assert row.tokens == 6272
    assert row.total_bytes < 16e9


@pytest.mark.parametrize(
    "name", [name if name in RUN_FAST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_every_method_runs_on_this_machine_at_small_size(name):
    row = run_encoder_bench(BenchOptions(("tiny",), (16,), (name,), device="cpu", repeats=1))[0]
    assert row.method == name
    assert row.step_seconds > 0
    assert row.forward_seconds > 0
    assert row.trainable <= row.parameters
    assert row.train_flops > row.forward_flops


def test_parameters_and_tokens_of_the_rows_are_those_of_the_methods():
    rows = {row.method: row for row in run_encoder_bench(BenchOptions(("tiny",), (16,)))}
    assert list(rows) == NAMES
    dense = rows["jst-mask0"]
    tokens = {name: row.tokens for name, row in rows.items()}
    assert tokens["jst-mask75"] * 4 == tokens["jst-mask50"] * 2 == tokens["jst-mask0"] == 128
    assert (tokens["coarse-time"], tokens["coarse-space"], tokens["coarse-both"]) == (64, 32, 16)
    assert tokens["frame-level"] == 256
    assert rows["fst"].parameters > dense.parameters == dense.trainable
    assert rows["adapters"].trainable < rows["last4-patches"].trainable <= dense.trainable
    assert rows["jst-mask75"].dense_flops == dense.forward_flops


def test_a_report_survives_its_file_and_shows_every_row(tmp_path):
    file, plot = tmp_path / "b.json", tmp_path / "b.png"
    options = ["--sizes", "tiny", "--frames", "16", "32", "--methods", "jst-mask0", "jst-mask75"]
    assert main([*options, "--json", str(file), "--plot", str(plot)]) == 0
    report = read_json(file)
    assert [row.frames for row in report.rows] == [16, 16, 32, 32]
    assert table(report).count("\n") == 6
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_table_leaves_out_what_was_not_measured():
    row = count_row(method("jst-mask0"), "tiny", 16)
    assert "videos/s" not in table(Report(MACHINE, (row,)))
    measured = replace(row, forward_batch=2, forward_seconds=0.5)
    machine = replace(MACHINE, matmul_rate=row.dense_flops * 8.0)
    assert "| 4.0 | 50% |" in table(Report(machine, (measured,)))


def test_the_machine_s_matmul_rate_is_measured_beside_the_rows():
    report = bench(BenchOptions(("tiny",), (16,), ("jst-mask75",), device="cpu", repeats=1))
    assert report.machine.matmul_rate > 1e8
    assert 0 < report.rows[0].matmul_share(report.machine) < 2


def test_unknown_methods_sizes_and_devices_are_refused(capsys):
    with pytest.raises(ModelError, match="jst-mask75"):
        find_methods(("jst",))
    with pytest.raises(ModelError, match="'huge'"):
        run_encoder_bench(BenchOptions(("huge",), (16,)))
    if not torch.cuda.is_available():
        assert main(["--device", "cuda"]) == 2
        assert "no CUDA device" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON"])
def test_a_foreign_report_is_refused_by_name(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x\.json is not a bench result"):
        read_json(tmp_path / "x.json")


@pytest.mark.gpu
def test_cuda_s_peak_confirms_the_counted_training_memory_at_256_frames():
    row = run_encoder_bench(BenchOptions(("l",), (256,), ("last4-mask75",), device="cuda", repeats=3))[0]
    assert row.peak_bytes < 16e9
    assert row.peak_bytes == pytest.approx(row.total_bytes, rel=0.5)
