from __future__ import annotations

import configparser
import datetime
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from stts_runtime.errors import UserError
from stts_runtime.settings import Settings, parse_bytes, parse_seconds
from stts_runtime.sinks.config import ArchiveConfig, FileConfig, MqttConfig, ScreenConfig, WebhookConfig
from stts_runtime.stream.config import StreamConfig, StreamEntry
from stts_runtime.stream.config_fields import Listen, When
from stts_runtime.stream.config_file import exposed_passwords, load_config
from stts_runtime.stream.includes import ConfigFiles
from tests.support.places import ROOT

EXAMPLES = ROOT / "docs" / "examples"
LEAST = "bundle: b\nquestions: ['Who?']\nstreams:\n  - {name: gate, source: a.mp4}\n"


def loaded(folder: Path, text: str, suffix: str = ".yaml") -> StreamConfig:
    path = folder / f"cameras{suffix}"
    path.write_text(text)
    return load_config(path, StreamConfig)


def keys_of(kind: type[Settings]) -> list[str]:
    return [field.alias or name for name, field in kind.model_fields.items()]


def problem(folder: Path, text: str, suffix: str = ".yaml") -> str:
    with pytest.raises(UserError) as caught:
        loaded(folder, text, suffix)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{folder / 'cameras'}{suffix}")
    return message


def test_a_question_that_comes_twice_is_asked_once(tmp_path: Path) -> None:
    config = loaded(tmp_path, LEAST.replace("['Who?']", "['Who?', 'What?', ' Who? ']"))
    assert config.questions == ("Who?", "What?")


def test_a_stream_without_a_group_belongs_to_its_site(tmp_path: Path) -> None:
    streams = "  - {name: yard, source: a.mp4, group: ' floor 2 '}\n  - {name: dock, source: a.mp4, site: south}\n"
    config = loaded(tmp_path, f"site: north\n{LEAST}{streams}")
    assert [config.group(entry) for entry in config.streams] == ["north", "floor 2", "south"]
    assert "group" in problem(tmp_path, LEAST.replace("source", "group: '', source"))
    alone = loaded(tmp_path, LEAST)
    assert alone.group(alone.streams[0]) is None


def test_the_example_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_PASSWORD", "g")
    monkeypatch.setenv("YARD_PASSWORD", "y")
    path = EXAMPLES / "cameras.yaml"
    config = load_config(path, StreamConfig)
    gate, yard = config.streams
    assert gate.source == "rtsp://viewer:g@192.0.2.10/stream1"
    assert config.metrics == Listen.model_validate("127.0.0.1:9109")
    assert [type(sink) for sink in config.asking(gate).sinks] == [FileConfig, ArchiveConfig, MqttConfig]
    file = config.asking(gate).sinks[0]
    assert isinstance(file, FileConfig)
    assert file.max_bytes == 50_000_000
    assert config.asking(gate).longest_pause == 300
    assert [type(sink) for sink in config.asking(yard).sinks] == [WebhookConfig]
    assert config.asking(yard).when == When.model_validate("novelty>0.15")
    assert config.asking(yard).longest_pause == 30
    assert config.asking(yard).shortest_pause == 2
    assert len(config.all_sinks) == 4
    assert exposed_passwords(ConfigFiles(path)) == []


def test_the_unit_runs_the_command_with_the_example_and_keeps_what_it_needs() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(EXAMPLES / "stts-stream.service")
    service = unit["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "stts-runtime"
    assert arguments == ["stream", "--config", "/etc/stts/cameras.yaml"]
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == "2", "a camera locks out who shows a wrong password every 5 s"
    assert service["KillSignal"] == "SIGTERM"
    assert service["Type"] == "notify", "the watchdog counts from READY=1"
    assert service["WatchdogSec"] == "2min"
    assert shlex.split(service["ExecReload"])[1] == "-HUP"
    assert {"StateDirectory", "EnvironmentFile", "TimeoutStopSec", "User"} <= set(service)
    # Each of them hides the GPU, or stops what compiles at run time.
    assert not {"PrivateDevices", "ProtectClock", "DevicePolicy", "MemoryDenyWriteExecute"} & set(service)


def test_little_is_needed(tmp_path: Path) -> None:
    config = loaded(tmp_path, LEAST)
    asking = config.asking(config.streams[0])
    assert asking.questions == ("Who?",)
    assert asking.sinks == (ScreenConfig(),)
    assert (asking.when, asking.longest_pause, asking.shortest_pause) == (None, None, 0)
    assert config.max_tokens == 64


def test_a_stream_may_take_back_what_all_have(tmp_path: Path) -> None:
    text = "bundle: b\nquestions: ['Who?']\nwhen: novelty > .5\nstreams:\n  - {name: gate, source: a.mp4, when: null}\n"
    config = loaded(tmp_path, text)
    assert config.when == When.model_validate("novelty>0.5")
    assert config.asking(config.streams[0]).when is None


def test_toml_says_the_same(tmp_path: Path) -> None:
    text = 'bundle = "b"\nquestions = ["Who?"]\n[[streams]]\nname = "gate"\nsource = "a.mp4"\n'
    assert loaded(tmp_path, text, ".toml") == loaded(tmp_path, LEAST)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LEAST + "keeep: 1\n", "no such setting: keeep; there are questions, choices, schema, alert, when,"),
        (LEAST.replace("source", "sorce"), "streams[0] (stream gate): no such setting: sorce; there are "),
        (LEAST + "keep: 2\n", "keep should be at most 1"),
        (LEAST + "engine: gpu\n", "engine should be 'cpu', 'cuda', 'tensorrt' or 'tensorrt-rtx'"),
        (LEAST + "when: motion>3\n", "when: it should be novelty, or novelty>NUMBER"),
        (LEAST + "when: novelty>1.5\n", "when.novelty should be below 1"),
        (LEAST + "longest_pause: 5 minutes\n", "longest_pause: a time is a number of seconds, or a text such as 250ms"),
        (LEAST + "longest_pause: 1\nshortest_pause: 2\n", "longest_pause should not be below shortest_pause"),
        (LEAST + "metrics: 9109\n", "metrics: it should be ADDRESS:PORT: 127.0.0.1:9109"),
        (LEAST + "metrics: 0.0.0.0:99999\n", "metrics.port should be at most 65535"),
        (LEAST + "sinks: [ftp://h/x]\n", "sinks[0]: `to` should be - (the screen), FILE.jsonl, FILE.db"),
        (LEAST + "sinks: [{to: a.db, days: 0}]\n", "sinks[0].days should be above 0"),
        (LEAST + "sinks: [{to: a.db, max_bytes: 5kB}]\n", "sinks[0].max_bytes should be at least 1000000"),
        (LEAST + "sinks: [{to: a.jsonl, size: 3}]\n", "sinks[0]: no such setting: size; there are to, max_bytes"),
        (LEAST + "sinks: [{to: 'mqtt://h/t', password: abc}]\n", "sinks[0].password: a secret is {env: NAME}"),
        (LEAST + "  - {name: gate, source: b.mp4}\n", "a name of its own, and these come twice: gate"),
        (LEAST.replace("gate", "'a b'"), "streams[0].name (stream a b) should hold only letters, digits"),
        (LEAST.replace("questions: ['Who?']\n", ""), "stream gate has nothing to answer"),
        (LEAST.replace("'Who?'", "'  '"), "questions[0] should not be empty"),
        ("bundle: b\nquestions: ['Who?']\nstreams: []\n", "streams should list at least one stream"),
        (LEAST + "bundle: c\n", "is not valid YAML at line 5, column 1: this key is there twice"),
        (LEAST.replace("['Who?']", "What moves?"), 'questions: it should be a list, even of one: ["What moves?"]'),
        (
            LEAST.replace("['Who?']", "[Who is there?]"),
            "column 25: expected ',' or ']', but got '?'; put the text in quotes",
        ),
        (LEAST.replace("a.mp4", "gst: videotestsrc"), "but got ':'; put the text in quotes"),
        (LEAST + "when: @\n", "found character '@' that cannot start any token; put the text in quotes"),
        (LEAST + "\tx: 1\n", "found character '\\t' that cannot start any token; indent with spaces"),
        ("bundle: [\n", "is not valid YAML at line 2"),
        ("? [a, b]\n: c\n", "is not valid YAML at line 1"),
        ("bundle: \0\n", "cannot be parsed"),
        ("- bundle\n", "should hold settings"),
        ("", "should hold settings"),
    ],
)
def test_a_mistake_is_one_line_with_its_key_and_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    assert said in problem(tmp_path, text)


_WRONG = [7, -1, 0.5, "text", True, None, [], [7], ["a", 3], [["x"]], {}, {"a": 1}, datetime.date(2026, 1, 1)]
_STRANGE = re.compile(r"Input|Tuple|[Vv]alid |Value error|dictionary|NoneType|validation")


def complaints(folder: Path, content: dict[str, Any]) -> list[str]:
    """What is said of this content, after the file's name: nothing, if it is accepted."""
    try:
        loaded(folder, yaml.safe_dump(content))
    except UserError as error:
        message = str(error).removeprefix(f"{folder / 'cameras'}.yaml: ")
        assert "\n" not in message
        assert not _STRANGE.search(message), message
        return [message]
    return []


@pytest.mark.parametrize("key", keys_of(StreamEntry))
def test_a_wrong_kind_of_value_is_one_sentence_with_its_stream_and_key(tmp_path: Path, key: str) -> None:
    """In the middle one of three streams."""
    said = []
    for value in _WRONG:
        content: dict[str, Any] = {"bundle": "b", "questions": ["Who?"]}
        content["streams"] = [{"name": f"cam{number}", "source": "a.mp4"} for number in range(3)]
        content["streams"][1][key] = value
        said += complaints(tmp_path, content)
    assert len(said) >= 8
    for message in said:
        named = re.match(rf"streams\[1\]\.{key}\b[^;]*?(\(stream (.+?)\))?(:| should| is)", message)
        assert named or message.startswith("stream cam1 has nothing to answer"), message
        assert key == "name" or "stream cam1" in message
        assert len(re.findall(r"streams\[|stream \w+ has", message)) == 1


# `serve` and `fleet` are read by the commands of that name, whose tests hold their values.
@pytest.mark.parametrize("key", [key for key in keys_of(StreamConfig) if key not in ("serve", "fleet")])
def test_a_wrong_kind_of_value_for_all_streams_is_one_sentence_with_its_key(tmp_path: Path, key: str) -> None:
    said = []
    for value in _WRONG:
        content = {"bundle": "b", "questions": ["Who?"], "streams": [{"name": "gate", "source": "a.mp4"}], key: value}
        said += complaints(tmp_path, content)
    assert len(said) >= 8
    of_all = rf"{key}\b|stream gate has nothing" if key == "questions" else rf"{key}\b"
    of_all += r"|streams\[0\]" if key == "streams" else ""
    assert all(re.match(of_all, message) for message in said), said


@pytest.mark.parametrize("sink", [FileConfig, WebhookConfig, MqttConfig])
def test_a_wrong_kind_of_value_in_a_sink_is_one_sentence_with_its_stream_and_key(
    tmp_path: Path, sink: type[FileConfig | WebhookConfig | MqttConfig]
) -> None:
    to = {FileConfig: "a.jsonl", WebhookConfig: "http://h/x", MqttConfig: "mqtt://h/t"}[sink]
    for key in sink.model_fields:
        for value in _WRONG:
            streams = [{"name": "gate", "source": "a.mp4", "sinks": [{"to": to, key: value}]}]
            said = complaints(tmp_path, {"bundle": "b", "questions": ["Who?"], "streams": streams})
            place = r"sinks\[0\](?:\.to| \(stream gate\): `to`)" if key == "to" else rf"sinks\[0\]\.{key}\b"
            assert all(re.match(rf"streams\[0\]\.{place}", message) for message in said), said
            assert all("(stream gate)" in message for message in said), said


def test_a_camera_may_be_given_by_its_number(tmp_path: Path) -> None:
    assert loaded(tmp_path, LEAST.replace("a.mp4", "0")).streams[0].source == "0"


def test_yes_and_no_are_no_numbers(tmp_path: Path) -> None:
    assert problem(tmp_path, LEAST + "frames: yes\n").endswith("frames should be a whole number")


def test_pauses_of_a_stream_and_of_all_are_held_against_each_other(tmp_path: Path) -> None:
    message = problem(tmp_path, LEAST.replace("a.mp4", "a.mp4, longest_pause: 1") + "shortest_pause: 2\n")
    assert message.endswith("stream gate: longest_pause should not be below shortest_pause")


def test_many_mistakes_are_not_all_listed(tmp_path: Path) -> None:
    message = problem(tmp_path, LEAST + "keep: 2\nframes: 0\nkey_every: 0\nmax_tokens: 0\nengine: x\n")
    assert message.endswith("; and 2 more")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    assert "cannot be parsed at line 1, column" in problem(tmp_path, "bundle = \n", ".toml")
    with pytest.raises(UserError, match=r"should end in \.yaml"):
        loaded(tmp_path, LEAST, ".json")
    with pytest.raises(UserError, match="no such file"):
        load_config(tmp_path / "no.yaml", StreamConfig)
    (tmp_path / "latin.yaml").write_bytes(b"bundle: \xe9")
    with pytest.raises(UserError, match="is not UTF-8"):
        load_config(tmp_path / "latin.yaml", StreamConfig)


def test_secrets_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAM", "s3cret")
    text = LEAST.replace("a.mp4", "'rtsp://u:${CAM}@h/1'") + "sinks: ['http://u:${CAM}@h/x', {to: '${CAM}.jsonl'}]\n"
    config = loaded(tmp_path, text)
    assert config.streams[0].source == "rtsp://u:s3cret@h/1"
    assert [sink.to for sink in config.sinks] == ["http://u:s3cret@h/x", "s3cret.jsonl"]
    monkeypatch.delenv("CAM")
    assert "streams[0].source (stream gate) needs the environment variable CAM" in problem(
        tmp_path, LEAST.replace("a.mp4", "'rtsp://u:${CAM}@h/1'")
    )


def test_questions_may_hold_what_looks_like_a_variable(tmp_path: Path) -> None:
    config = loaded(tmp_path, LEAST.replace("'Who?'", "'Who is ${NOBODY}?'"))
    assert config.questions == ("Who is ${NOBODY}?",)


@pytest.mark.parametrize(
    "text",
    [
        LEAST + "keep: 'rtsp://u:hunter2@h'\n",
        LEAST + "sinks: ['ftp://u:hunter2@h/x']\n",
        LEAST + "sinks: ['http://u:hunter2@h:badport/x']\n",
        LEAST + "sinks: ['mqtt://u:hunter2@h']\n",
        LEAST + "sinks: [{to: 'https://h/x', token: hunter2}]\n",
        LEAST + "sinks: [{to: 'https://h/x', token: {env: A, file: hunter2}}]\n",
        LEAST + "longest_pause: hunter2\n",
        LEAST + "x: *hunter2\n",
        LEAST + "x: 'hunter2\n",
        LEAST + "x: !hunter2 y\n",
        LEAST + "x: !hunter2!z y\n",
    ],
)
def test_a_mistake_does_not_repeat_what_was_written(tmp_path: Path, text: str) -> None:
    assert "hunter2" not in problem(tmp_path, text)


@pytest.mark.parametrize(
    ("mode", "source", "warned"),
    [
        (0o644, "rtsp://u:hunter2@h/1", True),
        (0o640, "rtsp://u:hunter2@h/1", False),
        (0o644, "rtsp://u:${CAM}@h/1", False),
        (0o644, "rtsp://h:554/1", False),
    ],
)
def test_a_password_that_everybody_can_read_gets_a_warning(
    tmp_path: Path, mode: int, source: str, warned: bool
) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text(LEAST.replace("a.mp4", f"'{source}'"))
    path.chmod(mode)
    warnings = exposed_passwords(ConfigFiles(path))
    assert len(warnings) == warned
    assert "hunter2" not in str(warnings)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(3, 3), (0.5, 0.5), ("5", 5), ("250ms", 0.25), ("90s", 90), ("5m", 300), ("1.5 h", 5400), ("1d", 86400)],
)
def test_times_are_written_as_people_do(text: str | float, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["5 min", "-3s", "s", "", None, True, float("nan"), "1e3s", [1]])
def test_other_times_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a time is a number of seconds"):
        parse_seconds(text)


def test_sizes_are_written_as_people_do() -> None:
    assert [parse_bytes(text) for text in (7, "500kB", "64MB", "2GB")] == [7, 500_000, 64_000_000, 2_000_000_000]


def test_spools_lie_where_the_service_manager_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/stts:/other")
    assert loaded(tmp_path, LEAST).state_folder == Path("/var/lib/stts")
    assert loaded(tmp_path, LEAST + "state: /data\n").state_folder == Path("/data")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    assert loaded(tmp_path, LEAST).state_folder == Path("/home/me/state/stts")
