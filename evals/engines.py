"""Options that say where many videos are processed: in this process, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tasks.errors import ModelError

if TYPE_CHECKING:
    from encoders.ray_pool import Pool
    from encoders.task_model import EncoderModel
    from tasks.model import Captioner

T = TypeVar("T")


class Engine(StrEnum):
    """The engine that runs the work."""

    PROCESS = "process"
    RAY = "ray"


ENGINE = Annotated[
    Engine,
    typer.Option("--engine", help="Where to work: in this process, or on Ray's workers (many GPUs, many machines)."),
]
WORKERS = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="With ray: number of workers, each with its own copy of the model; default: 1."
    ),
]
GPUS = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-worker", min=0.0, help="With ray: GPUs for each worker; 0.5 lets two share one; default: 0."
    ),
]
ADDRESS = Annotated[
    str | None,
    typer.Option("--address", help="With ray: a running cluster, HOST:PORT or auto; default: one is started here."),
]


def pool_of(engine: Engine, workers: int | None, gpus: float | None, address: str | None) -> Pool | None:
    """Return the pool that the options ask for, None for this process.

    Raises ModelError for Ray options without Ray.
    """
    from encoders.ray_pool import Pool

    if engine is Engine.RAY:
        return Pool(workers or 1, gpus or 0.0, address)
    given = {"--workers": workers, "--gpus-per-worker": gpus, "--address": address}
    for name, value in given.items():
        if value is not None:
            raise ModelError(f"{name} goes with --engine ray")
    return None


def build_encoder_model(name: str, options: Mapping[str, str]) -> EncoderModel:
    """Build a model that gives vectors, here or in a worker. Raises ModelError for other kinds."""
    from encoders.task_model import EncoderModel
    from tasks.registry import build_model

    return _checked(build_model(name, options), EncoderModel, f"model '{name}' is no encoder: it gives no vectors")


def build_captioner(name: str, options: Mapping[str, str]) -> Captioner:
    """Build a model that writes captions, here or in a worker. Raises ModelError for other kinds."""
    from tasks.model import Captioner
    from tasks.registry import build_model, option_help

    hint = "; an encoder captions with -M v2t=FILE" if "v2t" in {row.name for row in option_help(name)} else ""
    message = f"model '{name}' is no captioner: it has no method 'caption'{hint}"
    return _checked(build_model(name, options), Captioner, message)  # type: ignore[type-abstract]  # checked


def _checked(built: object, kind: type[T], message: str) -> T:
    if not isinstance(built, kind):
        raise ModelError(message)
    return built
