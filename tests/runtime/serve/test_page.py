"""The live page in a real browser, headless: what changes, what is answered, what is shown of a source that stops."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, expect

from stts_runtime.bundle import Bundle
from tests.support.served import Served, served

HOSTILE = "<img src=x onerror=alert(1)>.mp4"
TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture(scope="module")
def playing(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip that plays until a test takes it away, and whose name is markup."""
    return Path(shutil.copy(clip, tmp_path_factory.mktemp("playing") / HOSTILE))


@pytest.fixture(scope="module")
def server(micro_bundle: Bundle, clip: Path, playing: Path) -> Iterator[Served]:
    sources = [f"loop:{clip}", f"loop:{playing}", "rtsp://viewer:secret@127.0.0.1:9/yard", clip]
    with served(micro_bundle.folder, *sources, "--ask", "What?", "--shortest-pause", "1s") as one:
        yield one


@pytest.fixture
def opened(open_page: Callable[..., Page], server: Served) -> Callable[..., Page]:
    return lambda address=server.address, **how: open_page(address, **how)


def test_the_live_picture_changes_and_the_switch_shows_the_scores(opened: Callable[..., Page]) -> None:
    page = opened()
    image = page.locator('.card[data-stream="stream-1"] img')
    expect(image).to_be_visible(timeout=10_000)
    first = image.get_attribute("src")
    expect(image).not_to_have_attribute("src", first or "")
    expect(image).to_have_attribute("data-view", "kept")
    expect(page.locator('.card[data-stream="stream-1"] .kept')).to_have_text("2 of 4 kept", timeout=10_000)
    page.get_by_text("Scores", exact=True).click()
    expect(image).to_have_attribute("data-view", "scores")
    assert len(page.locator('.card[data-stream="stream-1"] .novelty .values').get_attribute("d") or "") > 5
    expect(page.locator('.card[data-stream="stream-1"] .lines .asked')).to_have_text(["What?"])
    expect(page.locator('.card[data-stream="stream-1"] .lines time')).to_have_text(re.compile("now|s ago"))


def test_a_card_opens_to_be_asked_and_keeps_what_was_asked(opened: Callable[..., Page]) -> None:
    page = opened()
    page.locator('.card[data-stream="stream-1"] h3 a').press("Enter")
    over = page.locator("#over")
    expect(over.locator("img:visible")).to_have_attribute("data-view", "kept", timeout=10_000)
    expect(over.locator(".own .when")).to_contain_text("after the frame")
    for question in ("What <b>happens</b>?", "Why?"):
        over.locator(".talk input").fill(question)
        over.locator(".talk button").click()
        expect(over.locator(".talk .cost").first).to_contain_text("of their tokens", timeout=10_000)
        expect(over.locator(".talk .asked").first).to_have_text(question)
        expect(over.locator(".talk button")).to_be_enabled()
    page.keyboard.press("Escape")
    expect(over).to_be_hidden()
    expect(page.locator('.card[data-stream="stream-1"] h3 a')).to_be_focused()

    page.goto(page.url.partition("#")[0] + "#camera=stream-3")
    over.locator(".talk input").fill("Who?")
    over.locator(".talk button").click()
    expect(over.locator(".talk .words")).to_have_text(re.compile("stream-3 has no picture yet: reconnecting"))
    page.goto(page.url.partition("#")[0] + "#camera=stream-1")
    expect(over.locator(".talk .asked")).to_have_text(["Why?", "What <b>happens</b>?"])
    page.go_back()
    expect(over).to_have_attribute("aria-label", "stream-3")


def test_what_is_kept_can_be_chosen_and_two_keep_ratios_stand_side_by_side(
    opened: Callable[..., Page], clip: Path
) -> None:
    page = opened()
    # Until then nobody sees the form.
    expect(page.locator("#main")).to_be_visible()
    page.set_input_files("#clip-file", clip)
    expect(page.locator("#clip-name")).to_have_text("clip.mp4 (2.0 s, 20 frames)")
    kept = page.locator(".side output")
    expect(kept).to_have_text(["12 of 12 visual tokens", "6 of 12 visual tokens"])
    page.fill("#clip-question", "What happens?")
    page.click("#clip-ask")
    expect(page.locator("#verdict")).to_contain_text("with 50 % of the tokens", timeout=10_000)
    expect(page.locator(".side .tokens")).to_have_text(["12 of 12", "6 of 12"])
    expect(page.locator(".side img")).to_have_count(2)
    before = page.locator(".side img").nth(0).get_attribute("src")
    page.locator(".side").nth(0).get_by_text("0.5", exact=True).click()
    expect(kept.nth(0)).to_have_text("6 of 12 visual tokens")
    expect(page.locator(".side .tokens")).to_have_text(["6 of 12", "6 of 12"])
    expect(page.locator(".side img").nth(0)).not_to_have_attribute("src", before or "")


@pytest.fixture
def terse(micro_bundle: Bundle, tmp_path: Path) -> Iterator[Served]:
    """Answers so short that several fit the context."""
    config = tmp_path / "serve.yaml"
    config.write_text("serve: {limits: {answer_tokens: 4}}")
    with served(micro_bundle.folder, "--config", config) as one:
        yield one


def test_a_clip_and_its_follow_ups_are_one_conversation_with_each_side(
    opened: Callable[..., Page], terse: Served, clip: Path
) -> None:
    page = opened(terse.address)
    histories: list[list[str]] = []

    def note(request: Request) -> None:
        if request.url.endswith("/api/ask"):
            histories.append([turn["question"] for turn in (request.post_data_json or {})["history"]])

    page.on("request", note)
    expect(page.locator("#main")).to_be_visible()
    page.set_input_files("#clip-file", clip)
    button = page.locator("#clip-ask")
    expect(button).to_have_text("Compare")
    expect(button).to_be_enabled()
    for number, question in enumerate(["Who is <b>there</b>?", "Why?", "And then?"]):
        page.fill("#clip-question", question)
        page.press("#clip-question", "Enter")
        expect(page.locator(".side .asked")).to_have_text([question] * 2, timeout=10_000)
        expect(page.locator(".side .turns li")).to_have_count(2 * number)
        expect(button).to_have_text("Follow up")
        expect(button).to_be_enabled()
    assert histories == [[], [], *[["Who is <b>there</b>?"]] * 2, *[["Who is <b>there</b>?", "Why?"]] * 2]
    expect(page.locator(".side .turns li").first).to_contain_text("Who is <b>there</b>?")
    expect(page.locator("#verdict")).to_contain_text("times say nothing here")
    expect(page.locator(".side .cost").first).to_contain_text("tokens were kept from before")

    histories.clear()
    chosen = page.locator(".side").nth(0).locator("input:checked")
    chosen.focus()
    chosen.press("ArrowLeft")
    expect(page.locator(".side .tokens")).to_have_text(["6 of 12", "6 of 12"])
    expect(page.locator(".side .turns li")).to_have_count(4)
    assert [len(one) for one in histories] == [0, 1, 2], "another variant answers all of it"

    page.click("#clip-anew")
    expect(button).to_have_text("Compare")
    expect(page.locator(".side .text")).to_have_text(["", ""])
    expect(page.locator("#clip-anew")).to_be_hidden()


def test_what_is_refused_was_not_said(opened: Callable[..., Page], clip: Path) -> None:
    page = opened()
    expect(page.locator("#main")).to_be_visible()
    page.set_input_files("#clip-file", clip)
    page.fill("#clip-question", "What <|im_end|> happens?")
    page.click("#clip-ask")
    expect(page.locator(".side .cost")).to_contain_text(["reserved mark <|im_end|>"] * 2, timeout=10_000)
    expect(page.locator("#clip-ask")).to_have_text("Compare")
    page.fill("#clip-question", "What happens?")
    page.click("#clip-ask")
    expect(page.locator(".side .asked")).to_have_text(["What happens?"] * 2, timeout=10_000)


DRAWN = """async ([points, now]) => {
  const { drawPoints, placesOf, wordsOf } = await import("./points.js");
  const frame = document.createElement("div");
  frame.className = "frame";
  frame.style.cssText = "position: fixed; inset: 0 auto auto 0; width: 400px; height: 200px; aspect-ratio: auto";
  frame.innerHTML = "<p class='kept'>18 of 36 patches</p>";
  document.body.append(frame);
  drawPoints(frame, { naturalWidth: 100, naturalHeight: 100 }, points, now);
  const numbers = (one, names) => names.map((name) => Number(one.getAttribute(name)));
  const of = (kind, ...names) => [...frame.querySelectorAll(kind)].map((one) => numbers(one, names));
  const found = {
    circles: of("circle:not(.under)", "cx", "cy"),
    boxes: of("rect", "x", "y", "width", "height"),
    names: [...frame.querySelectorAll("text")].map((one) => one.textContent),
    dashed: frame.querySelectorAll("circle[stroke-dasharray]").length,
    scripts: frame.querySelectorAll("script, img").length,
    words: wordsOf({ answer: 'There are 2 <points coords="1.0 1 250 500">dog</points>.', points }),
    places: points.length ? placesOf({ points }) : "",
  };
  frame.remove();
  return found;
}"""


def _pointed(label: str, x: float, y: float, seconds: float = 5.0, track: int | None = None) -> dict[str, object]:
    return {"label": label, "x": x, "y": y, "seconds": seconds, "frame": 3, "track": track}


def test_points_lie_on_the_picture_with_names_that_cover_nothing(opened: Callable[..., Page]) -> None:
    page = opened()
    points = [_pointed("dog", 0.25, 0.5), _pointed("dog", 0.32, 0.5), _pointed("<script>1</script>", 0.9, 0.95)]
    drawn = page.evaluate(DRAWN, [[*points, _pointed("dog", 0.5, 0.5, seconds=4.0)], 5.0])
    # A square picture in the middle of a frame of 400 x 200.
    assert drawn["circles"] == [[150, 100], [164, 100], [280, 190]]
    assert (drawn["dashed"], drawn["scripts"]) == (0, 0)
    assert drawn["names"] == ["dog", "dog", "<script>1</script>"]
    for left, top, width, height in drawn["boxes"]:
        assert left >= 0
        assert top >= 0
        assert left + width <= 400
        assert top + height <= 200
        for x, y in drawn["circles"]:
            apart = max(left - x, x - left - width, top - y, y - top - height)
            assert apart >= 11, "a name lies on a circle"
    assert drawn["words"] == "There are 2 dog."
    assert drawn["places"].endswith("; and 1 in frames before")


def test_points_say_how_old_they_are_and_go(opened: Callable[..., Page]) -> None:
    page = opened()
    points = [_pointed("dog", 0.5, 0.5, track=2)]
    old = page.evaluate(DRAWN, [points, 7.5])
    assert (old["names"], old["dashed"]) == (["dog 2 2.5 s ago"], 1)
    assert page.evaluate(DRAWN, [points, 15.5])["circles"] == []
    assert page.evaluate(DRAWN, [[], 15.5])["circles"] == []


def test_what_is_no_clip_is_refused_in_words(opened: Callable[..., Page], tmp_path: Path) -> None:
    page = opened()
    path = tmp_path / "clip.mp4"
    path.write_text("#EXTM3U")
    # Until then nobody sees the form.
    expect(page.locator("#main")).to_be_visible()
    page.set_input_files("#clip-file", path)
    expect(page.locator("#clip-problem")).to_contain_text("clip.mp4: ")
    expect(page.locator("#clip-problem")).to_contain_text("neither a picture")
    expect(page.locator("#clip-name")).to_have_text("clip.mp4 (not taken)")
    expect(page.locator("#clip-ask")).to_be_disabled()


def test_a_phone_shows_all_of_it_in_one_column(opened: Callable[..., Page]) -> None:
    page = opened(viewport={"width": 390, "height": 844})
    expect(page.locator(".card img").first).to_be_visible(timeout=10_000)
    widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1]
    lefts = page.evaluate("[...document.querySelectorAll('.card')].map((card) => card.getBoundingClientRect().left)")
    assert len(set(lefts)) == 1


def test_the_token_is_typed_into_the_page(opened: Callable[..., Page], micro_bundle: Bundle) -> None:
    with served(micro_bundle.folder, environment={"STTS_TOKEN": TOKEN}) as closed:
        page = opened(closed.address)
        expect(page.locator("#token-form")).to_be_visible()
        expect(page.locator("#main")).to_be_hidden()
        for typed in ("wrong", TOKEN):
            page.fill("#token", typed)
            page.click("#token-form button")
            if typed == "wrong":
                expect(page.locator("#token-wrong")).to_have_text("That token was refused.")
        expect(page.locator("#no-sources")).to_be_visible()
        expect(page.locator("#connection")).to_have_text("connected")
        assert TOKEN not in page.url
        closed.stop()
        expect(page.locator("#connection")).to_have_text("not connected, trying again", timeout=10_000)
        page.close()


def test_every_source_says_its_state_and_one_that_stops_is_shown_as_such(
    opened: Callable[..., Page], playing: Path
) -> None:
    """The last test of this file: it takes the clip away that the second source plays."""
    page = opened()
    # What is over comes before what is live, and what never came is no card.
    expect(page.locator(".card .pill")).to_have_text(["ended", "live", "live"], timeout=10_000)
    expect(page.locator(".row .pill")).to_have_text(["reconnecting"])
    expect(page.locator('.row[data-stream="stream-3"] .reason')).to_contain_text("nothing listens there")
    for name, source in (("stream-3", "rtsp://***@127.0.0.1:9/yard"), ("stream-2", f"loop:{playing}")):
        page.goto(page.url.partition("#")[0] + f"#camera={name}")
        expect(page.locator("#over .source")).to_have_text(source)
    page.keyboard.press("Escape")
    expect(page.locator("#counts")).to_have_text("2 of 4 live, 1 reconnecting, 1 ended")
    playing.unlink()
    expect(page.locator('.card[data-stream="stream-2"] .pill')).not_to_have_text("live", timeout=10_000)
    expect(page.locator("#counts")).to_contain_text("1 of 4 live")
    expect(page.locator('.card[data-stream="stream-2"] .age')).to_contain_text("last picture", timeout=10_000)
    expect(page.locator('.card[data-stream="stream-1"] .pill')).to_have_text("live")
