"""The highest number of streams that holds, in steps of 2, one way and the other by turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import BaseModel

from stts_runtime import clock
from stts_runtime.tell import Tell
from stts_tools.stream_bench.trial import Outcome

STEP = 2
Try = Callable[[int], Outcome]


class Searched(BaseModel):
    """What one way came to."""

    way: str
    streams: int
    """The most that held; 0 if not even the fewest did."""
    tries: list[Outcome]
    done: bool
    """Whether a number 2 higher was tried, or it is the most that was to be tried."""


class _Search:
    """Between a number that holds and one that does not; both are even."""

    def __init__(self, way: str, one: Try, guess: int, most: int) -> None:
        self.way, self._try, self._most = way, one, most
        self.tries: list[Outcome] = []
        self._holds, self._fails = 0, most + STEP
        self._next = min(max(guess // STEP * STEP, STEP), most)

    @property
    def done(self) -> bool:
        return self._fails - self._holds <= STEP

    def go_on(self) -> Outcome:
        outcome = self._try(self._next)
        self.tries.append(outcome)
        if outcome.holds:
            self._holds = max(self._holds, self._next)
        else:
            self._fails = min(self._fails, self._next)
        # Far from any number that failed, half as many more; else the middle.
        far = self._fails > self._most and self._holds
        wanted = self._holds * 3 // 2 + STEP if far else (self._holds + self._fails) // 2
        self._next = min(max(wanted // STEP * STEP, self._holds + STEP), self._fails - STEP, self._most)
        return outcome

    @property
    def searched(self) -> Searched:
        return Searched(way=self.way, streams=self._holds, tries=self.tries, done=self.done)


def search(ways: Mapping[str, tuple[Try, int]], most: int, within: float, tell: Tell) -> list[Searched]:
    """`ways` by name with a first guess; each has a try in turn until all are done, or this many seconds are over."""
    searches, until = [_Search(name, one, guess, most) for name, (one, guess) in ways.items()], clock.now() + within
    while clock.now() < until and (waiting := [one for one in searches if not one.done]):
        for one in waiting:
            outcome = one.go_on()
            tell(f"{one.way}: {shown(outcome)}")
    return [one.searched for one in searches]


def shown(outcome: Outcome) -> str:
    first, last, looked = (
        " / ".join(f"{age:.0f}" for age in ages.values()) or "-"
        for ages in (outcome.first_token_ms, outcome.last_token_ms, outcome.looked_ms)
    )
    return (
        f"{outcome.streams} streams {'hold' if outcome.holds else 'do not hold'}: {outcome.missed_percent:g} % of "
        f"{outcome.looks} looks missed, {outcome.in_time_percent:g} % of {outcome.answers} first tokens in time; "
        f"first token {first} ms, last {last}, looked at after {looked}; busy {outcome.busy_percent:g} %"
    )
