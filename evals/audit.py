"""`longvid audit BENCHMARK`: find flaws in a benchmark's own files that spoil its figures, before any model is asked.

A finding spoils figures if a right answer can't be distinguished from a wrong one, if a model can't be shown what it is
asked about, or if a rule that never looks is clearly better than chance. Everything else is reported, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evals import console
from evals.benchmark_app import DATA, VIDEOS
from evals.benchmarks import find_target, load_task, seconds_of, with_videos
from tasks.captioning import CaptionItem
from tasks.errors import DataError
from tasks.folder import Faults
from tasks.labels import labels_of
from tasks.multiple_choice import ChoiceItem, by_length, option_names
from tasks.retrieval import RetrievalItem
from tasks.statistics import fraction_metric, grouped_metric

if TYPE_CHECKING:
    from tasks.registry import Benchmark
    from tasks.task import Item, Task

WIDTH = 80
# Our choice. Annotated times are exact to about a tenth of a second. A rule that never looks is a shortcut if its
# whole interval lies above chance, by at least this much.
SECONDS_OVER = 0.5
POINTS_OVER = 0.05
SMALLEST_EXPECTED = 5
LONG = 7200.0
IDS_KEPT = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check in words; `ids` names the first items affected.

    `value` with `interval` and `chance` describe a rule that never looks; `p` is the p-value of the test that right
    answers are spread evenly over the positions.
    """

    check: str
    found: str
    count: int = 0
    spoils: bool = False
    ids: tuple[str, ...] = ()
    value: float | None = None
    interval: tuple[float, float] | None = None
    chance: float | None = None
    p: float | None = None


def audit(
    benchmark: Annotated[
        str, typer.Argument(metavar="BENCHMARK[@POOL]", help="A benchmark's name, or the folder of your own benchmark.")
    ],
    data: DATA = None,
    videos: VIDEOS = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a benchmark's own files for flaws that spoil its figures. Exits with 1 if there are any."""
    from json import dumps

    found, pool = find_target(benchmark)
    faults = Faults()
    task = task_and_faults(with_videos(found, videos), pool or found.pools[0], data, faults)
    with console.progress("videos' lengths", len(videos_of(task)), 0) as tick:
        findings = [*row_faults(faults), *examined(task, tick, faults)]
    spoiling = [finding for finding in findings if finding.spoils]
    if json:
        rows = [asdict(finding) for finding in findings]
        told = {"task": task.info.name, "items": len(task.items()), "spoils": bool(spoiling), "findings": rows}
        console.emit(dumps(told, indent=2, ensure_ascii=False))
    else:
        show(task, findings, spoiling)
    if spoiling:
        raise typer.Exit(1)


def show(task: Task[Any], findings: Sequence[Finding], spoiling: Sequence[Finding]) -> None:
    """Print the findings as a table of 80 columns, and a sentence on those that spoil figures."""
    rows = [(finding.check, finding.found, "yes" if finding.spoils else "") for finding in findings]
    clusters = len({item.cluster for item in task.items()})
    title = f"{task.info.name}: {len(task.items()):,} items in {clusters:,} clusters ({task.info.cluster})"
    console.show_table(title, ("check", "found", "spoils"), rows, most=WIDTH)
    if spoiling:
        console.say(f"What spoils figures of {task.info.name}: {'; '.join(finding.check for finding in spoiling)}.")
    else:
        console.say(f"Nothing found that spoils figures of {task.info.name}.")


def task_and_faults(benchmark: Benchmark, pool: str, data: Path | None, faults: Faults) -> Task[Any]:
    """Load the task; invalid rows of a user's own benchmark are left out and described in `faults`."""
    from tasks.registry import resolved

    if benchmark.place is None:
        return load_task(benchmark, pool, data)
    try:
        task: Task[Any] = resolved(benchmark.load)(benchmark.place, pool, faults=faults)
    except DataError as error:
        # If every row is at fault, the first fault is a better message than "no rows left".
        raise DataError(faults.rows[0] if faults.rows else str(error)) from error
    return task


def row_faults(faults: Faults) -> Iterator[Finding]:
    """Report the rows that are invalid."""
    if faults.rows:
        yield Finding("rows", told_of(faults.rows), len(faults.rows), spoils=True)


def told_of(faults: Sequence[str]) -> str:
    """Describe the first fault and count them; the file is known from the command line."""
    first = f"line {faults[0].partition(', line ')[2]}" if ", line " in faults[0] else faults[0]
    return f"{len(faults):,} at fault; the first: {first}" if len(faults) > 1 else first


def examined(task: Task[Any], tick: console.Ticker, faults: Faults) -> list[Finding]:
    """Run all checks that apply to a task's items."""
    items = list(task.items())
    choices = [item for item in items if isinstance(item, ChoiceItem)]
    captions = [item for item in items if isinstance(item, CaptionItem)]
    pairs = [item for item in items if isinstance(item, RetrievalItem)]
    return [
        *(choice_findings(choices, faults, getattr(task, "groups", {})) if choices else ()),
        *(caption_findings(captions) if captions else ()),
        *(pair_findings(pairs) if pairs else ()),
        *file_findings(items),
        *length_findings(items, tick),
        *label_findings(items),
    ]


def folded(text: str) -> str:
    """Normalise a text so that case and spacing make no difference."""
    return " ".join(text.casefold().split())


def named(what: str, items: Sequence[Item], *, of: int) -> str:
    """Say how many items a check concerns, and name the first of them."""
    return f"{len(items):,} of {of:,} {what}: {items[0].id}" + " …" * (len(items) > 1)


def concerned(check: str, what: str, items: Sequence[Item], of: int, fine: str, *, spoils: bool = True) -> Finding:
    """Make the finding of a check of single items: how many it concerns, or that it concerns none."""
    if not items:
        return Finding(check, fine)
    ids = tuple(item.id for item in items[:IDS_KEPT])
    return Finding(check, named(what, items, of=of), len(items), spoils, ids)


def repeated(items: Sequence[Any], key: Callable[[Any], Hashable]) -> list[list[Any]]:
    """Group items by key; keep the groups of two or more."""
    groups: dict[Hashable, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return [group for group in groups.values() if len(group) > 1]


def choice_findings(items: Sequence[ChoiceItem], faults: Faults, groups: Mapping[str, str]) -> Iterator[Finding]:
    """Check options, answers, repeated questions and shortcuts; `groups` is as in MultipleChoiceTask."""
    count = len(items)
    equal = [item for item in items if len(set(map(folded, item.options))) < len(item.options)]
    torn = [item for item in equal if has_a_double(item)]
    what = f"questions have equal options, {len(torn):,} of them the right one"
    yield concerned(
        "equal options", what, [*torn, *(i for i in equal if i not in torn)], count, "none", spoils=bool(torn)
    )
    empty = [item for item in items if not all(map(folded, item.options))]
    yield concerned("empty options", "questions have an empty option", empty, count, "none")
    known = [item for item in items if item.answer is not None or item.id in faults.answers]
    outside = [item for item in known if item.answer is not None and not 0 <= item.answer < len(item.options)]
    if unread := {item.id: faults.answers[item.id] for item in items if item.id in faults.answers}:
        yield Finding("answers", told_of([*unread.values()]), len(unread), spoils=True, ids=tuple(unread)[:IDS_KEPT])
    else:
        yield concerned("answers", "answers are none of the options", outside, count, answers_told(len(known), count))
    yield from repeated_questions(items)
    # If the answer is none of the options, every rule is wrong, and so is every model.
    if known:
        yield from shortcut_findings(known, groups)


def has_a_double(item: ChoiceItem) -> bool:
    """Whether another option equals the right one, or may do so because the right one is not known."""
    if item.answer is None or not 0 <= item.answer < len(item.options):
        return True
    texts = [folded(option) for option in item.options]
    return texts.count(texts[item.answer]) > 1


def answers_told(known: int, count: int) -> str:
    """Say how many answers are known."""
    return (
        "all known, all among the options" if known == count else f"{known:,} of {count:,} known, all among the options"
    )


def repeated_questions(items: Sequence[ChoiceItem]) -> Iterator[Finding]:
    """Find repeats of a question about the same clip with the same options in any order."""

    def key(item: ChoiceItem) -> Hashable:
        clip = item.clip
        return clip.video_id, clip.start, clip.end, folded(item.question), frozenset(map(folded, item.options))

    def answer(item: ChoiceItem) -> str | None:
        place = item.answer
        return None if place is None or not 0 <= place < len(item.options) else folded(item.options[place])

    groups = repeated(items, key)
    again = [item for group in groups for item in group[1:]]
    yield concerned("repeated questions", "questions repeat another", again, len(items), "none", spoils=False)
    torn = [item for group in groups if len({answer(item) for item in group} - {None}) > 1 for item in group]
    if torn:
        what = "questions repeat another and have another right answer"
        yield concerned("contradictions", what, torn, len(items), "")


def shortcut_findings(items: Sequence[ChoiceItem], groups: Mapping[str, str]) -> Iterator[Finding]:
    """Score the longest option, the shortest and each letter as rules, and test the right answers' positions."""
    for name, pick in (("longest option", max), ("shortest option", min)):
        yield rule(
            f"the {name}", items, [float(item.answer == by_length(item.options, pick)) for item in items], groups
        )
    letters = option_names(max(len(item.options) for item in items))
    counts = Counter(item.answer for item in items)
    best = max(range(len(letters)), key=lambda place: (counts[place], -place))
    yield rule(f"always {letters[best]}, the best", items, [float(i.answer == best) for i in items], groups)
    yield place_finding([item for item in items if item.right_option is not None], letters, counts)


def rule(check: str, items: Sequence[ChoiceItem], values: Sequence[float], groups: Mapping[str, str]) -> Finding:
    """Score a rule that never looks by the primary figure, with its interval, beside chance."""
    clusters, kinds = [item.cluster for item in items], [groups.get(item.id, "") for item in items]
    metric = grouped_metric("rule", values, clusters, kinds) if groups else fraction_metric("rule", values, clusters)
    chance = grouped_metric("chance", [1 / len(item.options) for item in items], clusters, kinds).value or 0.0
    value, interval = metric.value or 0.0, metric.interval
    over = interval is not None and interval[0] > chance and value >= chance + POINTS_OVER
    between = "" if interval is None else f" ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"
    said = f"{100 * value:.1f} %{between}, chance {100 * chance:.1f} %"
    said += most_given_away(items, values, groups)
    return Finding(check, said, len(items), over, value=value, interval=interval, chance=chance)


def most_given_away(items: Sequence[ChoiceItem], values: Sequence[float], groups: Mapping[str, str]) -> str:
    """Name the groups behind the primary mean in which a rule that never looks is clearly better than chance."""
    members: dict[str, list[tuple[ChoiceItem, float]]] = {}
    for item, value in zip(items, values, strict=True):
        if item.id in groups:
            members.setdefault(groups[item.id], []).append((item, value))
    told = []
    for name, part in members.items():
        metric = fraction_metric("rule", [value for _, value in part], [item.cluster for item, _ in part])
        chance = sum(1 / len(item.options) for item, _ in part) / len(part)
        if metric.value and metric.interval and metric.interval[0] > chance and metric.value >= chance + POINTS_OVER:
            told.append((metric.value, name))
    return f"; above it in {', '.join(f'{name} {100 * v:.1f} %' for v, name in sorted(told, reverse=True))}" * bool(
        told
    )


def place_finding(items: Sequence[ChoiceItem], letters: Sequence[str], counts: Counter[int | None]) -> Finding:
    """Count the right answers' positions, with a chi-squared test that they are spread evenly."""
    expected = [
        sum(1 / len(item.options) for item in items if place < len(item.options)) for place in range(len(letters))
    ]
    observed = [counts[place] for place in range(len(letters))]
    told = ", ".join(f"{letter} {count:,}" for letter, count in zip(letters, observed, strict=True))
    # The last positions, which few questions have, are counted together.
    while len(expected) > 1 and expected[-1] < SMALLEST_EXPECTED:
        expected[-2:], observed[-2:] = [sum(expected[-2:])], [sum(observed[-2:])]
    if len(expected) < 2 or min(expected) < SMALLEST_EXPECTED:
        return Finding("right answers' places", f"{told} (too few for a test)", len(items))
    from scipy.stats import chisquare

    p = float(chisquare(observed, expected).pvalue)
    said = "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"
    return Finding("right answers' places", f"{told}; chi-squared against even: {said}", len(items), p=p)


def caption_findings(items: Sequence[CaptionItem]) -> Iterator[Finding]:
    """Find references that are empty or shared by several clips."""
    count = len(items)
    empty = [item for item in items if not any(any(c.isalnum() for c in text) for text in item.references)]
    part = [item for item in items if not all(map(folded, item.references)) and item not in empty]
    yield concerned("references", "clips have no reference with a word", empty, count, "each has one with a word")
    if part:
        yield concerned("empty references", "clips have an empty one beside others", part, count, "")
    yield repeated_texts(items, lambda item: frozenset(map(folded, item.references)), "references", spoils_from=None)
    yield repeated_clips(items, spoils=False)


def pair_findings(items: Sequence[RetrievalItem]) -> Iterator[Finding]:
    """Find texts that are empty or belong to several clips, and clips with several texts."""
    empty = [item for item in items if not folded(item.text)]
    yield concerned("texts", "texts are empty", empty, len(items), "none is empty")
    yield repeated_texts(items, lambda item: folded(item.text), "texts", spoils_from=POINTS_OVER)
    yield repeated_clips(items, spoils=False)


def repeated_texts(
    items: Sequence[Any], key: Callable[[Any], Hashable], what: str, *, spoils_from: float | None
) -> Finding:
    """Find texts that several items share; in retrieval at most one of those items can be ranked first."""
    groups = repeated(items, key)
    again = [item for group in groups for item in group[1:]]
    check = f"repeated {what}"
    if not again:
        return Finding(check, "none, in whatever case and spacing")
    shared = sum(map(len, groups))
    said = f"{shared:,} of {len(items):,} share theirs with others ({again[0].id} …)"
    if spoils_from is None:
        return Finding(check, said, shared, ids=tuple(item.id for item in again[:IDS_KEPT]))
    most = 1 - len(again) / len(items)
    said += f": strict recall at 1 can't pass {100 * most:.1f} %; the duplicate-aware one can"
    return Finding(check, said, shared, most < 1 - spoils_from, tuple(item.id for item in again[:IDS_KEPT]))


def repeated_clips(items: Sequence[Item], *, spoils: bool) -> Finding:
    """Find clips that occur in several items."""
    again = [i for group in repeated(items, lambda i: (i.clip.video_id, i.clip.start, i.clip.end)) for i in group[1:]]
    return concerned(
        "repeated clips", "items are about a clip that another has", again, len(items), "none", spoils=spoils
    )


def first_of_each(items: Sequence[Item], key: Callable[[Item], Hashable]) -> list[Item]:
    """Keep the first item of each key."""
    found: dict[Hashable, Item] = {}
    for item in items:
        found.setdefault(key(item), item)
    return list(found.values())


def file_findings(items: Sequence[Item]) -> Iterator[Finding]:
    """Find videos and subtitles that are named but missing."""
    videos = first_of_each(items, lambda item: item.clip.video_id)
    missing = [item for item in videos if item.clip.path is None]
    yield concerned("missing videos", "videos are missing", missing, len(videos), "none", spoils=False)
    with_subtitles = [item for item in items if item.clip.subtitles is not None]
    spoken = first_of_each(with_subtitles, lambda item: item.clip.subtitles)
    if spoken:
        lost = [item for item in spoken if item.clip.subtitles is None or not item.clip.subtitles.is_file()]
        yield concerned("missing subtitles", "subtitle files are missing", lost, len(spoken), "none", spoils=False)


def videos_of(task: Task[Any]) -> list[Path]:
    """List the video files that exist."""
    return list(dict.fromkeys(item.clip.path for item in task.items() if item.clip.path is not None))


def length_findings(items: Sequence[Item], tick: console.Ticker) -> Iterator[Finding]:
    """Find empty clips, clips and evidence that end after their video, and unreadable videos."""
    lengths: dict[Path, float] = {}
    broken: dict[Path, str] = {}
    for path in dict.fromkeys(item.clip.path for item in items if item.clip.path is not None):
        try:
            lengths[path] = seconds_of(path)
        except DataError as error:
            broken[path] = str(error)
        tick(path.name)
    count = len(items)
    none = [item for item in items if not 0 <= item.clip.start < item.clip.end]
    yield concerned("clips", "clips have no length", none, count, "each begins before it ends")
    if long := [item for item in items if isfinite(item.clip.duration) and item.clip.duration > LONG]:
        longest = max(item.clip.duration for item in long)
        what = f"clips last over two hours (the longest {longest:,.0f} s)"
        yield concerned("long clips", what, long, count, "", spoils=False)
    if broken:
        lost = [item for item in items if item.clip.path in broken]
        first = next(iter(broken.values()))
        yield Finding("unreadable videos", f"{len(broken)} videos: {first}", len(broken), ids=ids_of(lost))
    if lengths:
        over = [item for item in items if ends_after(item.clip.end, item.clip.path, lengths)]
        yield concerned("ends of clips", "clips end after their video", over, count, "none is after its video's")
    with_evidence = [item for item in items if isinstance(item, ChoiceItem) and item.evidence]
    if with_evidence:
        out = [
            item
            for item in with_evidence
            if any(s < item.clip.start or e > item.clip.end + SECONDS_OVER for s, e in item.evidence)
        ]
        yield concerned(
            "evidence", "have evidence outside their clip", out, len(with_evidence), "inside its clip", spoils=False
        )


def ends_after(end: float, path: Path | None, lengths: dict[Path, float]) -> bool:
    """Whether a clip ends after its video, whose length is known."""
    return path in lengths and isfinite(end) and end > lengths[path] + SECONDS_OVER if path is not None else False


def ids_of(items: Sequence[Item]) -> tuple[str, ...]:
    """Return the first items' ids."""
    return tuple(item.id for item in items[:IDS_KEPT])


def label_findings(items: Sequence[Item]) -> Iterator[Finding]:
    """Count the items of each label: a mean over items mostly reflects the largest groups."""
    kinds: dict[str, Counter[str]] = {}
    for item in items:
        for kind, label in labels_of(item).items():
            kinds.setdefault(kind, Counter())[label] += 1
    for kind, counts in kinds.items():
        least, most = min(counts.values()), max(counts.values())
        size = f"{least:,} items each" if least == most else f"{least:,} to {most:,} items: unequal"
        lacking = len(items) - counts.total()
        without = f"; {lacking:,} without" if lacking else ""
        many = "1 group" if len(counts) == 1 else f"{len(counts)} groups"
        yield Finding(f"label {kind}", f"{many} of {size}{without}", len(counts))
