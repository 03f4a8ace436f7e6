"""The live page with many cameras, in a real browser over a hub whose cameras are made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from stts_runtime.sources.source import State
from tests.support.many_cameras import CLIP_SIZE, MOVES, PERSON, Camera, Site, shown

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
DEAD = [
    (State.ENDED, "the file was read to its end"),
    (State.CONNECTING, "waiting for a picture"),
    (State.REFUSED, "the server refused the user name or password (401)"),
]
LIVE = 14


@pytest.fixture(scope="module")
def fifty() -> Iterator[tuple[str, Site]]:
    """The first 36 never came, the last 14 are live."""
    dead = [
        Camera(f"dead-{number}", *DEAD[number % 3], picture=None, group="north" if number % 2 else "south")
        for number in range(50 - LIVE)
    ]
    with shown([*dead, *(Camera(f"gate-{number}", group="east") for number in range(LIVE))]) as one:
        yield one


def names(places: Locator) -> list[str]:
    names: list[str] = places.evaluate_all("all => all.map((one) => one.dataset.stream)")
    return names


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_what_lives_comes_first_and_what_is_dead_in_rows(
    open_page: Callable[..., Page], fifty: tuple[str, Site], size: dict[str, int]
) -> None:
    page = open_page(fifty[0], viewport=size)
    expect(page.locator(".card")).to_have_count(LIVE)
    expect(page.locator(".card img").first).to_be_visible()
    assert names(page.locator(".card")) == [f"gate-{number}" for number in range(LIVE)]
    states = page.locator(".row .pill").all_text_contents()
    assert states == ["refused"] * 12 + ["connecting"] * 12 + ["ended"] * 12
    expect(page.locator("#counts")).to_have_text("14 of 50 live, 12 refused, 12 connecting, 12 ended")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    heights = page.locator(".row").evaluate_all("all => all.map((one) => one.clientHeight)")
    assert max(heights) < 100, "compact"
    cards = page.locator(".card").evaluate_all("all => all.map((one) => one.getBoundingClientRect().toJSON())")
    main = page.locator("#live").bounding_box()
    assert main is not None
    assert max(card["right"] for card in cards) == pytest.approx(main["x"] + main["width"], abs=1), "the whole width"


def test_the_filter_takes_names_groups_and_states(open_page: Callable[..., Page], fifty: tuple[str, Site]) -> None:
    page = open_page(fifty[0])
    expect(page.locator("#count-away")).to_have_text("36")
    page.get_by_label("Filter by name").fill("GATE-1")
    expect(page.locator(".card")).to_have_count(5)
    assert names(page.locator(".card")) == ["gate-1", "gate-10", "gate-11", "gate-12", "gate-13"]
    page.get_by_text("Not live").click()
    expect(page.locator("#nothing-passes")).to_be_visible()
    page.get_by_label("Filter by name").fill("")
    page.get_by_label("Group").select_option("north")
    expect(page.locator(".row")).to_have_count(18)
    expect(page.locator(".card")).to_have_count(0)


def test_the_wall_shows_every_picture_at_once(open_page: Callable[..., Page], fifty: tuple[str, Site]) -> None:
    page = open_page(fifty[0])
    expect(page.locator(".card")).to_have_count(LIVE)
    page.click("#to-wall")
    expect(page.locator("#clip")).to_be_hidden()
    # Not `wait_for_function`: the page allows no script but its own.
    seen = page.locator(".card").evaluate_all("all => all.map((one) => one.getBoundingClientRect().toJSON())")
    for card in seen:
        assert card["top"] >= 0
        assert card["left"] >= 0
        assert card["bottom"] <= 721
        assert card["right"] <= 1281
        assert card["height"] > 60
    page.locator("#from-wall").click()
    expect(page.locator("#clip")).to_be_visible()


@pytest.fixture
def site() -> Iterator[tuple[str, Site]]:
    """Three that change while they are looked at."""
    cameras = [
        Camera("gate", answers=("no",)),
        Camera("yard", picture=None, state=State.CONNECTING, reason="waiting for a picture"),
        Camera("dock"),
    ]
    with shown(cameras, playing=False) as one:
        yield one


def test_every_question_has_its_newest_answer_and_its_age(
    open_page: Callable[..., Page], site: tuple[str, Site]
) -> None:
    address, behind = site
    page = open_page(address)
    gate, dock = (page.locator(f'.card[data-stream="{name}"]') for name in ("gate", "dock"))
    for card in (gate, dock):
        expect(card.locator(".asked")).to_have_text([PERSON, MOVES])
    expect(gate.locator(".answer")).to_contain_text(["no 96 %", "no answer yet"])
    expect(dock.locator(".answer")).to_contain_text(["no 96 %", "a car"])
    time = dock.locator("time").first
    assert "20" in (time.get_attribute("title") or ""), "the date, on pointing at it"
    behind.hub.said(behind.said("dock", MOVES, "<b>nothing</b>", 99))
    expect(dock.locator(".answer")).to_contain_text(["no 96 %", "<b>nothing</b>"])
    expect(dock.locator(".novelty .level")).to_have_attribute("d", "M0 70H59")
    page.locator('.card[data-stream="dock"] h3 a').click()
    over = page.locator("#over")
    expect(over.locator("summary")).to_have_text(["2 earlier", "3 earlier"])
    expect(over.locator(".span")).to_contain_text("asked above 0.3 (dashed)")
    page.keyboard.press("ArrowRight")
    expect(over.locator(".name")).to_have_text("yard")
    expect(over.locator(".reason")).to_have_text("waiting for a picture")


def test_what_fails_moves_to_the_front_and_an_alarm_before_it(
    open_page: Callable[..., Page], site: tuple[str, Site]
) -> None:
    address, behind = site
    page = open_page(address)
    expect(page.locator(".card")).to_have_count(2)
    behind.become("dock", State.REFUSED, "wrong password")
    expect(page.locator(".card").first).to_have_attribute("data-stream", "dock")
    expect(page.locator(".card .reason").first).to_have_text("wrong password")
    behind.alarm("gate", 1)
    gate = page.locator(".card").first
    expect(gate).to_have_attribute("data-stream", "gate")
    expect(gate.locator(".alarmed")).to_have_text("alarm")
    expect(gate.locator(".snapshot")).to_have_js_property("naturalWidth", 160)
    expect(page.locator("#alarms")).to_have_text("Alarm: gate")


def test_alarms_keep_their_pictures_and_clips(open_page: Callable[..., Page], site: tuple[str, Site]) -> None:
    address, behind = site
    behind.alarm("gate", 1)
    page = open_page(f"{address}#camera=gate")
    alarms = page.locator("#over .alarm-item")
    expect(alarms.locator("img")).to_have_js_property("naturalWidth", 160)
    alarms.get_by_role("button", name="Clip").click()
    video = alarms.locator("video")
    expect(video).to_have_js_property("videoWidth", CLIP_SIZE[0])
    video.evaluate("(video) => { video.dataset.same = 'yes'; }")
    behind.clip = b"in a codec that no browser knows"
    behind.alarm("gate", 2)
    expect(alarms).to_have_count(2)
    expect(alarms.last.locator("video")).to_have_attribute("data-same", "yes")
    alarms.first.get_by_role("button", name="Clip").click()
    link = alarms.first.get_by_role("link", name="save it")
    expect(link).to_have_attribute("download", "2.mp4")
    # As after a restart of the server.
    behind.alarm("gate", 1)
    expect(alarms).to_have_count(3)


def test_a_group_that_a_reload_changes_reaches_the_page(open_page: Callable[..., Page], site: tuple[str, Site]) -> None:
    address, behind = site
    page = open_page(address)
    group = page.locator('.card[data-stream="gate"] .group')
    expect(group).to_have_text("")
    behind.hub.streams["gate"].group = "north"
    behind.hub.events.close()
    expect(group).to_have_text("north")
