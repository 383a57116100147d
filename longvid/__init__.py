"""longvid: evaluate long-video understanding from Python.

    import longvid

    class Mine:
        def generate(self, requests):
            return ["A" for request in requests]

    run = longvid.evaluate(Mine(), "egoschema@500", out="runs/mine", limit=20)
    run.figures

Everything is imported when it is asked for: `import longvid` loads neither numpy nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evals.evaluate import Evaluation, compare, evaluate, frames, leaderboard, load, task_of
    from tasks.errors import DataError, LongvidError, ModelError, RecordError
    from tasks.model import (
        Captioner,
        ChoiceScorer,
        Chooser,
        Embeddings,
        ModelInfo,
        OptionRequest,
        OptionScores,
        QueryVideoEncoder,
        TextGenerator,
        TextReply,
        TextRequest,
        VideoTextEncoder,
    )
    from tasks.registry import Benchmark, ModelEntry, System
    from tasks.task import Clip, Metric, Prediction, Score, Summary, TaskInfo

_PLACES = {
    "evals.evaluate": ("Evaluation", "compare", "evaluate", "frames", "leaderboard", "load", "task_of"),
    "tasks.errors": ("DataError", "LongvidError", "ModelError", "RecordError"),
    "tasks.model": (
        *("Captioner", "ChoiceScorer", "Chooser", "Embeddings", "ModelInfo", "OptionRequest", "OptionScores"),
        *("QueryVideoEncoder", "TextGenerator", "TextReply", "TextRequest", "VideoTextEncoder"),
    ),
    "tasks.registry": ("Benchmark", "ModelEntry", "System"),
    "tasks.task": ("Clip", "Metric", "Prediction", "Score", "Summary", "TaskInfo"),
}
_PLACE_OF = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "Benchmark",
    "Captioner",
    "ChoiceScorer",
    "Chooser",
    "Clip",
    "DataError",
    "Embeddings",
    "Evaluation",
    "LongvidError",
    "Metric",
    "ModelEntry",
    "ModelError",
    "ModelInfo",
    "OptionRequest",
    "OptionScores",
    "Prediction",
    "QueryVideoEncoder",
    "RecordError",
    "Score",
    "Summary",
    "System",
    "TaskInfo",
    "TextGenerator",
    "TextReply",
    "TextRequest",
    "VideoTextEncoder",
    "compare",
    "evaluate",
    "frames",
    "leaderboard",
    "load",
    "task_of",
]


def __getattr__(name: str) -> object:
    """Import a public name from the room that it lives in."""
    if name not in _PLACE_OF:
        msg = f"module 'longvid' has no attribute '{name}'"
        raise AttributeError(msg)
    return getattr(import_module(_PLACE_OF[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
