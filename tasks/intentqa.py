"""IntentQA (Li et al. 2023): 5-way questions about people's intentions, on videos of NExT-QA.

Pools: `intentqa@test` (2,134 questions), a subset of 500 (our choice, for slow models) and `intentqa@val`. The authors
count answers by type: CW (why), CH (how) and TP&TN (before and after).
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from tasks.multiple_choice import MultipleChoiceTask
from tasks.nextqa import GROUP, TYPE, VIDEOS, Question, choice_item, known_type, video_places
from tasks.published import Published, SecondsOf, Videos, entries, official_file, sample_of, unique
from tasks.registry import Benchmark, RemoteFile

TEST, VAL, SAMPLED = "test", "val", "test-500"
BEFORE_AND_NEXT = "TP&TN"
PUBLISHED = Published(
    name="intentqa",
    source="https://github.com/JoseponLee/IntentQA",
    licence="none stated; the questions are derived from NExT-QA's (MIT); videos are their uploaders' on Flickr",
    citation="Li, Wei, Han, Fan: IntentQA: Context-aware Video Intent Reasoning, ICCV 2023",
    cluster="VidOR video",
    item_sets=MappingProxyType(
        {
            "test": (2134, "ebae3995dc3d9b6917e1f0da17e7490ee55c344fe61289078c81432ae7f5f2a7"),
            "test-500": (500, "0ce7c2deac12699d656f9131d6d17b5ff9c1b9e6fee5a582f80e472ea4cf67a0"),
            "val": (2044, "1d3e16ac75479cb01424c254b9702e76122da1213b2698f32a60f163726432af"),
        }
    ),
)


class Row(Question):
    """A line of IntentQA's files; it also has the action and its lemma."""

    video_id: str


def load_intentqa(folder: Path, pool: str = TEST, seconds_of: SecondsOf | None = None) -> MultipleChoiceTask:
    """Build a pool from the official files in `folder`; videos lie as NExT-QA's do.

    Raises DataError if a file is missing or damaged, or the items are not the official ones.
    """
    path = official_file(folder, "intentqa", f"{pool.partition('-')[0]}.csv")
    videos, places = Videos(folder, seconds_of), video_places(folder)
    items = []
    for where, row in entries(path, Row, "intentqa"):
        kind = known_type(row, where)
        labels = {GROUP: kind[0], TYPE: BEFORE_AND_NEXT if kind == "TN" else kind}
        items.append(choice_item(videos, where, row, row["video_id"], labels, places))
    unique(items, path)
    return PUBLISHED.task(pool, sample_of(items) if pool == SAMPLED else items)


SOURCE = "https://raw.githubusercontent.com/JoseponLee/IntentQA/main/datasets/IntentQA"
BENCHMARK = Benchmark(
    name="intentqa",
    title="IntentQA: 5-way questions about people's intentions in short videos",
    pools=(TEST, SAMPLED, VAL),
    load=load_intentqa,
    files=(
        RemoteFile(
            "test.csv", f"{SOURCE}/test.csv", "f1763e58b18750dd8447d9a87a8dbc750eff8cb4868b5082e4199391beb2b716"
        ),
        RemoteFile("val.csv", f"{SOURCE}/val.csv", "b2c2d2aa80cd64f0ec50082fab2fcdfae083fa41ad1ba52ce270acaaaf13ba6f"),
    ),
    videos=VIDEOS,
    everything=TEST,
    measures=True,
)
