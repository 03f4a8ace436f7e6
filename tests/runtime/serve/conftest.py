"""A browser for the tests of the live page, where there is one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright, Request

CHROMIUM = "/usr/bin/chromium"
_DRIVER_SECONDS = 60.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed after each file: while it is open, an event loop runs in this thread, and others need their own."""
    if not Path(CHROMIUM).exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {CHROMIUM}: scripts/install_test_packages")
    # Without a sandbox, which root and containers do not have.
    with (
        _driver() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as one,
    ):
        yield one


@contextmanager
def _driver() -> Iterator[Playwright]:
    """Playwright's program, started again where it spins instead of answering, as was seen on a busy machine."""
    # Most tests of this folder run where it is not installed.
    from playwright.sync_api import sync_playwright

    late = threading.Timer(_DRIVER_SECONDS, _kill_drivers)
    late.start()
    try:
        driver = sync_playwright().start()
    except Exception:  # noqa: BLE001 - as playwright raises it
        driver = sync_playwright().start()
    finally:
        late.cancel()
    try:
        yield driver
    finally:
        driver.stop()


def _kill_drivers() -> None:
    for process in psutil.Process().children():
        if "run-driver" in process.cmdline():
            process.kill()


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
