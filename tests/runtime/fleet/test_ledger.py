"""By which numbers streams go on."""

from __future__ import annotations

from stts_runtime.fleet.config import FleetConfig
from stts_runtime.fleet.ledger import Ledger
from stts_runtime.record_parts import AlertRecord
from stts_runtime.records import Record, StreamAnswer, StreamEvent
from stts_runtime.stream.alerts import Alarm, AlertRule
from stts_runtime.stream.channel import Channel, Look
from tests.support.receivers import answer as any_answer


class Heard:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def saw(self, channel: Channel, look: Look) -> None: ...

    def said(self, record: Record) -> None:
        self.records.append(record)


def answer(number: int, alert: AlertRecord | None = None) -> StreamAnswer:
    return any_answer(number).model_copy(update={"alert": alert})


def test_a_stream_goes_on_behind_the_last_answer_that_was_taken() -> None:
    heard = Heard()
    ledger = Ledger([heard])
    assert ledger.standing("gate").answers == 0
    ledger.take([answer(1), answer(2)])
    # Somebody asked: that is none of the stream's own.
    ledger.take([answer(0)])
    assert ledger.standing("gate").answers == 2
    assert len(heard.records) == 3


def test_an_alarm_that_is_on_stays_on_where_the_stream_goes_on() -> None:
    ledger = Ledger([])
    rule = AlertRule.model_validate("yes>0.8")
    first = Alarm(rule)
    ledger.take([answer(1, first.judge({"yes": 0.9}, 0.0))])
    second = Alarm(rule)
    (last,) = ledger.standing("gate").alarms.values()
    second.go_on(last)
    assert second.judge({"yes": 0.95}, 1.0).change is None
    assert second.judge({"yes": 0.1}, 2.0).change == "cleared"
    assert second.judge({"yes": 0.9}, 3.0).number == 2


def test_that_nobody_looks_is_told_with_the_site() -> None:
    heard = Heard()
    content = {
        "bundle": "b",
        "site": "dock",
        "questions": ["Who?"],
        "streams": [{"name": "gate", "source": "rtsp://h/1"}],
    }
    Ledger([heard]).say(FleetConfig.model_validate(content), "gate", "north is lost")
    (event,) = heard.records
    assert isinstance(event, StreamEvent)
    assert (event.state, event.reason, event.site) == ("reconnecting", "north is lost", "dock")
