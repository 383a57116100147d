"""Models built from other models: how a baseline's option names another model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from tasks.errors import ModelError

BuildModel = Callable[[str, Mapping[str, str]], object]
"""Builds a model from its name and option strings, as `tasks.registry.build_model` does."""
T = TypeVar("T")


def parse_spec(spec: str) -> tuple[str, dict[str, str]]:
    """Parse `NAME` or `NAME:key=value,key=value` into name and options. Raises ModelError for anything else."""
    name, _, rest = spec.partition(":")
    options: dict[str, str] = {}
    for pair in rest.split(",") if rest else []:
        key, equals, value = pair.partition("=")
        if not equals or not key or key in options:
            msg = f"'{spec}' is not a model: write NAME:key=value,key=value, each key once (at fault: '{pair}')"
            raise ModelError(msg)
        options[key] = value
    return name, options


def build_part(build: BuildModel, spec: str, capability: type[T], what: str) -> T:
    """Build the model that `spec` names. Raises ModelError unless it has `capability`, a Protocol or a class."""
    name, options = parse_spec(spec)
    model = build(name, options)
    if not isinstance(model, capability):
        msg = f"model '{name}' can't be {what}: it is not a {capability.__name__}"
        raise ModelError(msg)
    return model
