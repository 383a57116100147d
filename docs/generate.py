"""Write the pages that follow from the code: cli.md, models.md, benchmarks.md, python-api.md; and the README's picture.

python docs/generate.py                        # the four pages; a test holds that they are current
python docs/generate.py picture RUN_A RUN_B --item ID -o docs/assets/answers.png
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

DOCS = Path(__file__).resolve().parent
GENERATED = "<!-- Written by docs/generate.py from the code: change it there. -->"
PARTICULAR = """\
## Get the files

*Needs: the network, and for the last two lines a mirror of yours: a folder, a .zip file or a data set of the hub.*

```sh
longvid prepare egoschema
longvid prepare youcook2-summary --videos
longvid prepare youcook2-summary --mirror FOLDER
longvid prepare youcook2-summary --mirror hf:OWNER/DATASET
```

Official files are checked against pinned digests; those already there are checked too, offline. The items of NExT-QA,
IntentQA, MLVU and CG-Bench are checked against pinned digests as well, wherever their files come from.

## What is particular

- Pools that end in `-500` are a fixed sample of 500 questions, drawn by longvid.
- `kitchen-needle@400` has videos of 2, 5, 10 and 20 minutes (100 questions each), `@500` videos of an hour as well,
  `@100` those of 2 minutes alone.
- `egoschema@5031` is scored by its authors' server: see [pool](concepts.md#pool).
- `mlvu` is scored by M-Avg, the mean of its seven tasks' accuracies. Its two free-text tasks (`mlvu-generation`) are
  scored by text metrics, which are not its judge's figure.
- `cgbench` adds the share of clue intervals in which a frame was seen (`evidence_seen`), and the accuracy on questions
  with and without such a frame (`accuracy_evidence_seen`, `accuracy_evidence_unseen`).
- `videomme` adds the figure of the benchmark's own scorer for written replies, and the items where it differs.
- Tasks with subtitles (`videomme@test-subtitles`, `longvideobench@val-subtitles`) refuse models that don't say that
  they read them (`reads_subtitles`). The [aggregator](aggregators.md#caption-files) does with `-M subtitles=all`.
"""
VERBS = ("prepare", "plan", "run", "score", "import", "report")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield f"| {' | '.join(header)} |"
    yield "|---" * len(header) + "|"
    for row in rows:
        yield f"| {' | '.join(' '.join(cell.replace('|', ' or ').split()) for cell in row)} |"
    yield ""


def page(title: str, opening: str, command: str, body: Iterable[str]) -> str:
    """A page that opens with what it is for and a command."""
    head = (GENERATED, "", f"# {title}", "", opening, "", "```sh", command, "```", "")
    return "\n".join([*head, *body]).rstrip() + "\n"


# --- The command line -----------------------------------------------------------------------------------


def cli_page() -> str:
    """Every command with its arguments and options."""
    from evals.cli import added_commands, app, command_of

    root = typer.main.get_command(app)
    body = [
        "Every command has `--help` with an example. Errors a user can act on are one line on standard error and exit",
        "code 2. An interrupted run (Ctrl-C, SIGTERM, SIGHUP) exits with 130, one with failed items with 1.",
        "",
        "`python -m evals.egoschema …` is the same as `longvid egoschema …`.",
        "",
        "## Options of longvid itself",
        "",
        *options_of(root, "longvid"),
        "## Verbs on a benchmark",
        "",
        "`longvid VERB BENCHMARK@POOL …` and `longvid BENCHMARK VERB --pool POOL …` are the same; without a pool the",
        "first one is taken. BENCHMARK is a name that [benchmarks](benchmarks.md) lists or a",
        "[folder of your own](your-benchmark.md). The options are those of EgoSchema's group; kitchen's `prepare`",
        "makes its videos and has `--data` and `--pool` alone.",
        "",
    ]  # fmt: skip
    group = command_of("egoschema")
    for verb in VERBS:
        body += described(group.commands[verb], f"longvid egoschema {verb}")
    body += ["## EgoSchema's own verbs", ""]
    for verb in [name for name in group.commands if name not in VERBS]:
        body += described(group.commands[verb], f"longvid egoschema {verb}")
    body += ["## All other commands", ""]
    for entry in added_commands():
        if entry.forwards:
            continue
        command = command_of(entry.name)
        body += described(command, f"longvid {entry.name}")
        for name, inner in getattr(command, "commands", {}).items():
            body += described(inner, f"longvid {entry.name} {name}")
    return page(
        "Command line", "This page is for looking up a command's options. The same text is in the terminal:",
        "longvid --help\nlongvid run --help", body,
    )  # fmt: skip


def described(command: Any, name: str) -> Iterator[str]:  # noqa: ANN401 - typer's classes have no common public name
    """A command: its help, its arguments and options, its example."""
    yield f"### {name}"
    yield ""
    yield plain(command.help or "")
    yield ""
    if hasattr(command, "commands"):
        return
    yield from options_of(command, name)
    if command.epilog:
        yield from (f"Example: `{command.epilog.removeprefix('Example: ')}`", "")


def options_of(command: Any, name: str) -> Iterator[str]:  # noqa: ANN401
    """A table of a command's arguments and options."""
    context = command.make_context(name, [], resilient_parsing=True)
    skipped = ("help", "install_completion", "show_completion")
    rows = []
    for parameter in command.get_params(context):
        if parameter.name in skipped or (record := parameter.get_help_record(context)) is None:
            continue
        rows.append((f"`{record[0].replace('|', '/')}`", plain(record[1])))
    if rows:
        yield from table(("argument or option", "meaning"), rows)


def plain(text: str) -> str:
    """Help as Markdown: one paragraph a blank line, and nothing that reads as markup."""
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    return "\n\n".join(paragraphs).replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


# --- Models and benchmarks ------------------------------------------------------------------------------


def models_page() -> str:
    """Every model that ships, and its options."""
    from baselines.llm.load import KINDS
    from tasks.registry import SYSTEM_TITLES, ModelEntry, models, resolved

    entries = list(models().entries.values())
    body = []
    for system, title in SYSTEM_TITLES.items():
        found = [entry for entry in entries if entry.system == system]
        if found:
            name, _, meaning = title.partition(": ")
            body += [f"## {name.capitalize()}", "", *([f"{meaning.capitalize()}.", ""] if meaning else [])]
            rows = [(f"`{e.name}`", e.summary, ", ".join(e.families)) for e in found]
            body += table(("model", "what it is", "families"), rows)
    body += ["## Language models", "", "For every model with the option `llm`: `-M llm=…`", ""]
    body += table(("llm", "what it is"), [(f"`{kind.form}`", kind.summary) for kind in KINDS])
    body += [
        "## Options",
        "",
        "Given as `-M KEY=VALUE`, once for each. Models with the same options stand together.",
        "",
    ]
    alike: dict[object, list[ModelEntry]] = {}
    for entry in entries:
        alike.setdefault(resolved(entry.options), []).append(entry)
    for group in alike.values():
        body += model_options(group)
    return page(
        "Models", "This page is for choosing a model and looking up its options. The same text is in the terminal:",
        "longvid models\nlongvid models aggregator", body,
    )  # fmt: skip


def model_options(entries: Sequence[Any]) -> Iterator[str]:
    """The options that some models have in common."""
    from tasks.registry import option_help

    yield f"### {', '.join(entry.name for entry in entries)}"
    yield ""
    if entries[0].example:
        yield from (f"Example: `-m {entries[0].name} {entries[0].example}`", "")
    rows = [
        (
            f"`{row.name}`" + (f" (within `{row.within}`)" if row.within else ""),
            row.kind,
            "" if row.default in ("", "required") else f"`{row.default}`",
            ("**required**: " if row.default == "required" else "") + plain(row.help),
        )
        for row in option_help(entries[0].name)
    ]
    if rows:
        yield from table(("option", "value", "default", "meaning"), rows)
    else:
        yield from ("No options.", "")


def benchmarks_page() -> str:
    """Every benchmark that ships, its pools, and where its files come from."""
    from tasks.registry import benchmarks

    entries = list(benchmarks().entries.values())
    body = [
        "A data file is looked for in `--data` if that is given, else in `$LONGVID_DATA`, `./data` and",
        "`../shared/data`. The name behind the `@` is the pool; without one the first pool is taken.",
        "",
        *table(
            ("benchmark", "what is asked", "pools"),
            [(f"[{e.name}](#{e.name})", e.title, ", ".join(e.pools)) for e in entries],
        ),
        *PARTICULAR.splitlines(),
        "",
        "## Where the files come from",
        "",
    ]
    for entry in entries:
        body += where_from(entry)
    return page(
        "Benchmarks",
        "This page is for which benchmarks there are and how to get their files. What lies on this machine:",
        "longvid benchmarks",
        body,
    )


def where_from(entry: Any) -> Iterator[str]:  # noqa: ANN401 - tasks.registry.Benchmark, imported when asked for
    """A benchmark's files: made, fetched or the user's to get."""
    folder = f"data/{entry.data_folder}"
    yield f"### {entry.name}"
    yield ""
    yield f"{entry.title}. Tasks: {', '.join(f'`{name}`' for name in entry.names().values())}."
    yield ""
    if entry.generated:
        yield f"Made on this machine, by code in `tasks/kitchen/`: `longvid prepare {entry.name}`."
    elif entry.files:
        yield f"`longvid prepare {entry.name}` fetches these files and checks them against pinned digests:"
        yield ""
        yield from (f"- `{folder}/{file.name}`, from <{file.url}>" for file in entry.files)
    else:
        yield f"One of these files shows that its data are there: {', '.join(f'`{name}`' for name in entry.needs)}."
    yield ""
    if not entry.generated:
        yield re.sub(r"(https?://[^\s()]*[\w/])", r"<\1>", entry.videos.format(folder=folder).replace("<", "&lt;"))
        yield ""


# --- Python ---------------------------------------------------------------------------------------------


def python_page() -> str:
    """What `import longvid` offers, from the docstrings."""
    import longvid

    titles: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
        {
            "Functions": inspect.isfunction,
            "What a model can do": lambda found: bool(getattr(found, "_is_protocol", False)),
            "Errors": lambda found: inspect.isclass(found) and issubclass(found, Exception),
            "Records and requests": inspect.isclass,
        }
    )
    left = {name: getattr(longvid, name) for name in longvid.__all__}
    body: list[str] = []
    for title, belongs in titles.items():
        body += [f"## {title}", ""]
        for name in [name for name, found in left.items() if belongs(found)]:
            body += documented(name, left.pop(name))
    return page(
        "Python API", "This page is for looking up what `import longvid` offers. In an interpreter, the same text is:",
        'python -c "import longvid; help(longvid.evaluate)"', body,
    )  # fmt: skip


def documented(name: str, found: Any) -> Iterator[str]:  # noqa: ANN401 - any public object
    """A public name: its signature, its docstring, its methods."""
    yield f"### longvid.{name}"
    yield ""
    if inspect.isfunction(found) or (dataclasses.is_dataclass(found) and isinstance(found, type)):
        yield from ("```text", *signature(name, found), "```", "")
    yield from from_docstring(inspect.getdoc(found) or "")
    if isinstance(found, type) and issubclass(found, StrEnum):
        yield from (f"Values: {', '.join(f'`{value}`' for value in found)}.", "")
    elif isinstance(found, type) and not issubclass(found, Exception):
        for method, of in vars(found).items():
            yield from member(method, of)


def member(name: str, of: Any) -> Iterator[str]:  # noqa: ANN401
    """A public method or property with its docstring."""
    if name.startswith("_"):
        return
    if inspect.isfunction(of):
        title = f"{name}{unquoted(inspect.signature(of))}"
    elif isinstance(of, property) or type(of).__name__ == "cached_property":
        of = of.fget if isinstance(of, property) else of.func
        title = f"{name}: {inspect.signature(of).return_annotation}"
    else:
        return
    text = " ".join((inspect.getdoc(of) or "").split())
    title = " ".join(title.replace("self, ", "").replace("(self)", "()").split())
    yield from (f"`{title}`", "", *([text, ""] if text else []))


def signature(name: str, found: Any) -> list[str]:  # noqa: ANN401
    """A signature, a line for each parameter where it is long."""
    told = inspect.signature(found)
    whole = f"{name}{unquoted(told)}".removesuffix(" -> None")
    if len(whole) <= 100:
        return [whole]
    lines, is_keyword = [f"{name}("], False
    for parameter in told.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not is_keyword:
            lines.append("    *,")
        is_keyword |= parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        lines.append(f"    {unquoted(parameter)},")
    return [*lines, whole[whole.rindex(")") :]]


def unquoted(told: inspect.Signature | inspect.Parameter) -> str:
    """A signature whose annotations are not in quotation marks."""
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(told))


def from_docstring(text: str) -> Iterator[str]:
    """A Google-style docstring as Markdown: its sections as lists."""
    for paragraph in text.split("\n\n"):
        first, *rest = paragraph.splitlines()
        if first in ("Args:", "Raises:", "Attributes:"):
            yield from (f"**{first}**", "", *bullets(rest), "")
        elif first == "Returns:":
            yield from (f"**{first}** {' '.join(' '.join(rest).split())}", "")
        else:
            yield from (" ".join(paragraph.split()), "")


def bullets(lines: Sequence[str]) -> list[str]:
    """The entries of a docstring's section; what is set in further goes on with the entry before it."""
    entries: list[str] = []
    for line in lines:
        if line.startswith(" " * 8):
            entries[-1] += f" {line.strip()}"
        else:
            name, _, meaning = line.strip().partition(": ")
            entries.append(f"- `{name}`: {meaning}")
    return entries


PAGES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "cli.md": cli_page,
        "models.md": models_page,
        "benchmarks.md": benchmarks_page,
        "python-api.md": python_page,
    }
)
"""The pages that follow from the code, and what writes them."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def pages(context: typer.Context) -> None:
    """Write the pages that follow from the code."""
    if context.invoked_subcommand is None:
        for name, write in PAGES.items():
            (DOCS / name).write_text(write(), encoding="utf-8")


@app.command()
def picture(
    runs: Annotated[list[Path], typer.Argument(help="Runs of one task, each a system's answers.")],
    item: Annotated[str, typer.Option(help="The question's id.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture, a .png file.")],
    seconds: Annotated[str, typer.Option(help="When the frames are taken, separated by commas; default: evenly.")] = "",
    data: Annotated[Path | None, typer.Option(help="Data root.")] = None,
) -> None:
    """Draw a question with frames of its video and what each system answered."""
    from evals.evaluate import task_of
    from evals.store import read_run, read_samples

    records = [read_run(folder) for folder in runs]
    question = next(found for found in task_of(records[0].task.name, data).items() if found.id == item)
    chosen = {record.name: read_samples(folder)[item].answer for record, folder in zip(records, runs, strict=True)}
    draw(question, chosen, [float(second) for second in seconds.split(",") if second], out)


def draw(question: Any, chosen: Mapping[str, int | str | None], seconds: Sequence[float], out: Path) -> None:  # noqa: ANN401
    """A strip of frames above the question, its options, and a column of answers for each system."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from PIL import Image

    clip = question.clip
    times = seconds or [clip.start + clip.duration * (place + 0.5) / 8 for place in range(8)]
    figure = plt.figure(figsize=(11, 4.3), dpi=110, facecolor="white")
    for place, second in enumerate(times):
        axes = figure.add_axes((0.02 + place * 0.96 / len(times), 0.60, 0.96 / len(times) - 0.008, 0.38))
        axes.imshow(frame_at(clip, second))
        axes.set_axis_off()
        axes.set_title(f"{int(second) // 60}:{int(second) % 60:02d}", y=-0.20, fontsize=10, color="#555555")
    figure.text(0.02, 0.525, question.question, fontsize=14, weight="bold", va="center")
    columns = {name: 0.98 - (len(chosen) - 1 - place) * 0.17 for place, name in enumerate(chosen)}
    for name, x in columns.items():
        figure.text(x, 0.445, name, fontsize=11, ha="right", va="center", color="#555555")
    for row, option in enumerate(question.options):
        y, is_right = 0.37 - row * 0.075, row == question.answer
        weight = "bold" if is_right else "normal"
        figure.text(0.02, y, f"{'ABCDEFGHIJ'[row]}. {option}", fontsize=9.5, va="center", weight=weight)
        for name, x in columns.items():
            if chosen[name] == row:
                said, colour = ("right", "#1a7f37") if is_right else ("wrong", "#b42318")
                figure.text(x, y, f"● {said}", fontsize=12, ha="right", va="center", color=colour, weight="bold")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    plt.close(figure)
    # Few colours are in it: a palette makes the file a third as large.
    with Image.open(out) as drawn:
        drawn.convert("RGB").quantize(128).save(out, optimize=True)


def frame_at(clip: Any, second: float) -> Any:  # noqa: ANN401 - a Clip, and pixels
    """The frame on screen at a time of the video."""
    from dataclasses import replace

    from longvid import frames

    return frames(replace(clip, start=second, end=second + 0.04), count=1, size=None)[0]


if __name__ == "__main__":
    app()
