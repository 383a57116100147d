"""The `longvid` command: each command is imported when it is called, so that --help is quick."""

from __future__ import annotations

if __name__ == "__main__":
    from evals.signals import end_quietly_while_loading

    end_quietly_while_loading()

import io
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version as package_version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from evals.signals import INTERRUPTED, as_interrupts, is_unhandled_interrupt
from evals.verbs import own_group, spelled_out
from tasks.errors import LongvidError
from tasks.registry import (
    BENCHMARK_GROUP,
    Benchmark,
    CommandEntry,
    add_plugins,
    benchmarks,
    commands,
    entry_names,
    resolve,
)

USER_ERROR = 2
LISTING = "longvid.listing"
EXTRAS = {
    "accelerate": "llm",
    "av": "video",
    "gguf": "llm",
    "httpx2": "server",
    "huggingface_hub": "llm",
    "matplotlib": "video",
    "open_clip": "openclip",
    "peft": "video",
    "PIL": "video",
    "pyarrow": "video",
    "pycocoevalcap": "peers",
    "ray": "ray",
    "safetensors": "video",
    "scenedetect": "shots",
    "tenacity": "server",
    "tokenizers": "video",
    "torch": "video",
    "torchcodec": "peers",
    "torchvision": "openclip",
    "transformers": "video",
}
"""The extra that installs each package, by the package's import name."""


class LazyCommands(dict[str, Any]):
    """The commands by name; each is imported on access, not when it is listed."""

    def __init__(self, entries: Mapping[str, CommandEntry], groups: tuple[str, ...]) -> None:
        super().__init__(dict.fromkeys((*entries, *groups)))
        self.entries = entries

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - Typer's command classes have no common public name
        return command_of(name)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        if name in self or name in benchmarks().entries:
            return self[name]
        own = own_group(name)
        return default if own is None else group_command(own, name)

    def values(self) -> Any:  # noqa: ANN401
        return [self[name] for name in self]

    def items(self) -> Any:  # noqa: ANN401
        return [(name, self[name]) for name in self]


class QuickCommand(TyperCommand):
    """A command that skips parsing when it is called without arguments, because parsing makes typer load pydantic."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        own = [parameter for parameter in self.params if parameter.name is not None and parameter.expose_value]
        if args or any(parameter.required for parameter in own):
            return super().parse_args(ctx, args)
        ctx.params.update({parameter.name: parameter.get_default(ctx) for parameter in own})
        return []


class LazyGroup(TyperGroup):
    """A group that lists commands by their summaries and imports only the one that is called."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(**settings)
        entries = {entry.name: entry for entry in added_commands()}
        self.commands = LazyCommands(entries, tuple(entry_names(BENCHMARK_GROUP)))
        self.entries = entries

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        if not args or args[0].startswith("-"):
            return super().parse_args(ctx, args)
        # Without options of its own there is nothing to parse, and parsing would make typer load pydantic.
        own, self.params, self.add_help_option = self.params, [], False
        try:
            return super().parse_args(ctx, args)
        finally:
            self.params, self.add_help_option = own, True

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        if ctx.meta.get(LISTING):
            return TyperCommand(name=cmd_name, short_help=self.entries[cmd_name].summary)
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        return super().resolve_command(ctx, spelled_out(args))

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        ctx.meta[LISTING] = True
        # Plain text: loading rich, which draws the boxes of other help pages, takes as long as everything else.
        self.rich_markup_mode = None
        super().format_help(ctx, formatter)


def added_commands() -> list[CommandEntry]:
    """Return the top-level commands; those of two words belong to a group."""
    return [entry for entry in commands().entries.values() if " " not in entry.name]


@cache
def command_of(name: str) -> Any:  # noqa: ANN401
    """Build the command or group of a name. Raises KeyError for an unknown name."""
    entry = next((entry for entry in added_commands() if entry.name == name), None)
    if entry is None:
        return group_command(benchmarks().entries[name], name)
    target = resolve(entry.target)
    if isinstance(target, typer.Typer):
        command = typer.main.get_command(target)
    else:
        alone = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
        open_ended = {"ignore_unknown_options": True, "allow_extra_args": True} if entry.forwards else {}
        alone.command(cls=QuickCommand, epilog=f"Example: {entry.example}", context_settings=open_ended)(target)
        command = typer.main.get_command(alone)
    command.name = name
    return command


def group_command(benchmark: Benchmark, name: str) -> Any:  # noqa: ANN401
    """Build a benchmark's command group."""
    from evals.benchmark_app import benchmark_app

    group = typer.main.get_command(benchmark_app(benchmark))
    group.name = name
    return group


app = typer.Typer(
    name="longvid",
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Example: longvid run egoschema -m blind -M llm=smollm2 --limit 20",
)


def show_version(wanted: bool) -> None:
    """Print the version and exit."""
    if wanted:
        typer.echo(f"longvid {package_version('longvid')}")
        raise typer.Exit


def search_plugins(plugins: list[str] | None) -> list[str] | None:
    """Load the plugins before the command is looked up."""
    add_plugins(plugins or [])
    return plugins


@app.callback()
def longvid(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=show_version, is_eager=True)
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE|FILE",
            help="Python with models or benchmarks of your own; repeatable.",
            callback=search_plugins,
            is_eager=True,
        ),
    ] = None,
) -> None:
    """Evaluate long-video understanding: no number without its floor, its interval, its protocol and its cost.

    Each benchmark is also a command group: longvid egoschema --help.
    """


def main() -> None:
    """Run the command line; an error that a user can act on becomes one line and exit code 2."""
    run_app(app)


def show_what_can_be_shown() -> None:
    """Make a terminal or pipe with a smaller character set (ASCII, Latin-1) show `?` for all other characters."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def fail(text: str) -> None:
    """Print an error on standard error."""
    # Loading the console takes time, which --help and --version do without.
    from evals import console

    console.fail(text)


def run_app(application: typer.Typer) -> None:
    """Run an application; the only place where exceptions become exit codes."""
    # OpenMP reads this when torch is loaded: threads that spin while waiting take cores that decoders need.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    show_what_can_be_shown()
    with as_interrupts():
        try:
            application()
        except LongvidError as error:
            fail(str(error))
            sys.exit(USER_ERROR)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS:
                raise
            fail(f"this needs {package}: pip install 'longvid[{EXTRAS[package]}]'")
            sys.exit(USER_ERROR)
        except OSError as error:
            place = error.filename or "the output"
            fail(f"{place}: {error.strerror or error}")
            sys.exit(USER_ERROR)
        except (KeyboardInterrupt, SystemExit) as end:
            if not isinstance(end, KeyboardInterrupt) and not is_unhandled_interrupt(end):
                raise
            # A terminal that has hung up can't be written to.
            with suppress(OSError):
                fail("interrupted")
            sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
