"""Score a similarity matrix without running anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.errors import DataError
from tasks.files import read_array
from tasks.ranks import dual_softmax, one_to_one, rank_figures, ranks_from_similarities
from tasks.retrieval import TIE_RULE
from tasks.task import JsonValue

DUAL_SOFTMAX = "_dual_softmax"
# Mean ranks beyond this share of so many items are not chance.
_ENOUGH, _LAST = 10, 0.8


def score_similarity_file(path: Path, temperature: float | None = None) -> dict[str, JsonValue]:
    """Score both directions of a square matrix [texts, videos] in an .npy file; row i belongs to column i.

    With a `temperature` the dual softmax is applied, every name says so, and a warning is added; so is one for
    matrices that are likely to be distances.
    Raises DataError, naming the file, if it is not such a matrix, or holds NaN or infinity.
    """
    matrix = read_array(path, "")
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    if not square or not len(matrix) or not np.issubdtype(matrix.dtype, np.floating):
        msg = f"{path} must be a square matrix of floats [texts, videos], row i belonging to column i"
        raise DataError(msg)
    count = len(matrix)
    suffix = "" if temperature is None else DUAL_SOFTMAX
    content: dict[str, JsonValue] = {"pool": count, "tie_rule": TIE_RULE}
    means = []
    for direction, similarities in (("text_to_video", matrix), ("video_to_text", matrix.T)):
        try:
            scaled = similarities if temperature is None else dual_softmax(similarities, temperature)
            figures = rank_figures(ranks_from_similarities(scaled, one_to_one(count)), count)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        content |= {f"{direction}_{name}{suffix}": float(value[0]) for name, value in figures.items()}
        means.append(float(figures["mean_rank"][0]))
    warnings = []
    # Where everything is equally similar, right answers rank last as well, but are not below the mean.
    if (
        count >= _ENOUGH
        and min(means) > _LAST * count
        and np.trace(matrix, dtype=np.float64) / count < matrix.mean(dtype=np.float64)
    ):
        warnings.append("right answers rank among the last: if these are distances, score their negatives")
    if temperature is not None:
        warnings.append("dual softmax reads all test queries at once: not comparable with plain figures")
    return content | ({"warning": "; ".join(warnings)} if warnings else {})
