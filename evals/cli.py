"""The `longvid` command: each command is imported when it is called, so that --help is quick."""

from __future__ import annotations

if __name__ == "__main__":
    from evals.signals import end_quietly_while_loading

    end_quietly_while_loading()

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from evals import help_screen
from evals.signals import INTERRUPTED, as_interrupts, is_unhandled_interrupt
from evals.verbs import own_group, spelled_out
from tasks.errors import LongvidError
from tasks.registry import (
    BENCHMARK_GROUP,
    Benchmark,
    CommandEntry,
    add_plugins,
    commands,
    entry_names,
    find_benchmark,
    known_benchmark,
    resolve,
)

USER_ERROR = 2
UsageError: Any = typer.BadParameter.__base__
"""What typer raises where a line was typed wrongly: typer gives it no public name."""
LISTING = "longvid.listing"
EXTRAS = {
    "accelerate": "llm",
    "av": "video",
    "gguf": "llm",
    "httpx2": "server",
    "huggingface_hub": "llm",
    "matplotlib": "report",
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
    "wandb": "wandb",
}
"""The extra that installs each package, by the package's import name."""


PATH_CHECKS = ("exists", "writable", "resolve_path", "allow_dash", "path_type")
"""What typer can be asked to see to in a path, beside that it can be read."""


class LazyCommands(dict[str, Any]):
    """The commands by name; each is imported on access, not when it is listed."""

    def __init__(self, entries: Mapping[str, CommandEntry], groups: tuple[str, ...]) -> None:
        super().__init__(dict.fromkeys((*entries, *groups)))
        self.entries = entries

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - Typer's command classes have no common public name
        return command_of(name)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        # Whether a name is a benchmark's is known once all are imported, which a run's path does not need.
        is_path = os.sep in name
        if name in self or (not is_path and known_benchmark(name) is not None):
            return self[name]
        if (own := own_group(name)) is not None:
            return group_command(own, name)
        return self[name] if is_path and known_benchmark(name) is not None else default

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


def quickened(command: Any) -> Any:  # noqa: ANN401
    """A command or group that starts without what takes long to load.

    Its help is plain text: what draws boxes takes as long to load as all else together. Values that are right as they
    were typed are taken as they are: to convert any, typer loads pydantic.
    """
    command.rich_markup_mode = None
    command.get_params = partial(quick_parameters, command.get_params)
    command.get_help = partial(help_screen.get_help, command)
    for inner in getattr(command, "commands", {}).values():
        inner.short_help = inner.short_help or (inner.help or "").partition("\n\n")[0]
        quickened(inner)
    return command


def quick_parameters(get_params: Callable[[Any], list[Any]], ctx: Any) -> list[Any]:  # noqa: ANN401
    """A command's parameters, that of --help among them, with `quick_value` before typer's own conversion."""
    parameters = get_params(ctx)
    for parameter in parameters:
        if "process_value" not in vars(parameter):
            parameter.process_value = partial(quick_value, parameter, parameter.process_value)
            help_screen.name_values(parameter)
    return parameters


def quick_value(parameter: Any, convert: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:  # noqa: ANN401
    """A parameter's value, by typer's own `convert` where it is missing, or has to be converted or checked."""
    descriptor = getattr(parameter, "type_descriptor", None)
    if descriptor is None or (parameter.required and parameter.value_is_missing(value)):
        return convert(ctx, value)
    is_many = parameter.multiple or parameter.nargs != 1
    kind = descriptor.annotation
    if is_many and get_origin(kind) is list:
        (kind,) = get_args(kind)
    given = () if value is None else value if is_many else (value,)
    taken = [as_it_is(one, kind, descriptor.parameter_info) for one in given]
    if any(one is None for one in taken):
        return convert(ctx, value)
    whole = (taken or ()) if is_many else taken[0] if taken else None
    return whole if parameter.callback is None else parameter.callback(ctx, parameter, whole)


def as_it_is(value: Any, kind: Any, info: Any) -> Any:  # noqa: ANN401
    """A value of this kind that was given as it has to be; None where it has to be converted or checked."""
    if info.parser is not None:
        return None
    if kind is Path and isinstance(value, str | Path):
        is_bare = info.file_okay and info.dir_okay and not any(getattr(info, name) for name in PATH_CHECKS)
        return Path(value) if is_bare and (not Path(value).exists() or os.access(value, os.R_OK)) else None
    return value if kind in (str, int, float, bool) and type(value) is kind else None


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn what typer finds wrong in a line as it was typed into an error like all others.

    Raises:
        LongvidError: What is wrong, and where to read what the command takes.
    """
    try:
        yield
    except UsageError as error:
        message = error.format_message()
        if message.startswith("Usage:"):  # a group without a command: typer raises its help
            typer.echo(message)
            raise typer.Exit(USER_ERROR) from error
        message = message.removesuffix(".").replace("Value error, ", "")
        where = f" ({error.ctx.command_path} --help)" if error.ctx else ""
        raise LongvidError(f"{message[:1].lower()}{message[1:]}{where}") from error


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

    def make_context(self, *given: Any, **settings: Any) -> Any:  # noqa: ANN401
        with usage_errors():
            return super().make_context(*given, **settings)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        with usage_errors():
            return super().invoke(ctx)

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

    def get_help(self, ctx: Any) -> str:  # noqa: ANN401
        return help_screen.get_help(self, ctx)


def added_commands() -> list[CommandEntry]:
    """Return the top-level commands; those of two words belong to a group."""
    return [entry for entry in commands().entries.values() if " " not in entry.name]


@cache
def command_of(name: str) -> Any:  # noqa: ANN401
    """Build the command or group of a name. Raises DataError for an unknown name."""
    entry = next((entry for entry in added_commands() if entry.name == name), None)
    if entry is None:
        return group_command(find_benchmark(name), name)
    target = resolve(entry.target)
    if isinstance(target, typer.Typer):
        command = typer.main.get_command(target)
    else:
        alone = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
        open_ended = {"ignore_unknown_options": True, "allow_extra_args": True} if entry.forwards else {}
        alone.command(cls=QuickCommand, epilog=f"Example: {entry.example}", context_settings=open_ended)(target)
        command = typer.main.get_command(alone)
    command.name = name
    return quickened(command)


def group_command(benchmark: Benchmark, name: str) -> Any:  # noqa: ANN401
    """Build a benchmark's command group."""
    from evals.benchmark_app import benchmark_app

    group = typer.main.get_command(benchmark_app(benchmark))
    group.name = name
    return quickened(group)


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
    run_app(partial(app, prog_name="longvid"))


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


def run_app(application: Callable[[], object]) -> None:
    """Run an application; the only place where exceptions become exit codes."""
    # OpenMP reads this when torch is loaded: threads that spin while waiting take cores that decoders need.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not sys.stderr.isatty():
        # Libraries' progress bars would fill a log with hundreds of states of one line.
        os.environ.setdefault("TQDM_DISABLE", "1")
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
            # Of two names the second is the one that was asked for: a file is written beside it, then takes its place.
            place = error.filename2 or error.filename or "the output"
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
