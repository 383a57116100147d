"""A record that means harm does none: its texts stay texts, and what is too large is cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evals.html_report.render import clean, clipped, page_bytes, render
from evals.html_report.run_page import read_run_files, run_page
from evals.store import RESULTS, SAMPLES
from tasks.errors import RecordError
from tests.evals.conftest import ToyModel, run_toy, toy_task
from tests.evals.html_report.conftest import Elements, page_of
from tests.evals.html_report.hostile import hostile_board_page, hostile_pair_page, hostile_run_page

PAGES = [hostile_run_page, hostile_board_page, hostile_pair_page]
OURS = {"html", "head", "meta", "title", "style", "script", "body"}


@pytest.mark.parametrize("page_of_hostile", PAGES)
def test_no_element_or_attribute_comes_from_a_record(page_of_hostile: Callable[[Path], str], tmp_path: Path) -> None:
    page = Elements(page_of_hostile(tmp_path))
    tags = [tag for tag, _, _ in page.found]
    assert tags.count("script") == tags.count("style") == tags.count("title") == 1
    assert not {"iframe", "base", "link", "object", "embed", "form", "animate", "textarea"} & set(tags)
    for _, attributes, _ in page.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/jpeg;base64,"))


@pytest.mark.parametrize("page_of_hostile", PAGES)
def test_no_control_or_direction_character_reaches_a_page(
    page_of_hostile: Callable[[Path], str], tmp_path: Path
) -> None:
    page = page_of_hostile(tmp_path)
    assert not [c for c in page if c in "\x00\x07\x1b\u202e\u2066"]
    assert "{% raw %}" in page  # templates in texts are not run


@pytest.mark.parametrize("page_of_hostile", PAGES)
def test_the_policy_forbids_what_might_slip_through(page_of_hostile: Callable[[Path], str], tmp_path: Path) -> None:
    page = Elements(page_of_hostile(tmp_path))
    (policy,) = [
        attributes["content"]
        for _, attributes, _ in page.found
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy


def test_huge_fields_are_cut_and_say_so(tmp_path: Path) -> None:
    task = toy_task(12)
    run_toy(task, ToyModel(), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / SAMPLES).read_text().splitlines()]
    for row in rows:
        row["raw"] = "x<" * 100_000
        row["labels"] = {f"kind {n}": "<" * 10_000 for n in range(100)}
        row["notes"] = {"y": ["&" * 10_000]}
    (tmp_path / SAMPLES).write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = page_of(tmp_path, task)
    assert len(page.encode()) < 500_000
    assert "(cut: 200,000 characters)" in page


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": "none"},
        {"metrics": []},
        {"name": ["a", "list"]},
        {"counts": {"task_items": "many"}},
        {"details": 5},
        {"unknown": 1},
    ],
    ids=str,
)
def test_wrong_types_are_refused_with_one_line(change: dict[str, object], tmp_path: Path) -> None:
    run_toy(toy_task(3), ToyModel(), tmp_path)
    content = json.loads((tmp_path / RESULTS).read_text())
    (tmp_path / RESULTS).write_text(json.dumps(content | change))
    with pytest.raises(RecordError, match=r"results\.json"):
        read_run_files(tmp_path)


def test_no_file_that_a_record_names_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps({f"q{n:02d}": ["a secret caption"] for n in range(12)}))
    task = toy_task(12)
    run_toy(task, ToyModel(), tmp_path / "run", options={"captions": str(tmp_path / "run" / ".." / "secret.json")})
    page = run_page(read_run_files(tmp_path / "run"), task)
    assert "a secret caption" not in page
    assert "secret.json" in page  # it is shown, as text


def test_clean_keeps_ordinary_text_of_any_language() -> None:
    for text in ("naïve café", "日本語", "émoji 👩\u200d🍳", "a\nb\tc", "العربية"):
        assert clean(text) == text


def test_clipped_text_keeps_its_limit_and_names_its_length() -> None:
    assert clipped("abc", 3) == "abc"
    assert clipped("abcd", 3) == "abc … (cut: 4 characters)"
    assert page_bytes("<é") == len("&lt;é".encode())


def test_a_template_without_its_values_fails_rather_than_showing_a_gap() -> None:
    with pytest.raises(Exception, match="undefined"):
        render("board.html.j2")
