"""The `longvid` command: one group per benchmark, the same verbs in each, and a few commands of its own."""

from __future__ import annotations

if __name__ == "__main__":
    from evals.signals import end_quietly_while_loading

    end_quietly_while_loading()

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from evals import console
from evals.ask import EXAMPLE as ASK_EXAMPLE
from evals.ask import ask
from evals.bench.command import app as bench
from evals.caption import caption
from evals.compare.command import compare
from evals.demo.command import EXAMPLE as DEMO_EXAMPLE
from evals.demo.command import demo
from evals.egoschema import app as egoschema
from evals.embed import embed
from evals.kitchen_captioning import app as kitchen_captioning
from evals.kitchen_qa import app as kitchen_qa
from evals.kitchen_retrieval import app as kitchen_retrieval
from evals.kitchen_split import kitchen_annotations, kitchen_videos
from evals.kitchen_summary import app as kitchen_summary
from evals.leaderboard.command import leaderboard
from evals.metrics import app as metrics
from evals.pretrain import EXAMPLE as PRETRAIN_EXAMPLE
from evals.pretrain import pretrain
from evals.runs import runs
from evals.ship import EXAMPLE as SHIP_EXAMPLE
from evals.ship import ship
from evals.signals import INTERRUPTED, as_interrupts, is_unhandled_interrupt
from evals.study import app as study
from evals.train_aggregator import EXAMPLE as TRAIN_AGGREGATOR_EXAMPLE
from evals.train_aggregator import train_aggregator
from evals.youcook2_captioning import app as youcook2_captioning
from evals.youcook2_retrieval import app as youcook2_retrieval
from evals.youcook2_summary import app as youcook2_summary
from tasks.errors import LongvidError

USER_ERROR = 2
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
"""By the name a package is imported by, the extra that installs it."""
app = typer.Typer(
    name="longvid",
    help="Evaluate long-video understanding: no number without its floor, its interval, its protocol and its cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Example: [bold]longvid egoschema run --model blind -M llm=smollm2 --limit 20[/]",
)
app.add_typer(egoschema, name="egoschema")
app.add_typer(youcook2_retrieval, name="youcook2-retrieval")
app.add_typer(youcook2_captioning, name="youcook2-captioning")
app.add_typer(youcook2_summary, name="youcook2-summary")
app.add_typer(kitchen_qa, name="kitchen-qa")
app.add_typer(kitchen_retrieval, name="kitchen-retrieval")
app.add_typer(kitchen_captioning, name="kitchen-captioning")
app.add_typer(kitchen_summary, name="kitchen-summary")
app.add_typer(metrics, name="metrics")
app.add_typer(bench, name="bench")
app.add_typer(study, name="study")
app.command(epilog=ASK_EXAMPLE)(ask)
app.command(epilog="Example: longvid embed videos -m openclip -M name=ViT-B-16 -M pretrained=openai -o v.parquet")(
    embed
)
app.command(epilog="Example: longvid runs runs")(runs)
app.command(epilog="Example: longvid compare runs/aggregator runs/blind")(compare)
app.command(epilog="Example: longvid leaderboard runs -o leaderboard.json")(leaderboard)
app.command(epilog=DEMO_EXAMPLE)(demo)
app.command(epilog=PRETRAIN_EXAMPLE)(pretrain)
app.command(epilog="Example: longvid kitchen-annotations --split train --videos 400 -o train.json")(kitchen_annotations)
app.command(epilog="Example: longvid kitchen-videos --split train --videos 200 -o runs/train")(kitchen_videos)
app.command(epilog=TRAIN_AGGREGATOR_EXAMPLE)(train_aggregator)
app.command(epilog=SHIP_EXAMPLE)(ship)
app.command(epilog="Example: longvid caption videos -m coca -M name=coca_ViT-L-14 -M pretrained=TAG -o captions.jsonl")(
    caption
)


@app.command(epilog="Example: longvid models aggregator")
def models(
    name: Annotated[str | None, typer.Argument(help="Show one model's options only.")] = None,
) -> None:
    """List the models and their -M options."""
    from evals.models import MODELS, option_help, spec_of

    if name is None:
        console.show_table(
            "models (-m …)", ("name", "what it is"), [(key, spec.summary) for key, spec in MODELS.items()]
        )
    for model in [name] if name else first_of_each_kind():
        console.show_table(
            f"-M options of {model}" + (", and the other sizes and families" if spec_of(model).preset else ""),
            ("option", "type", "default", "meaning"),
            [(row.name, row.kind, row.default, row.help) for row in option_help(model)],
        )
    if name is None:
        from baselines.llm.load import KINDS

        console.show_table(
            "language models (-M llm=…)", ("spec", "meaning"), [(kind.form, kind.summary) for kind in KINDS]
        )


def first_of_each_kind() -> list[str]:
    """A model for each kind of options."""
    from evals.models import MODELS

    first: dict[str, str] = {}
    for key, spec in MODELS.items():
        first.setdefault(spec.options, key)
    return list(first.values())


@app.command(epilog="Example: longvid doctor --server http://localhost:8000/v1")
def doctor(
    data: Annotated[
        Path | None, typer.Option(help="Data root; default: $LONGVID_DATA, ./data, ../shared/data.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="An OpenAI-compatible server; default: $OPENAI_BASE_URL.")
    ] = None,
    network: Annotated[bool, typer.Option(help="Ask whether hub and server answer, for a few seconds.")] = True,
    videos: Annotated[int, typer.Option(min=0, help="Videos of each benchmark to decode a little of.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what this machine can run: packages, device, models, programs, network, room, data and videos."""
    from dataclasses import asdict
    from json import dumps

    from evals.doctor.examine import examine

    checks = examine(data, network=network, server=server, videos=videos)
    if json:
        console.emit(dumps([asdict(check) for check in checks], indent=2))
        return
    console.show_table(
        "",
        ("", "what", "found"),
        [("ok" if c.ok else "–" if c.optional else "MISSING", c.what, c.found) for c in checks],
    )
    if any(not check.ok and not check.optional for check in checks):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; an error a user can act on is one line and exit code 2."""
    run_app(app)


def run_app(application: typer.Typer) -> None:
    """Run an application with the one boundary between exceptions and exit codes."""
    # Read when torch is loaded, later: threads that wait by spinning take the cores that decoders need.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    console.show_what_can_be_shown()
    with as_interrupts():
        try:
            application()
        except LongvidError as error:
            console.fail(str(error))
            sys.exit(USER_ERROR)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS:
                raise
            console.fail(f"this needs {package}: pip install 'longvid[{EXTRAS[package]}]'")
            sys.exit(USER_ERROR)
        except OSError as error:
            place = error.filename or "the output"
            console.fail(f"{place}: {error.strerror or error}")
            sys.exit(USER_ERROR)
        except (KeyboardInterrupt, SystemExit) as end:
            if not isinstance(end, KeyboardInterrupt) and not is_unhandled_interrupt(end):
                raise
            # A terminal that hung up takes no line any more.
            with suppress(OSError):
                console.fail("interrupted")
            sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
