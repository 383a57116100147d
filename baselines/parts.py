"""Models made of models: how a baseline's option names another model and gets it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from tasks.errors import ModelError

BuildModel = Callable[[str, Mapping[str, str]], object]
"""From a model's name and option strings to the model; as `tasks.registry.build_model` does."""
T = TypeVar("T")


def parse_spec(spec: str) -> tuple[str, dict[str, str]]:
    """`NAME` or `NAME:key=value,key=value` as name and options. Raises ModelError where it is neither."""
    name, _, rest = spec.partition(":")
    options: dict[str, str] = {}
    for pair in rest.split(",") if rest else []:
        key, equals, value = pair.partition("=")
        if not equals or not key or key in options:
            msg = f"'{spec}' names no model: write NAME:key=value,key=value, each key once ('{pair}' is not so)"
            raise ModelError(msg)
        options[key] = value
    return name, options


def build_part(build: BuildModel, spec: str, capability: type[T], what: str) -> T:
    """The model that `spec` names. Raises ModelError unless it offers `capability`, a Protocol or a class."""
    name, options = parse_spec(spec)
    model = build(name, options)
    if not isinstance(model, capability):
        msg = f"model '{name}' can't serve as {what}: it is no {capability.__name__}"
        raise ModelError(msg)
    return model
