"""Find models and benchmarks by name: ours and third parties' in the same way.

A package declares its own in the entry-point groups `longvid.models`, `longvid.benchmarks` and `longvid.families`;
`--plugin MODULE` or `--plugin FILE.py` (or the variable LONGVID_PLUGINS) adds a module that is not installed, and
`package.module:Class` or `path/to/file.py:Class` names a model directly. Entries are declarations, so that listing
imports neither torch nor the models.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from functools import cache, partial
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, EntryPoints, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import MappingProxyType, ModuleType, NoneType, UnionType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from tasks.errors import DataError, LongvidError, ModelError

if TYPE_CHECKING:
    from tasks.family import Family

MODEL_GROUP, BENCHMARK_GROUP, COMMAND_GROUP = "longvid.models", "longvid.benchmarks", "longvid.commands"
FAMILY_GROUP = "longvid.families"
OURS = "longvid"
"""The package whose entry points for benchmarks and families have the names of what they declare."""
PLUGINS = "LONGVID_PLUGINS"
"""Modules and files that are searched in addition to installed packages, separated as in PATH."""
LISTED_MODELS, LISTED_BENCHMARKS = "longvid models", "longvid benchmarks"


class System(StrEnum):
    """The kind of a model in the comparison of systems; the value is stored in records."""

    ENCODER = "encoder"
    AGGREGATOR = "aggregator"
    VIDEO_LLM = "video-llm"
    TEXT = "text"
    FLOOR = "floor"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"


SYSTEM_TITLES: Mapping[str, str] = MappingProxyType(
    {
        System.ENCODER: "encoder: the whole video as a vector",
        System.AGGREGATOR: "aggregator: captions read by a language model",
        System.VIDEO_LLM: "video language model: shown frames",
        System.TEXT: "text alone, no video",
        System.FLOOR: "floor: never looks",
        System.ELSEWHERE: "imported: run elsewhere",
        System.UNKNOWN: "not declared",
    }
)
DECIDING, ANSWERS, FRAMES, CAPTIONS, RUNTIME = "what it is", "how it answers", "frames", "captions", "how it runs"
OPTIONS = "options"
KIND_NAMES: Mapping[Any, str] = MappingProxyType({str: "text", int: "N", float: "N", bool: "true|false", Path: "path"})
"""What values of a type are called in lists of options."""
GROUPS = (DECIDING, OPTIONS, CAPTIONS, FRAMES, ANSWERS, RUNTIME)
"""The groups in which a model's options are listed, in this order; a plugin's own group comes first."""
CAPABILITIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "VideoTextEncoder": ("embed_video", "embed_text"),
        "QueryVideoEncoder": ("embed_video_for", "embed_text"),
        "ChoiceScorer": ("score_options",),
        "TextGenerator": ("generate",),
        "Chooser": ("choose",),
        "Captioner": ("caption",),
    }
)
"""The capabilities (tasks.model), by the methods that they require."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A registered model, and how it is built.

    `options` is a dataclass, `build` takes an instance of it; either may be given as `module:attribute`, so that
    listing imports neither. `preset` is handed to a builder of several models before the options. `families` are the
    task families that the model serves, `example` the options of an example. `plain` says whether its replies may be
    plain strings and arrays (tasks.adapt). `source` says who declares it.
    """

    name: str
    summary: str
    system: System
    families: tuple[str, ...]
    options: type[Any] | str
    build: Callable[..., object] | str
    preset: str | None = None
    example: str = ""
    plain: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An official file: its name in the local folder, where it is published, and its SHA-256."""

    name: str
    url: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Generated:
    """How a benchmark is generated: `generate` takes a folder and the videos' indices in the split.

    `videos` holds these indices by pool; the file `marker` exists once it is made.
    """

    generate: Callable[..., Iterable[Any]] | str
    videos: Mapping[str, range]
    marker: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What the shared verbs need to know about a benchmark. `load` takes a folder and a pool and returns the task.

    If predictions are choices, `everything` (the last pool if empty) holds the items of all other pools. `generated`
    replaces `files` if the benchmark is made, not fetched. `folder` under the data root and `task_names` (by pool)
    default to the benchmark's name and `<name>@<pool>`. `video_url` is where the video with an `{id}` can be viewed,
    `video_archive` where all can be fetched without an account, and `video_gigabytes` their published size (0: not
    published). `example` holds arguments of `run` and `plan`, `run_example` further ones of `run` alone; `predictions`
    is an example's predictions file. `place` is the folder or file of a user's own benchmark (tasks.folder),
    `videos_at` its given video folder. `source` says who declares it. Of files that users must get themselves, one of
    `needs` (patterns such as `*_val.json`) shows that they are there, and `pool_files` are those, by pool, that it
    alone needs. With `measures` the loader takes `seconds_of`, which returns a video's length, because the files have
    no reliable ones.
    """

    name: str
    title: str
    pools: tuple[str, ...]
    load: Callable[[Path, str], Any] | str
    files: tuple[RemoteFile, ...] = ()
    videos: str = "Videos lie in {folder}/videos."
    folder: str = ""
    task_names: tuple[str, ...] = ()
    video_url: str = ""
    video_gigabytes: float = 0.0
    video_archive: str = ""
    example: str = "--model blind -M llm=smollm2"
    run_example: str = ""
    predictions: str = "choices.csv"
    everything: str = ""
    generated: Generated | None = None
    place: Path | None = None
    videos_at: Path | None = None
    needs: tuple[str, ...] = ()
    pool_files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    measures: bool = False
    source: str = ""

    @property
    def data_folder(self) -> str:
        """The name of the benchmark's folder under a data root."""
        return self.folder or self.name

    @property
    def markers(self) -> tuple[str, ...]:
        """Files, or patterns, one of which shows that the data are in place; empty if it needs none."""
        if self.generated:
            return (self.generated.marker,)
        return (self.files[0].name,) if self.files else self.needs

    def is_in(self, folder: Path) -> bool:
        """Return whether the benchmark's data are in a folder; without marker files, whether the folder exists."""
        return any(any(folder.glob(marker)) for marker in self.markers) if self.markers else folder.exists()

    def pools_in(self, folder: Path) -> tuple[str, ...]:
        """Return the pools available in a folder: all except those whose own file is missing."""
        return tuple(p for p in self.pools if p not in self.pool_files or (folder / self.pool_files[p]).is_file())

    @property
    def widest_pool(self) -> str:
        """The pool that holds the items of all others."""
        return self.everything or self.pools[-1]

    def names(self) -> dict[str, str]:
        """Return the task names by pool."""
        return dict(zip(self.pools, self.task_names or tuple(f"{self.name}@{p}" for p in self.pools), strict=True))

    def pool_of(self, task_name: str) -> str | None:
        """Return the pool in a task's name, with its variant (see `split_variant`), or None for another benchmark's."""
        told, variant = split_variant(task_name)
        return next((pool + variant for pool, name in self.names().items() if name == told), None)


VARIANT = re.compile(
    r"(?P<rotations>\+rotations(-[1-9][0-9]?)?)?(\+repeats-(?P<repeats>[1-9][0-9]?))?(?P<judged>\+judged-[\w.-]+)?\Z"
)
"""The end of the name of a pool or task whose questions are rotated or repeated, or whose answers were judged."""


def split_variant(name: str) -> tuple[str, str]:
    """Split the name of a pool or task into its base and its variant, such as "+rotations-3", or ""."""
    found = VARIANT.search(name)
    return (name, "") if found is None else (name[: found.start()], found.group())


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A registered command. `target` (`module:attribute`) is a Typer application or the command's function.

    A name of two words, `egoschema submit`, adds a command to a benchmark's group; `example` is shown by --help. One
    that `forwards` is rewritten as another command before it is called, and takes that command's options.
    """

    name: str
    summary: str
    target: str
    example: str = ""
    forwards: bool = False
    source: str = ""


EntryT = TypeVar("EntryT", ModelEntry, Benchmark, CommandEntry, "Family")


@dataclass(frozen=True, slots=True)
class Catalogue(Generic[EntryT]):
    """The entries by name, and descriptions of faults in plugins."""

    entries: Mapping[str, EntryT]
    faults: tuple[str, ...] = ()


def models() -> Catalogue[ModelEntry]:
    """Return all models. Raises ModelError if two have the same name."""
    return _models(os.environ.get(PLUGINS, ""))


def benchmarks() -> Catalogue[Benchmark]:
    """Return all benchmarks. Raises DataError if two have the same name."""
    return _benchmarks(os.environ.get(PLUGINS, ""))


def commands() -> Catalogue[CommandEntry]:
    """Return the commands that packages add. Raises ModelError if two have the same name."""
    return _commands(os.environ.get(PLUGINS, ""))


def families() -> Catalogue[Family]:
    """Return the families of tasks. Raises DataError if two have the same name."""
    return _families(os.environ.get(PLUGINS, ""))


def family_of(name: str) -> Family:
    """Return a family by its name in tasks and records; an undeclared one has all defaults."""
    from tasks.family import Family

    return _families(os.environ.get(PLUGINS, ""), name).entries.get(name) or Family(name=name)


@cache
def _families(plugins: str, only: str | None = None) -> Catalogue[Family]:
    from tasks.family import Family

    return _catalogue(FAMILY_GROUP, Family, plugins, DataError, only)


@cache
def _commands(plugins: str) -> Catalogue[CommandEntry]:
    return _catalogue(COMMAND_GROUP, CommandEntry, plugins, ModelError)


@cache
def _models(plugins: str) -> Catalogue[ModelEntry]:
    return _catalogue(MODEL_GROUP, ModelEntry, plugins, ModelError)


@cache
def _benchmarks(plugins: str, only: str | None = None) -> Catalogue[Benchmark]:
    return _catalogue(BENCHMARK_GROUP, Benchmark, plugins, DataError, only)


def _catalogue(
    group: str, kind: type[EntryT], plugins: str, error: type[LongvidError], only: str | None = None
) -> Catalogue[EntryT]:
    """Load the entries of a group. If `only` names one of ours, our others are skipped: importing all takes long."""
    entries: dict[str, EntryT] = {}
    faults: list[str] = []
    for source, load in (*_installed(group, only), *_named(plugins)):
        try:
            found = _guarded(load, f"plugin {source}")
        except ModelError as fault:
            faults.append(str(fault))
            continue
        for entry in _declared(found, kind, source):
            # A plugin's module may contain entries imported from the package that declares them.
            if entry.name in entries and replace(entries[entry.name], source=source) == entry:
                continue
            if entry.name in entries:
                first = entries[entry.name].source
                msg = f"'{entry.name}' is declared twice in {group}: by {first} and by {source}; remove one of them"
                raise error(msg)
            entries[entry.name] = entry
    ours = {point.name for point in _points(group) if _package(point) == OURS}
    if only in ours and not ours.isdisjoint(entries.keys() - {only}):
        # A plugin's entry has the name of one of ours that was not imported: load all, to report it.
        return _catalogue(group, kind, plugins, error)
    return Catalogue(MappingProxyType(entries), tuple(faults))


def _installed(group: str, only: str | None = None) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the installed packages' entry points, ours first; if `only` names one of ours, our others are skipped."""
    points = sorted(_points(group), key=lambda p: (_package(p) != OURS, _package(p), p.name))
    if any(_package(point) == OURS and point.name == only for point in points):
        points = [point for point in points if _package(point) != OURS or point.name == only]
    for point in points:
        yield f"{_package(point)} ({point.name} = {point.value})", _loader(point)


def entry_names(group: str) -> list[str]:
    """Return the names of a group's entry points, without importing their targets."""
    return sorted({point.name for point in _points(group)})


@cache
def _points(group: str) -> EntryPoints:
    """Return the group's entry points in all installed packages; cached, because it reads every package's files."""
    return entry_points(group=group)


def _loader(point: EntryPoint) -> Callable[[], object]:
    def load() -> object:
        found = point.load()
        return entry_of_class(found, point.name) if _is_plain_class(found) else found

    return load


def _package(point: EntryPoint) -> str:
    return "unknown package" if point.dist is None else _name_of(point.dist)


@cache
def _name_of(package: Distribution) -> str:
    """Return a package's name; cached, because `Distribution.name` parses all of the metadata on each access."""
    return package.name


def _named(plugins: str) -> Iterator[tuple[str, Callable[[], object]]]:
    for plugin in filter(None, plugins.split(os.pathsep)):
        yield plugin, partial(_attributes, plugin)


def _attributes(plugin: str) -> tuple[object, ...]:
    return tuple(vars(import_plugin(plugin)).values())


def _declared(found: object, kind: type[EntryT], source: str) -> Iterator[EntryT]:
    """Yield the entries of an entry point or a plugin's module: one, or those of tuples and lists."""
    if isinstance(found, kind):
        yield replace(found, source=source)
    elif isinstance(found, list | tuple):
        for inner in found:
            yield from _declared(inner, kind, source)


def _guarded(load: Callable[[], T], what: str) -> T:
    """Return what `load` imports. Any error of a third party's module becomes one line that names it."""
    try:
        return load()
    except LongvidError as fault:
        raise ModelError(f"{what}: {fault}") from fault
    except Exception as fault:
        msg = f"{what} can't be imported: {type(fault).__name__}: {' '.join(str(fault).split())}"
        raise ModelError(msg) from fault


def import_plugin(plugin: str) -> ModuleType:
    """Import a module by its name, or a file by its path. Raises ModelError if there is none."""
    if not plugin.endswith(".py"):
        return import_module(plugin)
    path = Path(plugin).expanduser().resolve()
    if not path.is_file():
        raise ModelError(f"there is no file {plugin}")
    name = f"longvid_plugin_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{plugin} can't be imported as Python")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def add_plugins(plugins: Iterable[str]) -> None:
    """Search these modules and files too, in this process and those it starts. Raises ModelError for a fault."""
    for plugin in plugins:
        _guarded(partial(_check_declares, plugin), f"plugin {plugin}")
        path = str(Path(plugin).expanduser().resolve()) if plugin.endswith(".py") else plugin
        known = [p for p in os.environ.get(PLUGINS, "").split(os.pathsep) if p]
        if path not in known:
            os.environ[PLUGINS] = os.pathsep.join([*known, path])


def _check_declares(plugin: str) -> None:
    """Raise ModelError for a plugin that declares nothing: its user would wait in vain for a name to be known."""
    from tasks.family import Family

    module = import_plugin(plugin)
    kinds: tuple[type[Any], ...] = (ModelEntry, Benchmark, CommandEntry, Family)
    if any(True for kind in kinds for _ in _declared(tuple(vars(module).values()), kind, plugin)):
        return
    classes = [
        name for name, value in vars(module).items() if _is_plain_class(value) and value.__module__ == module.__name__
    ]
    hint = f"; a class is named by itself: -m {plugin}:{classes[0]}" if classes else ""
    raise ModelError(f"declares no model, benchmark, family or command (such as a longvid.ModelEntry){hint}")


def find_model(name: str) -> ModelEntry:
    """Find the model of a name, or the class named by `module:Class` or `file.py:Class`.

    Raises ModelError with the nearest known name, or with what is wrong with the class.
    """
    catalogue = models()
    if name in catalogue.entries:
        return catalogue.entries[name]
    if ":" in name:
        return _outright(name)
    msg = f"unknown model '{name}'{nearest(name, catalogue.entries)}; '{LISTED_MODELS}' lists them"
    raise ModelError("; ".join([msg, *catalogue.faults]))


def find_benchmark(name: str) -> Benchmark:
    """Find the benchmark of a name. Raises DataError with the nearest known one."""
    found = known_benchmark(name)
    if found is not None:
        return found
    catalogue = benchmarks()
    msg = f"unknown benchmark '{name}'{nearest(name, catalogue.entries)}; '{LISTED_BENCHMARKS}' lists them"
    raise DataError("; ".join([msg, *catalogue.faults]))


def known_benchmark(name: str) -> Benchmark | None:
    """Return the benchmark of a name, None if there is none, without importing our other benchmarks."""
    return _benchmarks(os.environ.get(PLUGINS, ""), name).entries.get(name)


def benchmark_of(task_name: str) -> Benchmark | None:
    """Return the benchmark that a task belongs to; None if it is unknown."""
    first = known_benchmark(task_name.partition("@")[0])
    if first is not None and first.pool_of(task_name) is not None:
        return first
    return next((b for b in benchmarks().entries.values() if b.pool_of(task_name) is not None), None)


def _outright(spec: str) -> ModelEntry:
    place, _, attribute = spec.rpartition(":")
    module = _guarded(partial(import_plugin, place), f"model '{spec}': {place}")
    found = getattr(module, attribute, None)
    if found is None:
        classes = [key for key, value in vars(module).items() if _is_plain_class(value) and capabilities_of(value)]
        raise ModelError(f"model '{spec}': {place} has no {attribute}{nearest(attribute, classes)}")
    if isinstance(found, ModelEntry):
        return replace(found, source=spec)
    if not isinstance(found, type):
        raise ModelError(f"model '{spec}': {attribute} is not a class but a {type(found).__name__}")
    return replace(entry_of_class(found, f"{Path(place).name}:{attribute}"), source=spec)


def _is_plain_class(found: object) -> bool:
    return isinstance(found, type) and not issubclass(found, StrEnum)


def capabilities_of(found: object) -> tuple[str, ...]:
    """Return the capabilities (tasks.model) whose methods a class or an object has."""
    return tuple(
        name
        for name, methods in CAPABILITIES.items()
        if all(callable(getattr(found, method, None)) for method in methods)
    )


def entry_of_class(found: type[Any], name: str) -> ModelEntry:
    """Make a model entry from a class, with its `system` and `Options`, or else its constructor's parameters.

    Raises ModelError for a class without any capability, naming those there are.
    """
    offered = capabilities_of(found)
    if not offered:
        wanted = ", ".join(" + ".join(methods) for methods in CAPABILITIES.values())
        raise ModelError(f"{name} has none of the methods of a model: {wanted}")
    system = str(getattr(found, "system", System.UNKNOWN))
    if system not in set(System):
        raise ModelError(f"{name}: system '{system}' is not known: {', '.join(System)}")
    summary = (inspect.getdoc(found) or name).splitlines()[0]
    own = getattr(found, "Options", None)
    if isinstance(own, type) and dataclasses.is_dataclass(own):
        return ModelEntry(name, summary, System(system), families_of(offered), own, found, plain=True)
    options = _constructor_options(found, name)
    build = partial(_construct, found)
    return ModelEntry(name, summary, System(system), families_of(offered), options, build, plain=True)


def families_of(capabilities: Sequence[str]) -> tuple[str, ...]:
    """Return the families that a model with these capabilities serves."""
    families = []
    if set(capabilities) - {"Captioner"}:
        families.append("multiple-choice")
    if "VideoTextEncoder" in capabilities:
        families.append("retrieval")
    if "Captioner" in capabilities:
        families.append("captioning")
    return tuple(families)


def _construct(found: type[Any], options: Any) -> object:  # noqa: ANN401 - the dataclass made for this class
    return found(**{field.name: getattr(options, field.name) for field in dataclasses.fields(options)})


def _constructor_options(found: type[Any], name: str) -> type[Any]:
    """Make a dataclass of a constructor's parameters; untyped ones are texts."""
    if found.__init__ is object.__init__:
        return dataclasses.make_dataclass("Options", [], frozen=True)
    hints = get_type_hints(found.__init__)
    fields: list[Any] = []
    for parameter in inspect.signature(found).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        kind = hints.get(parameter.name, str)
        default = dataclasses.MISSING if parameter.default is parameter.empty else parameter.default
        meta = {"help": "a parameter of its constructor"}
        if isinstance(default, list | dict | set):
            field: Any = dataclasses.field(default_factory=partial(copy, default), metadata=meta)
        else:
            field = dataclasses.field(default=default, metadata=meta)
        fields.append((parameter.name, kind, field))
    return dataclasses.make_dataclass(f"Options of {name}", fields, frozen=True, kw_only=True)


def resolve(path: str) -> Any:  # noqa: ANN401 - returns whatever lies there
    """Import `module:attribute`."""
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


def resolved(found: Any) -> Any:  # noqa: ANN401 - a class, a function or where one lies
    """Return an object declared directly or as `module:attribute`."""
    return resolve(found) if isinstance(found, str) else found


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `, did you mean 'x'?` if one is close."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f", did you mean '{close[0]}'?" if close else ""


@dataclass(frozen=True, slots=True)
class OptionHelp:
    """One option of a model, as listed, with its group and the option that it is given within, if any."""

    name: str
    kind: str
    default: str
    help: str
    group: str = OPTIONS
    within: str = ""


def option_help(name: str) -> list[OptionHelp]:
    """Return the options of a model, the deciding ones first.

    A field's metadata give its meaning (`help`), its group (`group`, one of GROUPS or its own) and, for a setting given
    within another option, that option (`within`). `also_within` is an option, and the name under which a separate
    option can also be given there.
    """
    rows = sorted(_fields_help(name), key=lambda row: GROUPS.index(row.group) if row.group in GROUPS else 0)
    own = [row for row in rows if not row.within]
    return own + [row for row in rows if row.within]


def _fields_help(name: str) -> list[OptionHelp]:
    options = resolved(find_model(name).options)
    hints = get_type_hints(options)
    rows = []
    for field in dataclasses.fields(options):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        default = "required" if required else "" if field.default is None else as_typed(field.default)
        kind = kind_name(hints.get(field.name, str))
        said = field.metadata
        group = said.get("group", DECIDING if required else OPTIONS)
        rows.append(
            OptionHelp(field.name, kind, default, str(said.get("help", "")), group, str(said.get("within", "")))
        )
    return rows


def kind_name(hint: Any) -> str:  # noqa: ANN401 - a type hint has no narrower type
    """Format a type as users write its values: `N`, `path`, `spread|cut`; that a value may be absent is not said."""
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return "|".join(hint)
    if get_origin(hint) in (UnionType, Union):
        return " or ".join(kind_name(part) for part in get_args(hint) if part is not NoneType)
    return KIND_NAMES.get(hint) or str(getattr(hint, "__name__", hint))


def as_typed(value: object) -> str:
    """A default as it would be typed behind -M KEY=."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def system_of(model: str, recorded: str | None, *, imported: bool = False) -> System:
    """Return a run's kind of system: as recorded or, for older records, as declared by the model of that name.

    Names of composite models begin with the outer model's (`one-frame:…`, `longvivit-tiny+v2t`).
    """
    if imported:
        return System.ELSEWHERE
    if recorded is not None:
        return System(recorded) if recorded in set(System) else System.UNKNOWN
    entries = models().entries
    name = next((n for n in (model, model.partition("+")[0], model.partition(":")[0]) if n in entries), None)
    return entries[name].system if name else System.UNKNOWN


def parse_options(pairs: Sequence[str]) -> dict[str, str]:
    """Parse `key=value` arguments. Raises ModelError for a malformed or repeated one."""
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ModelError(f"model option '{pair}' is not of the form key=value")
        if key in options:
            raise ModelError(f"model option '{key}' is given twice")
        options[key] = value
    return options


def spelled_out(name: str, options: Mapping[str, str]) -> dict[str, str]:
    """Lift settings given within another option (`engine={"timeout": 5}`, or a file) to their own names.

    Unknown settings stay where they were given. Raises ModelError if the value is not an object, and for a
    setting that is given twice.
    """
    settings: dict[str, dict[str, str]] = {}
    for field in dataclasses.fields(resolved(find_model(name).options)):
        outer, key = field.metadata.get("also_within", (field.metadata.get("within"), field.name))
        if outer in options:
            settings.setdefault(outer, {})[key] = field.name
    found = dict(options)
    for outer, names in settings.items():
        table = _table(outer, options[outer])
        for key in table.keys() & names.keys():
            if names[key] in found:
                raise ModelError(f"model '{name}': '{names[key]}' is given twice, by itself and within {outer}=")
            found[names[key]] = _as_option(table[key])
        rest = {key: value for key, value in table.items() if key not in names}
        if not rest:
            del found[outer]
        elif len(rest) < len(table) or not options[outer].lstrip().startswith("{"):
            found[outer] = json.dumps(rest)
    return found


def _table(option: str, text: str) -> dict[str, Any]:
    """Read the settings in an option's value: a JSON object, or a .json or .toml file with one.

    A TOML file may hold them in a section of the option's name.
    """
    from tasks.files import parse_json, read_text, read_toml, shown

    path = Path(text).expanduser()
    where = f"-M {option}="
    if path.suffix == ".toml":
        content: Any = read_toml(path, f"{where}, file")
        content = content.get(option, content)
    elif path.suffix == ".json":
        content = parse_json(read_text(path, f"{where}, file"), f"{where}, file {path},")
    elif text.strip():
        content = parse_json(text, f"{where} {shown(text)}:")
    else:
        content = {}
    if not isinstance(content, dict):
        raise ModelError(f'{where} must be an object such as {{"timeout": 60}} or a .json or .toml file, not {text}')
    return content


def _as_option(value: object) -> str:
    """Format a JSON value as written after `key=`."""
    return value if isinstance(value, str) else json.dumps(value)


def moved_options(name: str, options: Mapping[str, str]) -> list[str]:
    """Describe options that now belong within another option, or were replaced by one.

    An option's metadata `replaced_by` is the text of the other, up to the value.
    """
    fields = {field.name: field for field in dataclasses.fields(resolved(find_model(name).options))}
    replaced = [
        f"-M {key}={value} is now -M {fields[key].metadata['replaced_by']}{value}"
        for key, value in options.items()
        if key in fields and "replaced_by" in fields[key].metadata
    ]
    return replaced + [
        f"-M {key}={value} is now -M {fields[key].metadata['within']}='{{\"{key}\": {_as_json(value)}}}'"
        for key, value in options.items()
        if key in fields and "within" in fields[key].metadata
    ]


def _as_json(value: str) -> str:
    """Format an option's text as a JSON value."""
    try:
        return json.dumps(json.loads(value))
    except ValueError:
        return json.dumps(value)


def typed_options(name: str, options: Mapping[str, str]) -> Any:  # noqa: ANN401 - the model's own dataclass
    """Build the model's options dataclass from strings. Raises ModelError naming the option at fault."""
    from pydantic import TypeAdapter, ValidationError

    options = spelled_out(name, options)
    known = [row.name for row in option_help(name)]
    for key in options:
        if key not in known:
            has = f"it has: {', '.join(known)}" if known else "it has none"
            raise ModelError(f"model '{name}' has no option '{key}'{nearest(key, known)} ({has})")
    try:
        return TypeAdapter(resolved(find_model(name).options)).validate_python(dict(options))
    except ValidationError as error:
        raise ModelError(
            f"model '{name}': {option_fault(name, error.errors(include_url=False)[0], options)}"
        ) from error


OPTION_FAULTS = MappingProxyType(
    {
        **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "must be an integer"),
        **dict.fromkeys(("float_parsing", "float_type"), "must be a number"),
        **dict.fromkeys(("bool_parsing", "bool_type"), "must be true or false"),
    }
)
"""What an option must be, by pydantic's fault types; other faults use pydantic's message."""


def option_fault(name: str, fault: Mapping[str, Any], options: Mapping[str, str]) -> str:
    """Rephrase a validator's message in terms of the command line."""
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        meaning = next((row.help for row in option_help(name) if row.name == where), "")
        return f"option '{where}' is required: -M {where}=…{f' ({meaning})' if meaning else ''}"
    told = OPTION_FAULTS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ").lower()
    return f"option '{where}': {told} (given: {options[where]})" if where in options else told


def deciding(name: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return the options that can change an answer, which identify a run. Others are only in its command line."""
    fields = {field.name: field for field in dataclasses.fields(resolved(find_model(name).options))}
    return {
        key: value for key, value in spelled_out(name, options).items() if fields[key].metadata.get("decides", True)
    }


def route_wanted(name: str, options: Mapping[str, str]) -> str | None:
    """Return the route named by a model's options, without building the model."""
    route = getattr(typed_options(name, options), "route", None)
    return None if route is None else str(route)


def effective(name: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return all options that can change an answer as texts, including defaults: equal ones mean the same run."""
    typed = typed_options(name, options)
    return {
        field.name: str(value)
        for field in dataclasses.fields(typed)
        if field.metadata.get("decides", True) and (value := getattr(typed, field.name)) is not None
    }


def build_model(name: str, options: Mapping[str, str]) -> object:
    """Build a model from its name and option strings. Raises ModelError or DataError."""
    entry = find_model(name)
    typed = typed_options(name, options)
    for note in moved_options(name, options):
        logging.getLogger("longvid").warning(note)
    build = resolved(entry.build)
    model = build(typed) if entry.preset is None else build(entry.preset, typed)
    if not entry.plain:
        return model
    from tasks.adapt import adapted

    return adapted(model, name if ":" not in name else entry.name)
