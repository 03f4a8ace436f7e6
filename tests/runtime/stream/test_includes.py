"""Files that include others, defaults and templates: what becomes of them, and one line for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from stts_runtime.errors import UserError
from stts_runtime.sinks.config import FileConfig, WebhookConfig
from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.config_file import exposed_passwords, load_config
from stts_runtime.stream.includes import ConfigFiles

ROOT = "bundle: b\nquestions: ['Who?']\n"


def written(folder: Path, **texts: str) -> Path:
    """`a__b` is the file a/b.yaml; the first is the one that is returned."""
    paths = [folder / f"{name.replace('__', '/')}.yaml" for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return paths[0]


def problem(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, StreamConfig)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{path.parent}/", "")


def test_two_hundred_cameras_take_a_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAM", "s3cret")
    template = (
        "templates:\n"
        "  door:\n"
        "    source: rtsp://viewer:${CAM}@{host}/stream1\n"
        "    when: novelty>0.15\n"
        "    sinks: ['/var/lib/stts/{name}.jsonl']\n"
    )
    lines = [f"  - {{name: cam{n:03}, template: door, values: {{host: 192.0.2.{n}}}}}" for n in range(200)]
    path = written(
        tmp_path,
        cameras=ROOT + template + "include: cameras/*.yaml\n",
        cameras__south="streams:\n" + "\n".join(lines[100:]),
        cameras__north="streams:\n" + "\n".join(lines[:100]),
    )
    config = load_config(path, StreamConfig)
    assert [one.name for one in config.streams] == [f"cam{n:03}" for n in range(200)]
    last = config.streams[-1]
    assert last.source == "rtsp://viewer:s3cret@192.0.2.199/stream1"
    assert last.when is not None
    assert last.when.novelty == 0.15
    assert last.sinks == (FileConfig(to="/var/lib/stts/cam199.jsonl"),)
    assert config.asking(last).questions == ("Who?",)
    assert exposed_passwords(ConfigFiles(path)) == []


def test_what_is_nearer_to_a_stream_holds(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        cameras=ROOT
        + "longest_pause: 1\nshortest_pause: 1\ndefaults: {longest_pause: 2}\n"
        + "templates: {door: {longest_pause: 4}}\ninclude: [north.yaml]\n"
        + "streams: [{name: own, source: a.mp4}]\n",
        north="defaults: {longest_pause: 3}\nstreams:\n"
        "  - {name: of_file, source: a.mp4}\n"
        "  - {name: of_template, source: a.mp4, template: door}\n"
        "  - {name: of_entry, source: a.mp4, template: door, longest_pause: 5}\n",
    )
    config = load_config(path, StreamConfig)
    pauses = {one.name: config.asking(one).longest_pause for one in config.streams}
    assert pauses == {"of_file": 3, "of_template": 4, "of_entry": 5, "own": 2}
    assert {config.asking(one).shortest_pause for one in config.streams} == {1}


def test_files_come_in_the_order_in_which_people_count_and_hidden_ones_do_not(tmp_path: Path) -> None:
    texts = {f"c__{n}": f"streams: [{{name: cam{n}, source: a.mp4}}]\n" for n in (10, 2, 1)}
    path = written(tmp_path, cameras=ROOT + "include: c/*.yaml\n", **texts)
    (tmp_path / "c" / ".#2.yaml").write_text("streams: [")
    assert [one.name for one in load_config(path, StreamConfig).streams] == ["cam1", "cam2", "cam10"]


def test_toml_includes_too(tmp_path: Path) -> None:
    written(tmp_path, north="streams: [{name: gate, source: a.mp4}]\n")
    path = tmp_path / "cameras.toml"
    path.write_text('bundle = "b"\nquestions = ["Who?"]\ninclude = "north.yaml"\n')
    assert [one.name for one in load_config(path, StreamConfig).streams] == ["gate"]
    path.write_text('bundle = "b"\nquestions = ["Who?"]\ninclude = "north.yaml"\n[defaults]\nsorce = "x"\n')
    assert "cameras.toml: defaults: no such setting: sorce; there are " in problem(path)


ONE = "streams: [{name: gate, source: a.mp4}]\n"


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"cameras": ROOT + "include: no.yaml\n"}, "cameras.yaml, line 3: no file is no.yaml"),
        ({"cameras": ROOT + "include: c/*.yaml\n" + ONE}, "cameras.yaml, line 3: no file is c/*.yaml"),
        ({"cameras": ROOT + 'include: "a\\0*.yaml"\n'}, "no path was given"),
        ({"cameras": ROOT + f"include: {'a' * 300}.yaml\n"}, "the name is too long"),
        ({"cameras": ROOT + "include: 3\n"}, "line 3: include should be a file or pattern, or a list of them"),
        (
            {"cameras": ROOT + "include: a.yaml\n", "a": "defaults: {}\ninclude: b.yaml\n", "b": "include: a.yaml\n"},
            "b.yaml, line 1: it includes a.yaml, which leads back to it",
        ),
        (
            {"cameras": ROOT + "include: a.yaml\n" + ONE, "a": "\n" + ONE},
            "cameras.yaml: each stream needs a name of its own: gate is at a.yaml, line 2 and cameras.yaml, line 4",
        ),
        (
            {"cameras": ROOT + "include: a.yaml\n", "a": "streams:\n  - {name: gate, source: a.mp4}\n  - {name: x}\n"},
            "cameras.yaml: a.yaml, line 3: source (stream x) is missing",
        ),
        (
            {"cameras": ROOT + "include: a.yaml\n", "a": "streams:\n  - {name: gate, sorce: a.mp4}\n"},
            "cameras.yaml: a.yaml, line 2: stream gate: no such setting: sorce; there are ",
        ),
        ({"cameras": ROOT + "include: a.yaml\n", "a": "keep: 1\n"}, "a.yaml, line 1: keep stands in an included file"),
        ({"cameras": ROOT + "include: a.yaml\n", "a": "streams: x\n"}, "a.yaml, line 1: streams should be a list"),
        ({"cameras": ROOT + "include: a.yaml\n", "a": "- x\n"}, "a.yaml should hold settings: include, defaults"),
        (
            {"cameras": ROOT + "include: a.yaml\n", "a": "streams: [Who is there?]\n"},
            "a.yaml is not valid YAML at line 1, column 23",
        ),
        ({"cameras": ROOT + "defaults: {sorce: x}\n" + ONE}, "line 3: defaults: no such setting: sorce; there are "),
        (
            {"cameras": ROOT + "templates:\n  door: {when: motion}\n" + ONE},
            "line 4: templates.door.when: it should be novelty",
        ),
        ({"cameras": ROOT + "templates: {door: 3}\n" + ONE}, "line 3: templates.door should be settings of streams"),
        (
            {"cameras": ROOT + "templates: {door: {}}\nstreams:\n  - {name: gate, source: x, template: dor}\n"},
            "line 5: template should be the name of one under `templates`; there are door",
        ),
        (
            {"cameras": ROOT + "templates: {t: {source: 'rtsp://{host}/1'}}\nstreams:\n  - {name: g, template: t}\n"},
            "line 5: source needs a value for {host}: values: {host: ...}",
        ),
        (
            {"cameras": ROOT + "streams:\n  - {name: g, source: x, values: [1]}\n"},
            "line 4: values should be texts or numbers by name",
        ),
        ({"cameras": ROOT + "include: a.yaml\n", "a": "{}"}, "streams is missing"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_file_and_line(tmp_path: Path, texts: dict[str, str], said: str) -> None:
    assert said in problem(written(tmp_path, **texts))


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, cameras=ROOT + "include: c/*.yaml\n" + ONE)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "gone.yaml").symlink_to("nowhere.yaml")
    assert "gone.yaml" in problem(path)


def test_files_that_include_one_another_without_end_are_refused(tmp_path: Path) -> None:
    texts = {f"f{n}": f"include: f{n + 1}.yaml\n" for n in range(30)}
    path = written(tmp_path, cameras=ROOT + "include: f0.yaml\n", **texts)
    assert "files include one another more than 16 deep" in problem(path)


def test_a_file_may_hold_the_values_of_its_own_braces(tmp_path: Path) -> None:
    """Only what is shared is filled in: a pipeline may have braces of its own."""
    path = written(tmp_path, cameras=ROOT + "streams: [{name: g, source: 'gst:a{b}c', sinks: ['http://h/{x}']}]\n")
    (stream,) = load_config(path, StreamConfig).streams
    assert stream.source == "gst:a{b}c"
    assert stream.sinks == (WebhookConfig(to="http://h/{x}"),)


def test_a_password_in_an_included_file_is_warned_of(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        cameras=ROOT + "include: a.yaml\n",
        a="streams: [{name: gate, source: 'rtsp://u:hunter2@h/1'}]\n",
    )
    (tmp_path / "a.yaml").chmod(0o644)
    (warning,) = exposed_passwords(ConfigFiles(path))
    assert warning.startswith(f"{tmp_path / 'a.yaml'} holds a password")
    assert "hunter2" not in warning
