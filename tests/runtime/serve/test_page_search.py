"""The page's search box in a real browser: words, narrower times, more, mistakes, and no box where nothing is kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, expect

from stts_runtime import clock
from stts_runtime.archive.entry import milliseconds
from stts_runtime.archive.writer import ArchiveWriter, Room
from stts_runtime.bundle import Bundle
from stts_runtime.serve.pictures import jpeg
from stts_runtime.stream.alert_files import AlertFiles
from stts_runtime.stream.alert_store import AlertStore
from tests.support.archived import BEGIN, entry_of
from tests.support.served import served

TOKEN = "a-token-that-nobody-guesses"
HOSTILE = "<img src=x onerror=alert(1)> van"


def filled(path: Path) -> Path:
    """An old record of today's clock, one that is markup, and more than a page shows."""
    now = (milliseconds(clock.wall()) - BEGIN) / 1000
    alert = {"rule": "yes>0.8", "change": "raised", "picture": {"path": "/a.jpg", "url": "https://box/a.jpg"}}
    writer = ArchiveWriter(path, Room(36_500, 10**8), print)
    writer.add([entry_of(HOSTILE, now - 90_000, "yard", alert=alert)])
    writer.add([entry_of(f"A dog and a van {number}", now - 60 - number) for number in range(60)])
    writer.close()
    return path


def test_what_was_seen_is_found(open_page: Callable[..., Page], micro_bundle: Bundle, tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text(f"serve: {{search: {filled(tmp_path / 'seen.db')}}}")
    with served(micro_bundle.folder, "--config", config) as server:
        page = open_page(server.address)
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


def test_pictures_that_this_server_keeps_open_in_the_page_with_its_token(
    open_page: Callable[..., Page], micro_bundle: Bundle, tmp_path: Path
) -> None:
    files, seen, config = tmp_path / "alerts", tmp_path / "seen.db", tmp_path / "serve.yaml"
    with closing(AlertStore(AlertFiles(folder=files), print)) as store:
        store.write("gate", "gate-1.jpg", jpeg(np.zeros((30, 40, 3), np.uint8)))
    writer = ArchiveWriter(seen, Room(36_500, 10**8), print)
    for number in (1, 2):
        picture = {"path": "/a.jpg", "bytes": 1, "url": f"/api/alerts/gate/gate-{number}.jpg"}
        alert = {"rule": "yes>0.8", "change": "raised", "snapshot": picture}
        writer.add([entry_of("A van", number, "gate", alert=alert)])
    writer.close()
    config.write_text(f"alert_files: {files}\nserve: {{search: {seen}}}")
    with served(micro_bundle.folder, "--config", config, environment={"STTS_TOKEN": TOKEN}) as server:
        page = open_page(server.address)
        page.fill("#token", TOKEN)
        page.get_by_role("button", name="Open").click()
        page.fill("#search-words", "van")
        page.press("#search-words", "Enter")
        # `all` waits for nothing.
        expect(page.locator("#found li")).to_have_count(2, timeout=10_000)
        newest, oldest = page.locator("#found li").all()
        oldest.get_by_role("button", name="snapshot").click()
        expect(oldest.locator("img")).to_have_js_property("naturalWidth", 40)
        newest.get_by_role("button", name="snapshot").click()
        expect(newest.locator(".bad")).to_contain_text("there is no gate-2.jpg of gate")


def test_where_nothing_is_kept_there_is_no_box(open_page: Callable[..., Page], micro_bundle: Bundle) -> None:
    with served(micro_bundle.folder) as server:
        page = open_page(server.address)
        expect(page.locator("#clip")).to_be_visible(timeout=10_000)
        expect(page.locator("#search")).to_be_hidden()
