"""The benchmarks by name: their pools, their official files, how they are loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tasks.errors import DataError

DATA_VARIABLE = "LONGVID_DATA"
DEFAULT_ROOTS = (Path("data"), Path("../shared/data"))


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An official file: its name in the local folder, where it is published, and its SHA-256."""

    name: str
    url: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What the shared verbs need to know of a benchmark. `load` is `module:function` of (folder, pool).

    Pools run from small to large; the last holds all of the others' items.
    """

    name: str
    title: str
    pools: tuple[str, ...]
    load: str
    files: tuple[RemoteFile, ...]
    videos: str


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
                "(about 100 GB) and put them into {folder}/videos/<q_uid>.mp4"
            ),
        )
    }
)


def benchmark_folder(benchmark: Benchmark, data: Path | None) -> Path:
    """The benchmark's folder under the data root: --data, $LONGVID_DATA, ./data or ../shared/data.

    Raises DataError that says where was looked and how to fetch the files.
    """
    given = data or (Path(value) if (value := os.environ.get(DATA_VARIABLE)) else None)
    roots = (given,) if given else DEFAULT_ROOTS
    for root in roots:
        folder = root / benchmark.name
        if (folder / benchmark.files[0].name).is_file():
            return folder
    looked = ", ".join(str(root / benchmark.name) for root in roots)
    msg = (
        f"no {benchmark.name} files in {looked}: run 'longvid {benchmark.name} prepare', or name a folder with "
        f"--data or {DATA_VARIABLE}"
    )
    raise DataError(msg)
