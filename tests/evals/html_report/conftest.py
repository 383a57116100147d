"""Pages of small runs, and a browser that is started once."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evals.html_report.run_page import read_run_files, run_page
from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.html_report.chromium import Browser, chromium


class Elements(HTMLParser):
    """The elements of a page: tag, attributes and the text inside, nested ones included."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), []))
        if tag not in {"meta", "img", "input", "br"}:
            self._open.append(len(self.found) - 1)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self.found[self._open.pop()][0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for place in self._open:
            self.found[place][2].append(data)

    def texts(self, tag: str, name: str = "") -> list[str]:
        """Texts of the elements with a tag and a class, on one line each."""
        return [
            " ".join(" ".join(parts).split())
            for found, attributes, parts in self.found
            if found == tag and name in ["", *(attributes.get("class") or "").split()]
        ]

    def tags(self) -> set[str]:
        return {tag for tag, _, _ in self.found}


def page_of(folder: Path, task: MultipleChoiceTask | None = None) -> str:
    """The page of a run directory."""
    return run_page(read_run_files(folder), task)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests; each opens its own page."""
    with chromium() as started:
        yield started
