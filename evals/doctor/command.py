"""`longvid doctor`: what this machine can run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evals import console


def doctor(
    data: Annotated[
        Path | None, typer.Option(help="Data root; default: $LONGVID_DATA, ./data, ../shared/data.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="An OpenAI-compatible server; default: $OPENAI_BASE_URL.")
    ] = None,
    network: Annotated[
        bool, typer.Option(help="Check for a few seconds whether the hub and the server answer.")
    ] = True,
    videos: Annotated[int, typer.Option(min=0, help="Videos of each benchmark to try decoding.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Report what this machine can run: packages, device, models, programs, network, disk space, data and videos."""
    from dataclasses import asdict
    from json import dumps

    from evals.doctor.examine import examine

    checks = examine(data, network=network, server=server, videos=videos)
    if json:
        console.emit(dumps([asdict(check) for check in checks], indent=2))
        return
    console.show_table(
        "",
        ("what", "", "found"),
        [(c.what, "ok" if c.ok else "–" if c.optional else "MISSING", c.found) for c in checks],
    )
    if any(not check.ok and not check.optional for check in checks):
        raise typer.Exit(1)
