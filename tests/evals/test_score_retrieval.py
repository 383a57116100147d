"""`score` needs no model: what it makes of a real retrieval record is what the run made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evals.conftest import longvid

MODELS = {"tfidf": "-M captions={}", "bm25": "-M captions={}", "random-vectors": ""}


@pytest.mark.parametrize("model", MODELS)
def test_scoring_a_real_run_again_gives_the_same_results(shared_data: Path, tmp_path: Path, model: str) -> None:
    folder = tmp_path / "run"
    options = MODELS[model].format(shared_data / "youcook2" / "asr_transcripts.json").split()
    common = ["--data", shared_data]
    done = longvid(
        *("youcook2-retrieval", "run", "--pool", "video-457", "--model", model, *options),
        *(*common, "--max-failures", 55, "--batch-size", 64, "--out", folder),
    )
    # 55 of the videos have no transcript: their items failed, which the exit code says.
    assert done.returncode == (1 if options else 0), done.stderr
    first, vectors = ((folder / name).read_bytes() for name in ("results.json", "vectors.npy"))
    (folder / "results.json").unlink()
    again = longvid("youcook2-retrieval", "score", folder, *common)
    assert again.returncode == 0, again.stderr
    assert (folder / "results.json").read_bytes() == first
    assert (folder / "vectors.npy").read_bytes() == vectors
