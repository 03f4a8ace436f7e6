#!/usr/bin/env python3
"""Takes pictures of the live page with 1, 3, 16 and 50 cameras, some of them dead, on a desk and on a phone.

The cameras are made up (tests/support/many_cameras.py): no bundle is needed, and figures in the pictures mean nothing.
For pictures of real streams see screenshots.py. Needs the extra dev and Debian's chromium.

Example: screenshots_of_many.py out/screenshots
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, sync_playwright

from stts_calib.clips import DURATION_SECONDS, Clip, Split
from stts_runtime.cli.entry import run_app
from stts_runtime.errors import UserError
from stts_runtime.sources.source import State
from tests.support.many_cameras import Camera, Site, shown

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Scheme = Literal["dark", "light"]
CHROMIUM = "/usr/bin/chromium"
DESK, PHONE = (1280, 800), (390, 844)
LIVE = {1: 1, 3: 3, 16: 13, 50: 31}
"""How many of how many."""
PLACES = ("gate", "yard", "dock", "stairs", "lobby", "ramp", "roof", "hall", "store", "lift")
GROUPS = ("North", "South", "Harbour")
SIZES = ((640, 360), (640, 360), (640, 480), (640, 360), (504, 504))
SAID = ("a red car", "nothing", "a blue car on the left, and a person who walks away from it")
DEAD = (
    (State.REFUSED, "the server refused the user name or password (401)"),
    (State.RECONNECTING, "nothing listens there: connection refused"),
    (State.CONNECTING, "waiting for the first picture"),
    (State.ENDED, "the file was read to its end"),
    (State.STALLED, "no packet for 5 s"),
)
PICTURES = 12
"""Of each camera, which come again and again."""
SETTLING_MS = 2500


@app.command(help=__doc__)
def shoot(out: Annotated[Path, typer.Argument(metavar="FOLDER", help="For the pictures, .jpg.")]) -> None:
    if not Path(CHROMIUM).exists():
        raise UserError(f"{CHROMIUM} is missing: scripts/install_test_packages")
    out.mkdir(parents=True, exist_ok=True)
    schemes: tuple[Scheme, ...] = ("dark", "light")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as browser,
    ):
        for count, live in LIVE.items():
            with shown([_camera(number, count, live) for number in range(count)]) as (address, site):
                for size, scheme in product((DESK, PHONE), schemes):
                    page = _opened(browser, address, size, scheme)
                    _saved(page, out / f"cameras-{count}-{size[0]}-{scheme}.jpg")
                    if count == 16:
                        _enlarged(page, site, out / f"enlarged-{size[0]}-{scheme}.jpg")
                    page.close()
                if count > 1:
                    _wall(browser, address, out / f"wall-{count}.jpg")


def _camera(number: int, count: int, live: int) -> Camera:
    name = f"{PLACES[number % 10]}-{number // 10 + 1}" if count > len(PLACES) else PLACES[number]
    group = GROUPS[number % 3] if count > 3 else None
    if number < live:
        is_alarm = live > 3 and number == live // 2
        said = "yes" if is_alarm else "no", SAID[number % 3]
        return Camera(name, picture=_scene(number), group=group, answers=said, probability=0.93 if is_alarm else 0.04)
    state, reason = DEAD[number % 5]
    once_came = state is State.STALLED
    return Camera(
        name,
        state,
        reason,
        _scene(number) if once_came else None,
        group,
        since_seconds=40.0 + 97 * number,
        looked_seconds_ago=45.0 + 97 * number,
    )


def _scene(number: int) -> Callable[[float], NDArray[np.uint8]]:
    width, height = SIZES[number % 5]
    times = np.linspace(0, DURATION_SECONDS, PICTURES).tolist()
    square = Clip.make(Split.test, number).pictures(times, width)[..., ::-1]
    top = (width - height) // 2
    pictures = [np.ascontiguousarray(one[top : top + height]) for one in square]
    return lambda seconds: pictures[int(seconds * 1.5) % PICTURES]


def _opened(browser: Browser, address: str, size: tuple[int, int], scheme: Scheme) -> Page:
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page.goto(address)
    page.wait_for_selector(".frame img:visible")
    page.wait_for_timeout(SETTLING_MS)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= size[0], f"{wide} pixels do not fit into {size[0]}"
    return page


def _enlarged(page: Page, site: Site, path: Path) -> None:
    name = next(name for name, camera in site.cameras.items() if camera.alarmed)
    site.alarm(name, 2)
    page.click(f'.card[data-stream="{name}"] h3 a')
    for question in ("What is on the left?", "And how many people?"):
        page.fill("#over .talk input", question)
        page.press("#over .talk input", "Enter")
        page.wait_for_selector("#over .talk button:enabled")
    page.wait_for_timeout(SETTLING_MS)
    _saved(page, path)


def _wall(browser: Browser, address: str, path: Path) -> None:
    page = _opened(browser, address, DESK, "dark")
    page.click("#to-wall")
    page.wait_for_timeout(SETTLING_MS)
    _saved(page, path)
    page.close()


def _saved(page: Page, path: Path) -> None:
    page.screenshot(path=path, type="jpeg", quality=68)
    print(path)


if __name__ == "__main__":
    sys.exit(run_app(app, "screenshots_of_many.py"))
