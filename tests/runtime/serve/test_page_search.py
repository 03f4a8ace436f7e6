"""The page's search box in a real browser: words, narrower times, more, mistakes, and no box where nothing is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from stts_runtime import clock
from stts_runtime.archive.entry import milliseconds
from stts_runtime.archive.writer import ArchiveWriter, Room
from stts_runtime.bundle import Bundle
from tests.support.archived import BEGIN, entry_of
from tests.support.served import served

HOSTILE = "<img src=x onerror=alert(1)> van"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """That says nothing on the console but that an answer was none."""
    trouble: list[str] = []
    with browser.new_context() as context:
        page = context.new_page()
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: trouble.append(dialog.message))
        yield page
    assert [one for one in trouble if not one.startswith("Failed to load resource")] == []


def filled(path: Path) -> Path:
    """An old record of today's clock, one that is markup, and more than a page shows."""
    now = (milliseconds(clock.wall()) - BEGIN) / 1000
    alert = {"rule": "yes>0.8", "change": "raised", "picture": {"path": "/a.jpg", "url": "https://box/a.jpg"}}
    writer = ArchiveWriter(path, Room(36_500, 10**8), print)
    writer.add([entry_of(HOSTILE, now - 90_000, "yard", alert=alert)])
    writer.add([entry_of(f"A dog and a van {number}", now - 60 - number) for number in range(60)])
    writer.close()
    return path


def test_what_was_seen_is_found(page: Page, micro_bundle: Bundle, tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text(f"serve: {{search: {filled(tmp_path / 'seen.db')}}}")
    with served(micro_bundle.folder, "--config", config) as server:
        page.goto(server.address)
        expect(page.locator("#search")).to_be_visible(timeout=10_000)
        page.fill("#search-words", "van -dog")
        page.press("#search-words", "Enter")
        expect(page.locator("#found li")).to_have_count(1)
        expect(page.locator("#found li")).to_contain_text(f"yardalarm raised (yes>0.8): {HOSTILE}What happens?picture")
        assert page.locator("#found a").get_attribute("href") == "https://box/a.jpg"
        page.select_option("#search-since", "hour")
        page.click("#search-form button")
        expect(page.locator("#search-note")).to_have_text("nothing found")
        page.fill("#search-words", "van")
        page.select_option("#search-stream", "gate")
        page.click("#search-form button")
        expect(page.locator("#search-note")).to_have_text("50 records, and there are more")
        page.click("#search-more")
        expect(page.locator("#found li")).to_have_count(60)
        expect(page.locator("#search-more")).to_be_hidden()
        page.fill("#search-words", "?!")
        page.click("#search-form button")
        expect(page.locator("#search-note")).to_contain_text("there is no word to search for")


def test_where_nothing_is_kept_there_is_no_box(page: Page, micro_bundle: Bundle) -> None:
    with served(micro_bundle.folder) as server:
        page.goto(server.address)
        expect(page.locator("#clip")).to_be_visible(timeout=10_000)
        expect(page.locator("#search")).to_be_hidden()
