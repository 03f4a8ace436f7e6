"""A browser for the tests of the live page, where there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed after each file: while it is open, an event loop runs in this thread, and others need their own."""
    # Most tests of this folder run where it is not installed.
    from playwright.sync_api import sync_playwright

    if not Path(CHROMIUM).exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {CHROMIUM}: scripts/install_test_packages")
    # Without a sandbox, which root and containers do not have.
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as one,
    ):
        yield one


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages that may load nothing from elsewhere, say nothing on the console and open no dialog."""
    trouble: list[str] = []
    contexts = []

    def opened(address: str, **how: object) -> Page:
        def note_request(request: Request) -> None:
            if not request.url.startswith((address.partition("#")[0], "blob:", "data:")):
                trouble.append(request.url)

        context = browser.new_context(**how)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: trouble.append(dialog.message))
        page.on("request", note_request)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    # The browser itself names every answer that is none, which tests ask for on purpose.
    assert [one for one in trouble if not one.startswith("Failed to load resource")] == []
