from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import certifi
import pytest
import requests

from stts_runtime import clock
from stts_runtime.archive.reader import Wanted, search
from stts_runtime.errors import MissingExtraError, SinkError, UserError
from stts_runtime.records import StreamAnswer, StreamEvent
from stts_runtime.sinks import open_sink, parse_sink
from stts_runtime.sinks.config import (
    ArchiveConfig,
    FileConfig,
    MqttConfig,
    ScreenConfig,
    SinkConfig,
    WebhookConfig,
    shown,
)
from stts_runtime.sinks.line_file import LineFile, Rotation
from stts_runtime.sinks.mqtt import Mqtt
from stts_runtime.sinks.screen import ScreenSink, text_line
from stts_runtime.sinks.secret import Secret
from stts_runtime.sinks.spool import Backlog, Spool
from stts_runtime.sinks.spooled import AwayError, Courier, Pauses, SpooledSink
from stts_runtime.sinks.webhook import Webhook, _reason
from tests.support.answers import stream_answer_of
from tests.support.places import DATA, ROOT
from tests.support.receivers import Broker, answer, mqtt_broker, web_receiver
from tests.support.waiting import until

QUICK = Pauses(first=0.02, longest=0.05)
ROTATION = Rotation(max_bytes=10**6, keep=3)
EVENT = StreamEvent(stream="gate", created="2026-01-02T03:04:05.678Z", state="stalled", reason="no\x1b[31m picture")


def spooled(
    folder: Path, courier: Courier, told: list[str], pauses: Pauses = QUICK, max_bytes: int = 10**6
) -> SpooledSink:
    spool = Spool(folder / "a.spool", max_bytes, told.append)
    refused = LineFile(folder / "a.refused.jsonl", ROTATION, told.append)
    return SpooledSink("there", spool, courier, refused, told.append, pauses)


def webhook(folder: Path, url: str, told: list[str], **settings: Any) -> SpooledSink:
    return spooled(folder, Webhook(WebhookConfig(to=url, **settings)), told)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


# Naming a sink


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("-", ScreenConfig),
        ("stdout", ScreenConfig),
        ("a/b.jsonl", FileConfig),
        ("a/seen.db", ArchiveConfig),
        ("https://h/x", WebhookConfig),
        ("MQTTS://h/t", MqttConfig),
    ],
)
def test_a_spec_names_its_kind(spec: str, kind: type[SinkConfig]) -> None:
    assert type(parse_sink(spec)) is kind


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("records.txt", "FILE.jsonl"),
        ("ftp://u:hunter2@h/x", "FILE.jsonl"),
        ("http://u:hunter2@/x", "not a usable address"),
        ("http://u:hunter2@h:99999/x", "not a usable address"),
        ("http://u:hunter2@h/a b", "not a usable address"),
        ("mqtt://u:hunter2@h", "end in a topic"),
        ("mqtt://u:hunter2@h/a/%23", "end in a topic"),
    ],
)
def test_a_spec_that_cannot_work_is_one_line_without_the_password(spec: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_sink(spec)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://u:p@h:8/a/b?token=x&y=z", "https://***@h:8/a/b?token=***&y=***"),
        ("https://h/services/T0000/B0000/abcdefghijklmnop123", "https://h/services/T0000/B0000/***"),
        ("mqtt://u:p@h/site/gate", "mqtt://***@h/site/gate"),
    ],
)
def test_names_hold_no_credentials(url: str, name: str) -> None:
    assert shown(url) == name


def test_a_missing_library_is_one_line_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    monkeypatch.delitem(sys.modules, "stts_runtime.sinks.webhook")
    with pytest.raises(MissingExtraError, match=r"requests is not installed, .*pip install 'stts-export\[stream\]'"):
        open_sink("http://h/x", lambda: tmp_path, print)


# Secrets


def test_secrets_come_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "from env")
    (tmp_path / "key").write_text("from file\n")
    assert Secret(env="A_SECRET").read() == "from env"
    assert Secret(file=tmp_path / "key").read() == "from file"
    with pytest.raises(UserError, match="environment variable NOT_THERE is missing"):
        Secret(env="NOT_THERE").read()
    with pytest.raises(UserError, match="a secret: no such file"):
        Secret(file=tmp_path / "no").read()


def test_a_secret_in_clear_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match=r"a secret is \{env: NAME") as caught:
        WebhookConfig.model_validate({"to": "https://h/x", "token": "hunter2"})
    assert "hunter2" not in str(caught.value)


# The screen


def test_the_screen_gets_a_line_of_json_or_of_words() -> None:
    out = io.StringIO()
    ScreenSink("json", out).write(answer(3))
    ScreenSink("text", out).write(answer(3, "two\nlines"))
    as_json, as_text = out.getvalue().splitlines()
    assert StreamAnswer.model_validate_json(as_json) == answer(3)
    assert as_text == "2026-01-02T03:04:05.678Z  gate  two lines  (at 0.5 s: every window; 0.12 s after the frame)"


def test_words_for_the_screen_cannot_steer_the_terminal() -> None:
    assert text_line(EVENT).endswith(r"gate  stalled: no\x1b[31m picture")


def test_a_reader_that_went_away_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    reading, closed_pipe = os.pipe()
    monkeypatch.setattr(out, "flush", lambda: os.write(closed_pipe, b"x"), raising=False)
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        ScreenSink("json", out).write(EVENT)
    os.close(closed_pipe)


def test_a_full_disk_behind_the_output_is_a_sink_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        out = io.StringIO()
        monkeypatch.setattr(out, "flush", lambda: full.write(b"x"), raising=False)
        with pytest.raises(SinkError, match="cannot be written: the disk is full"):
            ScreenSink("json", out).write(EVENT)


# Files


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_records_are_in_the_file_when_write_returns(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    sink = open_sink(str(path), lambda: tmp_path, print)
    sink.write(answer(1, "Straße"))
    sink.write(EVENT)
    assert [line["schema_name"] for line in lines(path)] == ["stts.stream-answer/1", "stts.stream-event/1"]
    assert path.read_bytes().endswith(b"\n")
    sink.close(1)
    again = open_sink(str(path), lambda: tmp_path, print)
    again.write(answer(2))
    again.close(1)
    assert [line.get("number") for line in lines(path)] == [1, None, 2]


def test_a_long_file_is_moved_aside_and_the_newest_stay(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "a.jsonl", Rotation(max_bytes=20, keep=2), print)
    for number in range(9):
        file.append(b"line %03d" % number)
    file.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.000003.jsonl", "a.000004.jsonl", "a.jsonl"]
    kept = [path.read_text().split("\n")[:-1] for path in sorted(tmp_path.iterdir())]
    assert kept == [["line 004", "line 005"], ["line 006", "line 007"], ["line 008"]]


def test_a_new_day_starts_a_new_file_also_after_a_restart(tmp_path: Path) -> None:
    now = [1_767_312_000.0 - 10]
    file = LineFile(tmp_path / "a.jsonl", ROTATION, print, lambda: now[0])
    file.append(b"yesterday")
    now[0] += 20
    file.append(b"today")
    file.close()
    assert (tmp_path / "a.000001.jsonl").read_text() == "yesterday\n"
    os.utime(tmp_path / "a.jsonl", (now[0], now[0]))
    now[0] += 86400
    again = LineFile(tmp_path / "a.jsonl", ROTATION, print, lambda: now[0])
    again.append(b"tomorrow")
    again.close()
    assert (tmp_path / "a.000002.jsonl").read_text() == "today\n"
    assert (tmp_path / "a.jsonl").read_text() == "tomorrow\n"


@pytest.mark.parametrize(("there", "whole"), [(b'{"a":1}\n{"b":', b'{"a":1}\n'), (b"\0\0\0", b""), (b"{}\n", b"{}\n")])
def test_a_torn_last_line_is_set_aside_and_said(tmp_path: Path, there: bytes, whole: bytes) -> None:
    path, told = tmp_path / "a.jsonl", list[str]()
    path.write_bytes(there)
    file = LineFile(path, Rotation(10**6, 3, daily=False), told.append)
    file.append(b"{}")
    file.close()
    assert path.read_bytes() == whole + b"{}\n"
    torn = tmp_path / "a.jsonl.torn"
    assert bool(told) == torn.exists() == (there != whole)
    if told:
        assert torn.read_bytes() == there[len(whole) :] + b"\n"


def test_a_line_longer_than_a_block_is_found_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"first\n" + b"x" * 200_000)
    LineFile(path, ROTATION, lambda _: None).close()
    assert path.read_bytes() == b"first\n"


def test_a_file_has_one_writer(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "a.jsonl"), lambda: tmp_path, print)
    with pytest.raises(UserError, match="written by another process"):
        open_sink(str(tmp_path / "a.jsonl"), lambda: tmp_path, print)
    sink.close(0)


def test_an_archive_has_what_was_written_when_write_returns(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    sink = open_sink(ArchiveConfig(to=str(path), days=36_500), lambda: tmp_path, print)
    sink.write(stream_answer_of("a white van"))
    sink.write(EVENT)
    found = search([path], Wanted("van")).found
    assert [one.record["answer"] for one in found] == ["a white van"]
    assert search([path], Wanted("stalled -van")).found[0].record["reason"] == EVENT.reason
    with pytest.raises(UserError, match="is being written by another process, or by another sink with other settings"):
        open_sink(ArchiveConfig(to=str(path), days=3), lambda: tmp_path, print)
    sink.close(0)


def test_a_place_without_a_folder_is_the_users_to_fix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        open_sink(str(tmp_path / "no" / "a.jsonl"), lambda: tmp_path, print)


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LineFile(tmp_path / "a.jsonl", ROTATION, print)
    file.append(b"whole")
    real = os.write
    monkeypatch.setattr(os, "write", lambda to, data: real(to, data[:3]))
    with pytest.raises(SinkError, match="disk is full"):
        file.append(b"cut off")
    monkeypatch.undo()
    file.append(b"after")
    file.close()
    assert (tmp_path / "a.jsonl").read_text() == "whole\nafter\n"


WRITER = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.support.receivers import answer
from stts_runtime.sinks import open_sink
sink = open_sink(sys.argv[1], lambda: Path(sys.argv[1]).parent, print)
number = 0
while True:
    number += 1
    sink.write(answer(number, "x" * (number * 37 % 900)))
    print(number, flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_whoever_ends_it_all_that_was_written_is_there_in_whole_lines(tmp_path: Path, how: signal.Signals) -> None:
    path, told = tmp_path / "a.jsonl", list[str]()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "runtime")}
    command = [sys.executable, "-c", WRITER, str(path), str(ROOT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        said = [int(next(child.stdout)) for _ in range(50)]
        os.kill(child.pid, how)
        said += [int(line) for line in child.stdout if line.endswith("\n")]
    # Only SIGKILL can stop the system in the middle of a write.
    assert how == signal.SIGKILL or path.read_bytes().endswith(b"\n")
    LineFile(path, ROTATION, told.append).close()
    numbers = [line["number"] for line in lines(path)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert said[-1] <= len(numbers) <= said[-1] + 1
    assert bool(told) == (tmp_path / "a.jsonl.torn").exists()


def test_a_file_that_somebody_moved_or_deleted_is_begun_anew(tmp_path: Path) -> None:
    """As logrotate does; what is written into a file without a name nobody reads."""
    path, told = tmp_path / "out" / "a.jsonl", list[str]()
    path.parent.mkdir()
    file = LineFile(path, Rotation(1000, 3), told.append)
    file.append(b"1")
    path.rename(path.with_name("a.jsonl.1"))
    file.append(b"2")
    assert (path.read_bytes(), path.with_name("a.jsonl.1").read_bytes()) == (b"2\n", b"1\n")
    path.unlink()
    file.append(b"3")
    assert path.read_bytes() == b"3\n"
    shutil.rmtree(path.parent)
    with pytest.raises(SinkError, match=r"no such folder: .*/out"):
        file.append(b"4")
    path.parent.mkdir()
    file.append(b"5")
    file.close()
    assert path.read_bytes() == b"5\n"


# Webhooks


def test_records_are_posted_in_order_with_key_token_and_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "t0ken")
    monkeypatch.setenv("SIGNING", "k3y")
    told: list[str] = []
    with web_receiver() as receiver:
        sink = webhook(tmp_path, receiver.url(), told, token={"env": "TOKEN"}, signing_key={"env": "SIGNING"})
        for number in range(1, 21):
            sink.write(answer(number))
        sink.close(5)
    assert receiver.numbers() == list(range(1, 21))
    first = receiver.requests[0]
    assert first.headers["Content-Type"] == "application/json"
    assert first.headers["Authorization"] == "Bearer t0ken"
    assert first.headers["X-Stts-Signature"] == "sha256=" + hmac.new(b"k3y", first.body, hashlib.sha256).hexdigest()
    assert len({request.headers["Idempotency-Key"] for request in receiver.requests}) == 20
    assert told == []


@pytest.mark.parametrize(
    ("user", "settings", "sent"),
    [
        ("", {}, None),
        ("user:pass@", {}, "Basic dXNlcjpwYXNz"),
        ("", {"token": {"env": "TOKEN"}}, "Bearer t0ken"),
        ("user:pass@", {"token": {"env": "TOKEN"}}, "Bearer t0ken"),
    ],
)
def test_no_credentials_are_sent_but_those_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str, settings: dict[str, Any], sent: str | None
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password hunter2\ndefault login anybody password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("TOKEN", "t0ken")
    with web_receiver() as receiver:
        Webhook(WebhookConfig(to=receiver.url(user=user), **settings)).deliver(b"{}")
    assert receiver.requests[0].headers.get("Authorization") == sent


def test_a_proxy_of_the_environment_is_used_and_gets_no_credentials_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with web_receiver() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        Webhook(WebhookConfig(to="http://receiver.invalid/hook")).deliver(b"{}")
    assert proxy.requests[0].path == "http://receiver.invalid/hook"
    assert not {"Authorization", "Proxy-Authorization"} & proxy.requests[0].headers.keys()


@pytest.mark.parametrize("status", [500, 503, 429, 408, 425, 302])
def test_a_receiver_in_trouble_gets_the_same_record_again(tmp_path: Path, status: int) -> None:
    told: list[str] = []
    with web_receiver() as receiver:
        receiver.replies = [(status, {})] * 2
        sink = webhook(tmp_path, receiver.url(), told)
        sink.write(answer(1))
        sink.write(answer(2))
        until(lambda: len(receiver.requests) == 4)
        sink.close(5)
    assert receiver.numbers() == [1, 1, 1, 2]
    assert len({request.headers["Idempotency-Key"] for request in receiver.requests}) == 2
    assert [line.partition(": ")[2][:24] for line in told] == [f"the receiver answers HTTP {status}"[:24], "is back"]


def test_a_refused_record_is_set_aside_and_does_not_block(tmp_path: Path) -> None:
    told: list[str] = []
    with web_receiver() as receiver:
        receiver.replies = [(400, {}), (422, {})]
        sink = webhook(tmp_path, receiver.url(), told)
        for number in range(1, 4):
            sink.write(answer(number))
        until(lambda: sink.backlog == Backlog(waiting=0, dropped=0, refused=2))
        sink.close(5)
    assert receiver.numbers() == [1, 2, 3]
    assert [line["number"] for line in lines(tmp_path / "a.refused.jsonl")] == [1, 2]
    assert told == ["there: the receiver refuses with HTTP 400; the record was set aside in a.refused.jsonl"]


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    with web_receiver() as receiver:
        receiver.replies = [(429, {"Retry-After": "1"})]
        sink = webhook(tmp_path, receiver.url(), [])
        start = time.monotonic()
        sink.write(answer(1))
        until(lambda: len(receiver.requests) == 2)
        took = time.monotonic() - start
        sink.close(5)
    assert 1.0 <= took < 3.0


def test_write_does_not_wait_for_a_slow_receiver_nor_for_one_that_is_down(tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "down").mkdir()
    told: list[str] = []
    with web_receiver() as receiver:
        receiver.delay_seconds = 0.5
        slow = webhook(tmp_path / "slow", receiver.url(), [])
        down = webhook(tmp_path / "down", f"http://u:hunter2@127.0.0.1:{free_port()}/x?token=hunter2", told)
        start = time.monotonic()
        for number in range(20):
            slow.write(answer(number))
            down.write(answer(number))
        assert time.monotonic() - start < 0.5
        until(lambda: told)
        start = time.monotonic()
        slow.close(0.1)
        down.close(0.1)
        assert time.monotonic() - start < 0.4
        until(lambda: len(told) == 2)
        slow._thread.join(5)
    assert told[0] == "there: no connection: Connection refused; records wait in the spool"
    assert told[1] == "there: 20 records wait in the spool for the next start"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("REQUESTS_CA_BUNDLE", "/nowhere.pem", "no connection: Could not find a suitable TLS CA certificate bundle"),
        ("HTTPS_PROXY", "ftp://127.0.0.1:1", "no connection: Proxy URL had unsupported scheme ftp"),
        ("HTTPS_PROXY", "http://u:hunter2@:x", "no connection"),
    ],
)
def test_what_the_environment_says_wrong_is_told(
    variable: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(AwayError, match=words) as caught:
        Webhook(WebhookConfig(to=f"https://127.0.0.1:{free_port()}/x")).deliver(b"{}")
    assert "hunter2" not in str(caught.value)


def test_a_receiver_that_is_too_slow_is_told_as_such(tmp_path: Path) -> None:
    told: list[str] = []
    with web_receiver() as receiver:
        receiver.delay_seconds = 0.3
        sink = webhook(tmp_path, receiver.url(), told, timeout=0.1)
        sink.write(answer(1))
        until(lambda: told)
        receiver.delay_seconds = 0
        until(lambda: sink.backlog.waiting == 0)
        sink.close(5)
        time.sleep(0.3)
    assert told[0].startswith("there: no answer in time")
    assert set(receiver.numbers()) == {1}


def test_what_waits_goes_out_at_the_next_start_before_what_is_new(tmp_path: Path) -> None:
    port, told = free_port(), list[str]()
    sink = webhook(tmp_path, f"http://127.0.0.1:{port}/hook", told)
    for number in (1, 2, 3):
        sink.write(answer(number))
    sink.close(1)
    assert told[-1].endswith("3 records wait in the spool for the next start")
    with web_receiver(port) as receiver:
        again = webhook(tmp_path, receiver.url(), told)
        again.write(answer(4))
        again.close(5)
    assert receiver.numbers() == [1, 2, 3, 4]


def test_records_dropped_for_want_of_space_are_counted_and_said_once(tmp_path: Path) -> None:
    told: list[str] = []
    size = len(answer(1).model_dump_json())
    courier = Webhook(WebhookConfig(to=f"http://127.0.0.1:{free_port()}/x"))
    sink = spooled(tmp_path, courier, told, max_bytes=3 * size)
    for number in range(1, 9):
        sink.write(answer(number))
    assert sink.backlog.waiting == 3
    assert sink.backlog.dropped == 5
    sink.close(1)
    assert sum("the spool is full; 1 of the oldest records" in line for line in told) == 1


def test_a_closed_sink_takes_nothing(tmp_path: Path) -> None:
    sink = webhook(tmp_path, f"http://127.0.0.1:{free_port()}/x", [])
    sink.close(1)
    with pytest.raises(SinkError, match="is closed"):
        sink.write(answer(1))


def test_an_address_with_credentials_leaves_no_trace_of_them(tmp_path: Path) -> None:
    told: list[str] = []
    url = f"http://user:hunter2@127.0.0.1:{free_port()}/hook?token=hunter2"
    sink = open_sink(url, lambda: tmp_path, told.append)
    sink.write(answer(1))
    until(lambda: told)
    sink.close(1)
    threads = [thread.name for thread in threading.enumerate()]
    names = [path.name for path in tmp_path.rglob("*")]
    contents = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in [*told, *names, sink.name, *threads] if "hunter2" in text]
    assert not [content for content in contents if b"hunter2" in content]
    assert len(names) == 2


def test_only_a_certificate_of_the_named_authority_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    told, certificate = list[str](), DATA / "localhost.pem"
    with web_receiver(certificate=certificate) as receiver:
        url = f"https://localhost:{receiver.port}/hook"
        doubting = webhook(tmp_path, url, told)
        doubting.write(answer(1))
        until(lambda: told)
        doubting.close(1)
        assert receiver.requests == []
        webhook(tmp_path, url, told, ca_file=certificate).close(5)
    assert receiver.numbers() == [1]
    assert told[0].startswith("there: its certificate is not trusted: self-signed certificate;")


def test_a_certificate_that_is_not_valid_yet_is_told_with_what_our_clock_shows() -> None:
    """Machines without a battery begin in 1970."""
    early = ssl.SSLCertVerificationError(1, "certificate verify failed")
    early.verify_message = "certificate is not yet valid"
    said = _reason(requests.exceptions.SSLError(early))
    assert said.startswith("its certificate is not trusted: certificate is not yet valid (this machine's clock shows")
    assert f"{clock.wall():%Y}" in said


SENDER = """
import sys
from pathlib import Path
from tests.support.receivers import answer
from stts_runtime.sinks import open_sink
sink = open_sink(sys.argv[1], lambda: Path(sys.argv[2]), lambda text: None)
first = int(sys.argv[3])
for number in range(first, first + int(sys.argv[4])):
    sink.write(answer(number, "x" * (number * 37 % 900)))
    print(number, flush=True)
if len(sys.argv) > 5:
    sink.close(10)
else:
    sys.stdin.read()
"""


def test_a_sender_that_is_killed_at_work_loses_nothing_and_keeps_the_order(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'runtime'}:{ROOT}"}
    with web_receiver() as receiver:
        command = [sys.executable, "-c", SENDER, receiver.url(), str(tmp_path)]
        for first in (1, 101):
            arguments = [*command, str(first), "100"]
            pipe = subprocess.PIPE
            with subprocess.Popen(arguments, text=True, env=environment, stdin=pipe, stdout=pipe) as child:
                assert child.stdout is not None
                assert [int(next(child.stdout)) for _ in range(100)][-1] == first + 99
                child.kill()
        subprocess.run([*command, "201", "1", "close"], check=True, env=environment, stdout=subprocess.DEVNULL)
    received = receiver.numbers()
    assert sorted(set(received)) == list(range(1, 202))
    # The one that was under way may come twice, right after itself.
    assert received == sorted(received)
    assert len(received) <= 203


def test_a_user_in_the_address_is_basic_authentication(tmp_path: Path) -> None:
    with web_receiver() as receiver:
        sink = webhook(tmp_path, receiver.url(user="user:pass@"), [])
        sink.write(answer(1))
        sink.close(5)
    assert receiver.requests[0].headers["Authorization"] == "Basic dXNlcjpwYXNz"


def test_pauses_grow_with_jitter_up_to_a_bound() -> None:
    pauses = Pauses(first=1, longest=8, longest_asked=20)
    for failures, whole in ((1, 1), (2, 2), (3, 4), (4, 8), (99, 8)):
        assert whole / 2 <= pauses.after(failures, None) <= whole
    assert len({pauses.after(3, None) for _ in range(20)}) > 1
    assert pauses.after(1, 7.0) == 7.0
    assert pauses.after(1, 99.0) == 20


# MQTT


def mqtt(folder: Path, port: int, told: list[str], user: str = "", **settings: Any) -> SpooledSink:
    settings = {"timeout": 0.3, **settings}
    return spooled(folder, Mqtt(MqttConfig(to=f"mqtt://{user}127.0.0.1:{port}/site/gate", **settings)), told)


def numbers_of(broker: Broker) -> list[int]:
    return [json.loads(body)["number"] for body in broker.texts("site/gate")]


def test_records_are_published_in_order_between_online_and_offline(tmp_path: Path) -> None:
    told: list[str] = []
    with mqtt_broker() as broker:
        sink = mqtt(tmp_path, broker.port, told)
        for number in range(1, 11):
            sink.write(answer(number))
        sink.close(5)
        until(lambda: broker.goodbyes == 1)
    assert numbers_of(broker) == list(range(1, 11))
    assert broker.texts("site/gate/status") == [b"online", b"offline"]
    assert [retained for topic, _, retained in broker.published if topic.endswith("status")] == [True, True]
    assert b"site/gate/status" in broker.connections[0]
    assert b"offline" in broker.connections[0]
    assert told == []


def test_a_record_without_receipt_is_sent_again(tmp_path: Path) -> None:
    told: list[str] = []
    with mqtt_broker() as broker:
        sink = mqtt(tmp_path, broker.port, told)
        until(lambda: broker.texts("site/gate/status"))
        broker.mute = True
        sink.write(answer(1))
        until(lambda: told)
        assert sink.backlog.waiting == 1
        broker.mute = False
        until(lambda: sink.backlog.waiting == 0)
        sink.close(5)
    assert len(numbers_of(broker)) >= 2
    assert set(numbers_of(broker)) == {1}
    assert told[0] == "there: no receipt from the broker in time; records wait in the spool"


def test_a_lost_connection_is_made_again_though_nothing_waits(tmp_path: Path) -> None:
    with mqtt_broker() as broker:
        sink = mqtt(tmp_path, broker.port, [])
        until(lambda: broker.texts("site/gate/status"))
        broker.drop_all()
        until(lambda: len(broker.texts("site/gate/status")) == 2)
        sink.write(answer(1))
        until(lambda: numbers_of(broker) == [1])
        sink.close(5)
    assert len(broker.connections) == 2


def test_records_wait_for_a_broker_that_is_down(tmp_path: Path) -> None:
    port, told = free_port(), list[str]()
    sink = mqtt(tmp_path, port, told)
    for number in (1, 2, 3):
        sink.write(answer(number))
    until(lambda: told)
    with mqtt_broker(port) as broker:
        until(lambda: sink.backlog.waiting == 0)
        sink.close(5)
    assert numbers_of(broker) == [1, 2, 3]
    assert told == ["there: no connection: Connection refused; records wait in the spool", "there: is back"]


def test_a_refused_login_is_said_without_the_password(tmp_path: Path) -> None:
    told: list[str] = []
    with mqtt_broker() as broker:
        broker.refusal = 5
        sink = mqtt(tmp_path, broker.port, told, user="user:hunter2@")
        sink.write(answer(1))
        until(lambda: told)
        sink.close(1)
    assert b"hunter2" in broker.connections[0]
    assert told[0] == "there: the broker refuses the connection: Not authorized; records wait in the spool"


def test_the_password_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQTT_PASSWORD", "s3cret")
    with mqtt_broker() as broker:
        sink = mqtt(tmp_path, broker.port, [], password={"env": "MQTT_PASSWORD"}, user="someone@")
        until(lambda: broker.connections)
        sink.close(5)
    assert b"someone" in broker.connections[0]
    assert b"s3cret" in broker.connections[0]


def test_no_thread_stays_behind(tmp_path: Path) -> None:
    with mqtt_broker() as broker:
        sink = mqtt(tmp_path, broker.port, [])
        sink.write(answer(1))
        sink.close(5)
        until(lambda: not [one for one in threading.enumerate() if one.name.startswith(("sink", "paho"))])
    assert not sink._thread.is_alive()


def test_sinks_without_a_network_need_none_of_its_libraries() -> None:
    code = "import sys, stts_runtime.sinks; sys.exit(bool({'requests', 'paho'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "runtime")})
