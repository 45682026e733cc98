import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.report.browser import CHROMIUM, Browser
from tests.report.samples import HOSTILE, at, sample

from hypercall.report.page import report_page
from hypercall.trace.description import RunDescription
from hypercall.trace.events import Event, HaltEvent, MachineEvent

DESCRIPTION = RunDescription("hypercall", f"vmlinuz {HOSTILE}", HOSTILE, 3, 1 << 28, 7, "hyperv")


def sample_page(**options: int) -> str:
    return report_page(
        sample(),
        DESCRIPTION,
        lambda address: f"f{HOSTILE}+{address:#x}",
        notes=[HOSTILE],
        **options,
    )


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_nothing_of_the_guest_is_markup() -> None:
    elements = Elements(sample_page())
    plain = Elements(report_page([]))
    assert elements.tags == plain.tags
    assert not [name for name, _ in elements.attributes if name.startswith("on")]
    assert not [name for name, _ in elements.attributes if name in ("src", "href")]


def test_the_data_is_whole_in_the_page() -> None:
    page = sample_page()
    match = re.search(r'<script type="application/json" id="data">([^<]*)</script>', page)
    assert match is not None
    content = json.loads(match[1])
    assert content["description"]["append"] == HOSTILE
    assert content["notes"] == [HOSTILE]
    assert content["total"] == 21


def test_only_its_own_script_may_run() -> None:
    page = sample_page()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'")
    assert "unsafe" not in policy[1]
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_a_page_holds_as_many_events_as_asked_for() -> None:
    def many() -> Iterator[Event]:
        for number in range(100_000):
            yield HaltEvent(at(number), number % 2 == 0)

    assert len(report_page(many(), rows=100)) < 120_000


def test_equal_runs_give_equal_pages() -> None:
    assert sample_page() == sample_page()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with Browser() as running:
        yield running


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Browser:
    path = tmp_path / "report.html"
    path.write_text(sample_page(), encoding="utf-8")
    browser.show(path)
    return browser


def test_the_browser_shows_it_and_runs_nothing_else(shown: Browser) -> None:
    assert shown.value("document.title") == f"vmlinuz {HOSTILE}"
    assert shown.value("document.images.length") == 0
    assert shown.value("document.scripts.length") == 2
    assert [url for url in shown.requests if not url.startswith("file:")] == []
    assert shown.errors == []
    visible = shown.value(
        "[...document.querySelectorAll('main section:not([hidden])')].map((each) => each.id)"
    )
    assert visible == [
        "figures",
        "timeline",
        "findings",
        "calls",
        "reach",
        "arrivals",
        "coverage",
        "events",
        "console",
    ]
    console = shown.value("document.getElementById('console-text').textContent")
    assert console == f"Linux version 6.1\n{HOSTILE}\ufffd\n"
    assert shown.value("document.querySelector('#notes p').textContent") == HOSTILE
    assert HOSTILE in shown.value("document.querySelector('.finding').textContent")
    unchecked = shown.value("document.getElementById('unchecked').textContent")
    assert unchecked.startswith("Not checked, for want of the translations that processors keep: ")
    advice = shown.value("document.querySelectorAll('.finding')[1].textContent")
    assert "The fast form saves the hypervisor the look-up" in advice


def rows(browser: Browser) -> list[str]:
    found: list[str] = browser.value(
        "[...document.querySelectorAll('#visible .row')].map((row) => row.children[3].textContent)"
    )
    return found


def test_events_are_searched_and_filtered(shown: Browser) -> None:
    assert len(rows(shown)) == 21
    shown.value("byId('search').value = 'interrupt 0xfb'; list.filter()")
    assert rows(shown) == ["interrupt 0xfb (external)"] * 2
    shown.value("byId('search').value = ''; byId('problems').click()")
    assert len(rows(shown)) == 6
    shown.value("byId('problems').click(); byId('vp').value = '1'; list.filter()")
    assert len(rows(shown)) == 4
    shown.value("byId('vp').value = ''; list.filter()")
    shown.value(
        "[...document.querySelectorAll('#kinds button')]"
        ".find((each) => each.textContent.startsWith('finding')).click()"
    )
    assert len(rows(shown)) == 17
    shown.value("document.querySelector('#call-table tbody tr').click()")
    assert [text.split("(")[0] for text in rows(shown)] == ["HvCallFlushVirtualAddressSpace"]
    shown.value("document.querySelector('#visible .row').click()")
    assert "took 300 ns" in shown.value("byId('detail').textContent")


def test_the_time_line_zooms_and_the_events_follow(shown: Browser) -> None:
    assert shown.value("byId('canvas').height") > 100
    shown.value("timeline.set(900, 2050); timeline.draw(); list.filter()")
    assert len(rows(shown)) == 7
    assert shown.value("timeline.detailed()") is True
    shown.value("document.querySelector('[data-move=all]').click()")
    assert len(rows(shown)) == 21
    shown.value("document.querySelector('[data-move=in]').click()")
    assert shown.value("timeline.zoomed") is True


def test_matrices_and_tables_change_when_asked(shown: Browser) -> None:
    def cells() -> list[str]:
        found: list[str] = shown.value(
            "[...document.querySelectorAll('#matrix td')].map((cell) => cell.textContent)"
        )
        return found

    assert cells() == ["", "1", "1", "", "", "", "", "", ""]
    shown.value("document.querySelector('[data-name=flushes]').click()")
    assert cells() == ["", "", "", "1", "", "1", "", "", ""]
    first = "document.querySelector('#call-table tbody td:nth-child(2)').textContent"
    shown.value("document.querySelectorAll('#call-table th button')[1].click()")
    assert shown.value(first) == "INVALID_HYPERCALL_CODE"
    shown.value("document.querySelectorAll('#call-table th button')[1].click()")
    assert shown.value(first) == "SUCCESS"


def test_it_is_light_or_dark(shown: Browser) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    before = shown.value(colour)
    shown.value("byId('theme').click()")
    assert shown.value(colour) != before
    shown.value("byId('theme').click()")
    assert shown.value(colour) == before


def test_a_run_without_much_is_shown_too(browser: Browser, tmp_path: Path) -> None:
    for number, events in enumerate(([], [MachineEvent(at(5), "reset", "the guest reset itself")])):
        path = tmp_path / f"{number}.html"
        path.write_text(report_page(events), encoding="utf-8")
        browser.show(path)
        assert browser.errors == []
