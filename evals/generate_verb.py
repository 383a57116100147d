"""The verb `prepare` of benchmarks that are generated, not fetched."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evals import console
from evals.benchmarks import check_pool, load_task
from tasks.registry import Benchmark, Generated, resolved

if TYPE_CHECKING:
    from tasks.kitchen.files import Made


def make_all(folder: Path, videos: Iterable[Made], total: int) -> int:
    """Make videos, with progress, and return how many were new. An interrupt exits with 130."""
    made = 0
    try:
        with console.progress(f"videos in {folder}", total, 0) as tick:
            for video in videos:
                made += video.new
                tick(f"made {video.path.name}" if video.new else "already there")
    except KeyboardInterrupt:
        console.fail(f"interrupted; {made} finished videos are in {folder}, and the same command resumes")
        raise typer.Exit(130) from None
    return made


def add_generate(app: typer.Typer, benchmark: Benchmark, generated: Generated) -> None:
    """Add the verb to a benchmark's command group."""

    @app.command(epilog=f"Example: longvid {benchmark.name} prepare --pool {benchmark.pools[-1]}")
    def prepare(
        data: Annotated[Path, typer.Option("--data", help="Data root; files go into its own sub-folder.")] = Path(
            "data"
        ),
        pool: Annotated[str, typer.Option("--pool", help="Make the videos of this item set.")] = benchmark.pools[0],
    ) -> None:
        """Make the videos and annotations of a pool; the same command resumes an interrupted one."""
        check_pool(benchmark, pool)
        folder = data / benchmark.data_folder
        videos = generated.videos[pool]
        made = make_all(folder, resolved(generated.generate)(folder, videos), len(videos))
        task = load_task(benchmark, pool, data)
        console.say(
            f"{task.info.name}: {len(task.items())} items; {made} videos made, {len(videos) - made} already there"
        )
        console.say(benchmark.videos.format(folder=folder))
