"""`--engine ray` from the command line: the files of one process, and options that go with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from evals.engines import Engine, pool_of
from tasks.errors import ModelError
from tests.evals.conftest import longvid
from tests.evals.test_caption import caption, coca_name, rows_of, videos  # noqa: F401 - fixtures

MADE = ("video", "start", "end", "text", "captioner", "captioner_sha256", "prompt_sha256", "cut")


@pytest.mark.parametrize("given", [(2, None, None), (None, 0.5, None), (None, None, "auto")])
def test_options_of_a_cluster_without_one_are_refused(given: tuple[int | None, float | None, str | None]) -> None:
    with pytest.raises(ModelError, match="goes with --engine ray"):
        pool_of(Engine.PROCESS, *given)


def test_without_ray_the_extra_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from encoders import ray_pool

    monkeypatch.setattr(ray_pool, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r"pip install 'longvid\[ray\]'"), ray_pool.joined(ray_pool.Pool()):
        pass


@pytest.mark.slow
def test_captions_by_two_workers_are_those_of_one_process_and_are_made_once(
    videos: Path,  # noqa: F811 - the fixture
    coca_name: str,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    pytest.importorskip("ray")
    (videos / "broken.mp4").write_bytes(b"")
    ray, here = tmp_path / "ray.jsonl", tmp_path / "here.jsonl"
    done = longvid(*caption(videos, coca_name, ray, "--cut", "uniform:4", "--engine", "ray", "--workers", "2"))
    assert done.returncode == 1
    assert "broken.mp4" in done.stderr
    cached = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "captions").iterdir()}
    assert len(cached) == 2
    # The cache is the same one: the second command finds everything there.
    longvid(*caption(videos, coca_name, here, "--cut", "uniform:4"))
    assert here.read_text() == ray.read_text()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "captions").iterdir()} == cached


@pytest.mark.slow
def test_captions_made_apart_are_the_same(
    videos: Path,  # noqa: F811 - the fixture
    coca_name: str,  # noqa: F811 - the fixture
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("ray")
    for name, more in (("ray", ("--engine", "ray", "--workers", "2")), ("here", ())):
        monkeypatch.setenv("LONGVID_CACHE", str(tmp_path / name))
        done = longvid(*caption(videos, coca_name, tmp_path / f"{name}.jsonl", *more))
        assert done.returncode == 0, done.stderr
    ours, theirs = ([{k: row[k] for k in MADE} for row in rows_of(tmp_path / f"{n}.jsonl")] for n in ("ray", "here"))
    assert ours == theirs


@pytest.mark.slow
def test_scaling_embeds_the_folder_with_each_number_of_workers(videos: Path) -> None:  # noqa: F811 - the fixture
    pytest.importorskip("ray")
    options = ["-M", "weights=random", "-M", "frames=2", "-M", "workers=1", "--at-once", "1", "--json", "-"]
    done = longvid("bench", "scaling", str(videos), "-m", "imagevit-tiny", *options)
    assert done.returncode == 0, done.stderr
    assert [(row["workers"], row["videos"]) for row in json.loads(done.stdout)["details"]["scaling"]] == [
        (1, 2),
        (2, 2),
    ]


@pytest.mark.slow
def test_vectors_from_the_command_are_those_of_one_process(videos: Path, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    pytest.importorskip("ray")
    options = ["-m", "imagevit-tiny", "-M", "weights=random", "-M", "frames=2", "-M", "dtype=float32"]
    for name, more in (("ray", ["--engine", "ray", "--workers", "2"]), ("here", [])):
        done = longvid("embed", str(videos), *options, "-o", str(tmp_path / f"{name}.parquet"), *more)
        assert done.returncode == 0, done.stderr
    ours, theirs = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("ray", "here"))
    assert ours["id"].to_pylist() == theirs["id"].to_pylist()
    np.testing.assert_allclose(ours["vector"].to_pylist(), theirs["vector"].to_pylist(), atol=2e-5)
