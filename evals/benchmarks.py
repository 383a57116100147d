"""The benchmarks by name: their pools, their official files, how they are loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tasks.errors import DataError

DATA_VARIABLE = "LONGVID_DATA"
OWN_TASKS = "own-"
"""How the names of tasks begin that are made of a user's own questions (tasks.own_questions)."""
DEFAULT_ROOTS = (Path("data"), Path("../shared/data"))


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An official file: its name in the local folder, where it is published, and its SHA-256."""

    name: str
    url: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Generated:
    """How a benchmark is made: `generate` is `module:function` of (folder, places of the videos in the split).

    `videos` are those places by pool; the file `marker` is there once it is made.
    """

    generate: str
    videos: Mapping[str, range]
    marker: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What the shared verbs need to know of a benchmark. `load` is `module:function` of (folder, pool).

    Where predictions are choices, `everything` (the last pool if empty) holds all other pools' items. `generated`
    stands for `files` where the benchmark is made, not fetched. `folder` under the data root and `task_names` (by
    pool) are the benchmark's own name, and `<name>@<pool>`, where nothing else is said. `video_url` is where the video
    with an `{id}` is shown, `video_archive` where all can be fetched without an account, and `video_gigabytes` their
    published size (0: not published). `example` are arguments of `run` and `plan`,
    `run_example` further ones of `run` alone.
    """

    name: str
    title: str
    pools: tuple[str, ...]
    load: str
    files: tuple[RemoteFile, ...]
    videos: str
    folder: str = ""
    task_names: tuple[str, ...] = ()
    video_url: str = ""
    video_gigabytes: float = 0.0
    video_archive: str = ""
    example: str = "--model aggregator -M captions=FILE -M llm=smollm2 -M route=letter-logprob"
    run_example: str = ""
    everything: str = ""
    generated: Generated | None = None

    @property
    def data_folder(self) -> str:
        """The name of its folder under a data root."""
        return self.folder or self.name

    @property
    def marker(self) -> str:
        """A file whose presence shows that the data are in place."""
        return self.generated.marker if self.generated else self.files[0].name

    @property
    def widest_pool(self) -> str:
        """The pool that holds all of the others' items."""
        return self.everything or self.pools[-1]

    @property
    def predictions(self) -> str:
        """A name for a file of predictions made elsewhere, with the suffix that its family takes."""
        family = self.name.rpartition("-")[2]
        return {"retrieval": "vectors.npz", "captioning": "texts.json", "summary": "texts.json"}.get(
            family, "choices.csv"
        )

    def names(self) -> dict[str, str]:
        """Task names by pool."""
        return dict(zip(self.pools, self.task_names or tuple(f"{self.name}@{p}" for p in self.pools), strict=True))

    def pool_of(self, task_name: str) -> str | None:
        """The pool that a task's name stands for, None for another benchmark's."""
        return next((pool for pool, name in self.names().items() if name == task_name), None)


YOUCOOK2_FILES = (
    RemoteFile(
        "youcookii_annotations_trainval.json",
        "http://youcook2.eecs.umich.edu/static/YouCookII/youcookii_annotations_trainval.tar.gz",
        "6be6f3cdcf4448b4bdef27a869fadddfddeb9b20249d55558afabe354b246e80",
    ),
    RemoteFile(
        "validation_youcook.csv",
        "https://raw.githubusercontent.com/antoine77340/MIL-NCE_HowTo100M/master/csv/validation_youcook.csv",
        "57d6bdea77c70114cbfad5b057e9500173f14b1c3a0f9c51bd1a716cd504cac1",
    ),
)
# Of the standard pool's authors (MIL-NCE); the benchmark's own authors only list YouTube ids.
YOUCOOK2_ARCHIVE = "https://www.rocq.inria.fr/cluster-willow/amiech/Youcook2_val.zip"
YOUCOOK2_VIDEOS = (
    "Videos (needed by encoders and captioners, not by models that read transcripts) are on YouTube. "
    f"--videos fetches those of {YOUCOOK2_ARCHIVE}, --mirror those of a folder, another .zip or a hub data set; "
    "or put them into {folder}/videos/<id>.mp4 (or .mkv, .mov …). Videos that are gone make a run partial, and it "
    "names them."
)


def youcook2(
    name: str, title: str, load: str, tasks: Mapping[str, str], example: str, run_example: str = ""
) -> Benchmark:
    """One of YouCook2's command groups; `tasks` are task names by pool."""
    return Benchmark(
        name=name,
        title=title,
        pools=tuple(tasks),
        load=load,
        files=YOUCOOK2_FILES,
        videos=YOUCOOK2_VIDEOS,
        folder="youcook2",
        task_names=tuple(tasks.values()),
        video_url="https://www.youtube.com/watch?v={id}",
        video_archive=YOUCOOK2_ARCHIVE,
        example=example,
        run_example=run_example,
    )


def kitchen(name: str, title: str, load: str, tasks: Mapping[str, tuple[str, range]], example: str) -> Benchmark:
    """One of kitchen's command groups; `tasks` are task names and videos by pool."""
    return Benchmark(
        name=name,
        title=title,
        pools=tuple(tasks),
        load=load,
        files=(),
        videos="The videos are in {folder}/videos, their annotations beside them.",
        folder="kitchen/test",
        video_gigabytes=0.04,
        task_names=tuple(task for task, _ in tasks.values()),
        example=example,
        everything=next(iter(tasks)),
        generated=Generated(
            "tasks.kitchen.files:generate", {pool: videos for pool, (_, videos) in tasks.items()}, "annotations.json"
        ),
    )


EGOSCHEMA_SOURCE = "https://raw.githubusercontent.com/egoschema/EgoSchema/main"
BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        "egoschema": Benchmark(
            name="egoschema",
            title="EgoSchema: 5-way questions about 3-minute egocentric videos",
            pools=("500", "5031"),
            load="tasks.egoschema:load_egoschema",
            files=(
                RemoteFile(
                    "questions.json",
                    f"{EGOSCHEMA_SOURCE}/questions.json",
                    "92c61d06c026455ce5320fa1fcc6cf43b77d874b708076f6b87abfef6fcb08a8",
                ),
                RemoteFile(
                    "subset_answers.json",
                    f"{EGOSCHEMA_SOURCE}/subset_answers.json",
                    "a38d0aefcf8bcd5fb8888c7598b4550dc9ac6f6ad11cb2e1eae7b93e4c72468d",
                ),
                RemoteFile(
                    "uid_to_ego4d.json",
                    f"{EGOSCHEMA_SOURCE}/uid_to_ego4d.json",
                    "b6aa6b7b5e77863fa1ec725df8646ccb7915bdfe5f053991ba55d610b23e78a6",
                ),
            ),
            videos=(
                "Videos (needed by encoders and captioners, not by models that read captions) are the authors' "
                "to give: accept the Ego4D licence, download the clips as described at https://egoschema.github.io "
                "(about 100 GB) and put them into {folder}/videos/<q_uid>.mp4, or name a folder, a .zip or a hub data "
                "set that has them with --mirror"
            ),
            video_gigabytes=100.0,
        ),
        "kitchen-qa": kitchen(
            "kitchen-qa",
            "Kitchen: 5-way questions about generated cooking videos of 2 to 5 minutes",
            "tasks.kitchen.benchmark:load_qa",
            {"500": ("kitchen-qa@500", range(100)), "100": ("kitchen-qa@100", range(0, 100, 5))},
            "--model blind -M llm=smollm2",
        ),
        "kitchen-retrieval": kitchen(
            "kitchen-retrieval",
            "Kitchen: find the whole video of a paragraph or the clip of a sentence, and their texts",
            "tasks.kitchen.benchmark:load_retrieval",
            {
                "video-100": ("kitchen-video-retrieval@100", range(100)),
                "video-20": ("kitchen-video-retrieval@20", range(20)),
                "clip-200": ("kitchen-clip-retrieval@200", range(100)),
            },
            "--model longvivit-tiny -M weights=kitchen",
        ),
        "kitchen-captioning": kitchen(
            "kitchen-captioning",
            "Kitchen: a sentence for each step of a cooking video",
            "tasks.kitchen.benchmark:load_clip_captioning",
            {"464": ("kitchen-clip-captioning@464", range(100)), "91": ("kitchen-clip-captioning@91", range(20))},
            "--model word-salad",
        ),
        "kitchen-summary": kitchen(
            "kitchen-summary",
            "Kitchen: one paragraph for a whole cooking video",
            "tasks.kitchen.benchmark:load_summary",
            {"100": ("kitchen-summary@100", range(100)), "10": ("kitchen-summary@10", range(0, 100, 10))},
            "--model word-salad",
        ),
        "youcook2-retrieval": youcook2(
            "youcook2-retrieval",
            "YouCook2: find the clip or the whole video of a text, and the text of a video",
            "tasks.youcook2:load_retrieval",
            {
                "clip-3350": "youcook2-clip-retrieval@3350",
                "clip-3492": "youcook2-clip-retrieval@3492",
                "video-457": "youcook2-video-retrieval@457",
            },
            "--pool video-457 --model bm25 -M captions=asr_transcripts.json",
            "--max-failures 55",
        ),
        "youcook2-captioning": youcook2(
            "youcook2-captioning",
            "YouCook2: a sentence for each step of a cooking video",
            "tasks.youcook2:load_clip_captioning",
            {"3492": "youcook2-clip-captioning@3492"},
            "--model word-salad",
        ),
        "youcook2-summary": youcook2(
            "youcook2-summary",
            "YouCook2: one paragraph for a whole cooking video",
            "tasks.youcook2:load_summary",
            {"457": "youcook2-summary@457"},
            "--model aggregator -M captions=asr_transcripts.json -M prompt=transcript.v1",
            "--max-failures 55",
        ),
    }
)


def benchmark_folder(benchmark: Benchmark, data: Path | None) -> Path:
    """The benchmark's folder under the data root: --data, $LONGVID_DATA, ./data or ../shared/data.

    Raises DataError that says where was looked and how to fetch the files.
    """
    given = data or (Path(value) if (value := os.environ.get(DATA_VARIABLE)) else None)
    roots = (given,) if given else DEFAULT_ROOTS
    for root in roots:
        folder = root / benchmark.data_folder
        if (folder / benchmark.marker).is_file():
            return folder
    looked = ", ".join(str(root / benchmark.data_folder) for root in roots)
    msg = (
        f"no {benchmark.name} files in {looked}: run 'longvid {benchmark.name} prepare', or name a folder with "
        f"--data or {DATA_VARIABLE}"
    )
    raise DataError(msg)


def benchmark_of(task_name: str) -> str:
    """The command of a task's name; the name without its pool where there is none."""
    if task_name.startswith(OWN_TASKS):
        return "ask"
    return next((b.name for b in BENCHMARKS.values() if b.pool_of(task_name)), task_name.partition("@")[0])
