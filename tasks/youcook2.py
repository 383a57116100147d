"""YouCook2 (Zhou et al. 2018): cooking videos of 2 to 13 minutes, each cut into steps with a sentence.

Pools are part of a task's name. `clip-retrieval@3350` is the standard pool: clips whose videos are not in HowTo100M.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tasks.captioning import CaptioningTask, CaptionItem, CaptionProtocol, TrainingText, captioning_digest
from tasks.errors import DataError
from tasks.files import csv_rows, read_text
from tasks.labels import length_label, position_label
from tasks.registry import Benchmark, RemoteFile
from tasks.retrieval import PRIMARY, RetrievalItem, RetrievalTask, retrieval_digest
from tasks.task import Clip, TaskInfo
from tasks.video_files import video_path
from tasks.youcook2_annotations import IDS_SHOWN, Segment, Video, read_annotations

ANNOTATIONS = "youcookii_annotations_trainval.json"
STANDARD_POOL = "validation_youcook.csv"
TEXT_COLUMNS = ("video_id", "start", "end", "text")
ITEM_SETS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "youcook2-clip-retrieval@3350": (3350, "b0739b8c9b63be2c8a692d655f051639d11f0b3a1ce7962373d661794886dbb3"),
        "youcook2-clip-retrieval@3492": (3492, "52d769bd86212cac4b7a06fe12c843f1982a7dd02b633abac21ab9f0a40ea8b9"),
        "youcook2-video-retrieval@457": (457, "519aacfad05bae36ec875e27eb6a2630499ff57affad9d25e05f22d3ed060714"),
        "youcook2-clip-captioning@3492": (3492, "2a34d41cba825ad77f5a5ad495d365a532b91e56cc19fcc2ab5e7027a9e6fecc"),
        "youcook2-summary@457": (457, "23d1150d333a7b6ba7467ee3e473f5ec0c72b0f31aa8e5dbce735be7ac324e50"),
    }
)
RETRIEVAL_TASKS: Mapping[str, str] = MappingProxyType(
    {
        "clip-3350": "youcook2-clip-retrieval@3350",
        "clip-3492": "youcook2-clip-retrieval@3492",
        "video-457": "youcook2-video-retrieval@457",
    }
)
CUISINES: Mapping[str, str] = MappingProxyType(
    {
        "1": "American and Mexican",
        "2": "European and Levantine",
        "3": "Chinese, Japanese and Korean",
        "4": "South and South-East Asian",
    }
)
CLIP_CAPTIONS = CaptionProtocol(
    "youcook2-caption.v1", 64, MappingProxyType({"micro": "micro", "macro": "macro", "paragraph": "paragraph"})
)
# There is one text and one reference paragraph per video: all of them are one corpus.
SUMMARIES = CaptionProtocol("youcook2-summary.v1", 160, MappingProxyType({"summary": "micro"}))


def task_info(name: str, family: str, primary: str, chance: float) -> TaskInfo:
    """Describe a pool, with the count and digest that its items must have."""
    count, digest = ITEM_SETS[name]
    return TaskInfo(
        name=name,
        family=family,
        version="1",
        item_count=count,
        items_sha256=digest,
        primary_metric=primary,
        chance=chance,
        cluster="YouCook2 video",
        source="http://youcook2.eecs.umich.edu",
        licence="MIT (annotations); videos are their uploaders' on YouTube",
        citation="Zhou, Xu, Corso: Towards Automatic Learning of Procedures from Web Instructional Videos, AAAI 2018",
    )


def load_retrieval(folder: Path, pool: str = "clip-3350") -> RetrievalTask:
    """Build a retrieval pool.

    Raises DataError for missing or damaged files, or if the items are not the official ones.
    """
    videos = validation(folder)
    name = RETRIEVAL_TASKS[pool]
    if pool == "video-457":
        items = [
            RetrievalItem(video.id, video.id, whole_clip(folder, video), video.paragraph, recipe_labels(video))
            for video in videos
        ]
    elif pool == "clip-3492":
        items = [clip_item(folder, video, segment) for video in videos for segment in video.segments]
    else:
        items = standard_pool(folder, videos)
    info = task_info(name, "retrieval", PRIMARY, 1 / ITEM_SETS[name][0])
    require_official(folder, info, len(items), retrieval_digest(items))
    return RetrievalTask(info, items)


def load_clip_captioning(folder: Path, pool: str = "3492") -> CaptioningTask:
    """Build the clip-captioning task; floors may use the training sentences. Raises DataError."""
    videos = read_annotations(folder / ANNOTATIONS)
    items = [
        CaptionItem(
            id=f"{video.id}:{segment.number}",
            cluster=video.id,
            clip=Clip(video.id, segment.start, segment.end, video_path(folder, video.id)),
            references=(segment.sentence,),
            label=video.recipe_type,
            labels=segment_labels(video, segment),
        )
        for video in of_subset(videos, "validation")
        for segment in video.segments
    ]
    info = task_info(f"youcook2-clip-captioning@{pool}", "captioning", "micro_cider_d", 0.0)
    require_official(folder, info, len(items), captioning_digest(items))
    return CaptioningTask(info, items, CLIP_CAPTIONS, training_texts(videos, "sentence"))


def load_summary(folder: Path, pool: str = "457") -> CaptioningTask:
    """Build the full-video summary task; floors may use the training paragraphs. Raises DataError."""
    videos = read_annotations(folder / ANNOTATIONS)
    items = [
        CaptionItem(
            id=video.id,
            cluster=video.id,
            clip=whole_clip(folder, video),
            references=(video.paragraph,),
            label=video.recipe_type,
            labels=recipe_labels(video),
        )
        for video in of_subset(videos, "validation")
    ]
    info = task_info(f"youcook2-summary@{pool}", "captioning", "summary_rouge_l", 0.0)
    require_official(folder, info, len(items), captioning_digest(items))
    return CaptioningTask(info, items, SUMMARIES, training_texts(videos, "paragraph"))


def require_official(folder: Path, info: TaskInfo, found: int, digest: str) -> None:
    """Raise DataError for items that are not the published ones."""
    if found != info.item_count or digest != info.items_sha256:
        msg = (
            f"{folder}: these are not the items of {info.name} (found {found}, expected {info.item_count}, or a text "
            f"or time differs); fetch the official files with 'longvid youcook2-retrieval prepare'"
        )
        raise DataError(msg)


def validation(folder: Path) -> list[Video]:
    """Return the validation videos, in the file's order."""
    return of_subset(read_annotations(folder / ANNOTATIONS), "validation")


def of_subset(videos: Sequence[Video], subset: str) -> list[Video]:
    """Return the videos of one published subset."""
    return [video for video in videos if video.subset == subset]


def training_texts(videos: Sequence[Video], unit: str) -> list[TrainingText]:
    """Return training texts with their recipe types: a `paragraph` per video, or every `sentence`."""
    training = of_subset(videos, "training")
    if unit == "paragraph":
        return [TrainingText(video.paragraph, video.recipe_type) for video in training]
    return [TrainingText(segment.sentence, video.recipe_type) for video in training for segment in video.segments]


def whole_clip(folder: Path, video: Video) -> Clip:
    """Return the whole video as a clip."""
    return Clip(video.id, 0.0, video.duration, video_path(folder, video.id))


def recipe_labels(video: Video) -> dict[str, str]:
    """Return the published recipe code, and the cuisine of its first digit (the names are ours)."""
    cuisine = CUISINES.get(video.recipe_type[:1])
    return {"recipe type": video.recipe_type} | ({"cuisine": cuisine} if cuisine else {})


def segment_labels(video: Video, segment: Segment) -> dict[str, str]:
    """Return the video's labels with the segment's position and the video's length."""
    position = position_label(segment.start, segment.end, video.duration)
    return recipe_labels(video) | {"position in the video": position, "whole video": length_label(video.duration)}


def clip_item(folder: Path, video: Video, segment: Segment, text: str | None = None) -> RetrievalItem:
    """Turn a segment into an item; `text` replaces its sentence."""
    clip = Clip(video.id, segment.start, segment.end, video_path(folder, video.id))
    return RetrievalItem(
        f"{video.id}:{segment.number}", video.id, clip, text or segment.sentence, segment_labels(video, segment)
    )


def standard_pool(folder: Path, videos: Sequence[Video]) -> list[RetrievalItem]:
    """Read the clips of the standard pool's CSV, with its texts. Raises DataError naming rows that match no segment.

    A row belongs to the segment with its times or, if a video has two of those, to the one with its text.
    """
    path = folder / STANDARD_POOL
    if not path.is_file():
        msg = f"{path} is missing: run 'longvid youcook2-retrieval prepare'"
        raise DataError(msg)
    by_time: dict[tuple[str, float, float], list[tuple[Video, Segment]]] = {}
    for video in videos:
        for segment in video.segments:
            by_time.setdefault((video.id, segment.start, segment.end), []).append((video, segment))
    items, faults = [], []
    for number, (video_id, start, end, text) in enumerate(pool_rows(path), start=2):
        found = by_time.get((video_id, start, end), [])
        same = [pair for pair in found if pair[1].sentence == text] or found[:1]
        if not same or not text:
            faults.append(f"line {number} ({video_id}, {start:g}–{end:g} s)")
            continue
        items.append(clip_item(folder, *same[0], text))
    faults += [f"{name} ({times} times)" for name, times in Counter(item.id for item in items).items() if times > 1]
    if faults:
        msg = (
            f"{path} has {len(faults)} rows that match no segment, or match one twice: {', '.join(faults[:IDS_SHOWN])}"
        )
        raise DataError(msg)
    return items


def pool_rows(path: Path) -> list[tuple[str, float, float, str]]:
    """Read video, start, end and text of every row. Raises DataError naming the line."""
    rows = []
    for number, row in csv_rows(read_text(path, ""), str(path)):
        try:
            video_id, start, end, text = (row[column] for column in TEXT_COLUMNS)
            rows.append((video_id, float(start), float(end), text.strip()))
        except (KeyError, ValueError) as error:
            msg = f"{path}, line {number} is malformed ({error!r})"
            raise DataError(msg) from error
    return rows


FILES = (
    RemoteFile(
        ANNOTATIONS,
        "http://youcook2.eecs.umich.edu/static/YouCookII/youcookii_annotations_trainval.tar.gz",
        "6be6f3cdcf4448b4bdef27a869fadddfddeb9b20249d55558afabe354b246e80",
    ),
    RemoteFile(
        STANDARD_POOL,
        "https://raw.githubusercontent.com/antoine77340/MIL-NCE_HowTo100M/master/csv/validation_youcook.csv",
        "57d6bdea77c70114cbfad5b057e9500173f14b1c3a0f9c51bd1a716cd504cac1",
    ),
)
# Published by the standard pool's authors (MIL-NCE); the benchmark's own authors only list YouTube ids.
VIDEO_ARCHIVE = "https://www.rocq.inria.fr/cluster-willow/amiech/Youcook2_val.zip"


def benchmark(
    name: str,
    title: str,
    load: Callable[[Path, str], RetrievalTask | CaptioningTask],
    tasks: Mapping[str, str],
    example: str,
    run_example: str = "",
    predictions: str = "texts.json",
) -> Benchmark:
    """Make one of YouCook2's benchmarks; `tasks` holds task names by pool."""
    return Benchmark(
        name=name,
        title=title,
        pools=tuple(tasks),
        load=load,
        files=FILES,
        videos=(
            "Videos (needed by encoders and captioners, not by models that read transcripts) are on YouTube. "
            f"--videos fetches those of {VIDEO_ARCHIVE}, --mirror those of a folder, another .zip or a hub data set; "
            "or put them into {folder}/videos/<id>.mp4 (or .mkv, .mov …). Videos that are gone make a run partial, and "
            "it names them."
        ),
        folder="youcook2",
        task_names=tuple(tasks.values()),
        video_url="https://www.youtube.com/watch?v={id}",
        video_archive=VIDEO_ARCHIVE,
        example=example,
        run_example=run_example,
        predictions=predictions,
    )


RETRIEVAL = benchmark(
    "youcook2-retrieval",
    "YouCook2: find the clip or the whole video of a text, and the text of a video",
    load_retrieval,
    RETRIEVAL_TASKS,
    "--pool video-457 --model bm25 -M captions=asr_transcripts.json",
    "--max-failures 55",
    "vectors.npz",
)
CAPTIONING = benchmark(
    "youcook2-captioning",
    "YouCook2: a sentence for each step of a cooking video",
    load_clip_captioning,
    {"3492": "youcook2-clip-captioning@3492"},
    "--model word-salad",
)
SUMMARY = benchmark(
    "youcook2-summary",
    "YouCook2: one paragraph for a whole cooking video",
    load_summary,
    {"457": "youcook2-summary@457"},
    "--model aggregator -M captions=asr_transcripts.json -M prompt=transcript.v1",
    "--max-failures 55",
)
