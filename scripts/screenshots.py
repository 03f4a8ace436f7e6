#!/usr/bin/env python3
"""Takes the pictures of docs: the page of `stts-runtime serve` with real streams, in a headless Chromium.

Needs the extra dev, Debian's chromium, and a bundle built with `--keep 1 --keep 0.5 --budget clip --budget frame`.

Example: screenshots.py out/live docs/serve
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import Browser, Page, sync_playwright

from stts_calib.clips import Clip, Split, write_video
from stts_runtime.cli.entry import run_app
from stts_runtime.cli.options import BundleArgument
from stts_runtime.errors import UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

CHROMIUM = "/usr/bin/chromium"
DESK = (1280, 800)
QUESTION = "What colour is the moving vehicle?"
SCENES = 16
STREET = Path("bikes.mp4")
SETTLING_MS = 20_000


@app.command(help=__doc__)
def shoot(
    bundle: BundleArgument,
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="For the pictures, .jpg.")],
) -> None:
    if not Path(CHROMIUM).exists():
        raise UserError(f"{CHROMIUM} is missing: scripts/install_test_packages")
    street = Path(subprocess.check_output([sys.executable, "scripts/street_clip.py"], text=True).strip())
    out.mkdir(parents=True, exist_ok=True)
    bundle, out = bundle.absolute(), out.absolute()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        # Names without folders, for the page shows them.
        os.chdir(folder)
        shutil.copy(street, STREET)
        scenes = [_scene(number) for number in range(SCENES)]
        with playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as browser:
            _one(browser, bundle, out)
            _sixteen(browser, bundle, [STREET, *scenes[1:]], out)
            _side_by_side(browser, bundle, scenes[3], out)


def _scene(number: int) -> Path:
    path = Path(f"scene-{number}.mp4")
    write_video(path, Clip.make(Split.test, number), 252)
    return path


def _one(browser: Browser, bundle: Path, out: Path) -> None:
    with _served(bundle, [f"loop:{STREET}"]) as address:
        page = _opened(browser, address, DESK)
        _saved(page, out / "one.jpg")


def _sixteen(browser: Browser, bundle: Path, clips: Sequence[Path], out: Path) -> None:
    with _served(bundle, [f"loop:{clip}" for clip in clips]) as address:
        _saved(_opened(browser, address, (1280, 1925)), out / "sixteen.jpg")


def _side_by_side(browser: Browser, bundle: Path, clip: Path, out: Path) -> None:
    with _served(bundle, []) as address:
        page = browser.new_page(viewport={"width": 1440, "height": 1250}, color_scheme="dark")
        page.goto(address)
        page.wait_for_selector("#clip-ask")
        page.set_input_files("#clip-file", clip)
        page.fill("#clip-question", "What colour was the moving vehicle?")
        page.wait_for_selector("#clip-ask:enabled")
        page.click("#clip-ask")
        page.wait_for_selector("#verdict:not(:empty)")
        _saved(page, out / "side-by-side.jpg")


@contextmanager
def _served(bundle: Path, sources: Sequence[str]) -> Iterator[str]:
    """The address of the page."""
    command = [sys.executable, "-c", "from stts_runtime.cli import main; main()", "serve", str(bundle), *sources]
    asking = ["--ask", QUESTION, "--when", "novelty>0.2", "--shortest-pause", "2s", "--listen", "127.0.0.1:0"]
    with subprocess.Popen([*command, *asking], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            for line in server.stderr:
                if found := re.search(r"page: (\S+)", line):
                    yield found[1]
                    break
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=20)


def _opened(browser: Browser, address: str, size: tuple[int, int]) -> Page:
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme="dark")
    page.goto(address)
    page.wait_for_selector(".frame img:visible")
    page.wait_for_timeout(SETTLING_MS)
    # A picture of which something was dropped.
    page.wait_for_selector(".frame .kept:not(:has-text('key frame'))")
    return page


def _saved(page: Page, path: Path) -> None:
    page.screenshot(path=path, type="jpeg", quality=68)
    print(path)


if __name__ == "__main__":
    sys.exit(run_app(app, "screenshots.py"))
