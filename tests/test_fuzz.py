"""Whatever a file or a request holds, it is refused in one sentence or it is right: never another exception, never a
long wait. Valid documents are spoilt at random, in their structure and in their bytes.

`STTS_FUZZ=100 pytest tests/test_fuzz.py` tries a hundred times as many; that takes about ten minutes.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.weight_layout import Stored, lay_out, read_layout
from stts_runtime.cli.text import one_line
from stts_runtime.errors import SttsError
from stts_runtime.passports import EngineStore
from stts_runtime.serve import media
from stts_runtime.serve.api_errors import handle_errors
from stts_runtime.serve.chat_request import ModelChoice, question_of
from stts_runtime.serve.openai_records import ChatRequest
from stts_runtime.serve.questions import Media
from stts_runtime.serve.settings import ServeConfig, ServerSettings
from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.config_file import load_config
from tests.support.places import ROOT

DATA = ROOT / "tests" / "data"
TIMES = int(os.environ.get("STTS_FUZZ", "1"))


def tried(times: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=times * TIMES,
        deadline=2000 if TIMES == 1 else None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=TIMES == 1,
    )


# --- Spoilt documents ---

STRANGE = st.one_of(
    st.sampled_from(
        [None, True, -1, 0, 2**31, 2**63, -(2**64), 10**400, 0.5, float("inf"), float("-inf"), float("nan"), "", "\0"]
    ),
    st.sampled_from(
        ["../x", "/etc/passwd", "a/b", "\ud800", "x" * 5000, "1e999", "${HOME}", "data:", "file-1", [], {}]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = [path] if path else []
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document if isinstance(document, list) else ())
    )
    for step, value in inner:
        found += places(value, (*path, step))
    return found


@st.composite
def spoilt(draw: st.DrawFn, document: Any) -> Any:
    """`document` with up to three places replaced, taken away, put in a list, or with a stranger beside it."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        there = places(changed)
        if not there:
            break
        *way, last = draw(st.sampled_from(there))
        parent = changed
        for step in way:
            parent = parent[step]
        how = draw(st.sampled_from(["replace", "remove", "nest", "add"]))
        if how == "remove":
            del parent[last]
        elif how == "nest":
            parent[last] = [parent[last]]
        elif how == "add" and isinstance(parent, dict):
            parent[draw(st.text(max_size=8))] = draw(STRANGE)
        else:
            parent[last] = draw(STRANGE)
    return changed


@st.composite
def spoilt_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """`content` cut, or with some bytes replaced by others, more or fewer."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(changed)))
        end = min(len(changed), start + draw(st.integers(0, 8)))
        changed[start:end] = draw(
            st.binary(max_size=8)
            | st.sampled_from([b'"', b"[" * 3000, b"{", b"\xff", b"\0", b"9" * 5000, b"-", b"1e99"])
        )
    return bytes(changed[: draw(st.integers(0, len(changed)))] if draw(st.booleans()) else changed)


def written(document: Any) -> bytes:
    return json.dumps(document).encode()


def either(document: Any) -> st.SearchStrategy[bytes]:
    return spoilt(document).map(written) | spoilt_bytes(written(document))


def refused_or_right(use: Callable[[], object]) -> None:
    try:
        use()
    except SttsError as error:
        shown = one_line(str(error))
        assert 0 < len(shown) <= 2000
        shown.encode()


# --- What is spoilt ---


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(DATA / "bundle-v6", tmp_path_factory.mktemp("fuzz") / "bundle"))


@pytest.mark.parametrize("version", [1, 3, 6, 7])
def test_a_manifest(bundle: Path, version: int) -> None:
    @tried(120)
    @given(either(json.loads((DATA / f"bundle-v{version}" / "manifest.json").read_text())))
    def check(content: bytes) -> None:
        (bundle / "manifest.json").write_bytes(content)
        refused_or_right(lambda: Bundle.open(bundle))

    check()


def test_a_passport(tmp_path: Path) -> None:
    passport = json.loads((DATA / "passport-v2.json").read_text())
    (tmp_path / "engines").mkdir()
    store = EngineStore(tmp_path)
    name = f"{passport['part']}.{passport['flavour']}.json"

    @tried(250)
    @given(either(passport))
    def check(content: bytes) -> None:
        (tmp_path / "engines" / name).write_bytes(content)
        refused_or_right(lambda: store.read(passport["part"], passport["flavour"]))

    check()
    (tmp_path / "engines" / name).write_bytes(written(passport))
    assert store.read(passport["part"], passport["flavour"]).part == passport["part"], "this is where it is looked for"


HEADER = {
    "__metadata__": {"format": "pt"},
    "a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
}


def safetensors(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + bytes(32)


LENGTHS = st.none() | st.sampled_from([0, 1, 2**63, 2**64 - 1]) | st.integers(0, 400)


def test_the_header_of_a_bundles_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"

    @tried(300)
    @given(either(HEADER), LENGTHS)
    def check(header: bytes, length: int | None) -> None:
        path.write_bytes(safetensors(header, length))

        def use() -> None:
            layout, begin = read_layout(path)
            for placed in layout.values():
                assert begin + placed.end <= path.stat().st_size
                assert min(placed.stored.shape, default=0) >= 0

        refused_or_right(use)

    check()
    beginning, _ = lay_out({"b": Stored("BF16", 2, (4,))})
    path.write_bytes(beginning + bytes(8))
    assert read_layout(path)[0]["b"].end == 8


@pytest.mark.parametrize(
    "entry",
    [
        '{"dtype": "F32", "shape": [1e999], "data_offsets": [0, 4]}',
        '{"dtype": "F32", "shape": [1], "data_offsets": [-Infinity, 4]}',
        '{"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}',
        '{"dtype": "F32", "shape": [4611686018427387905, 4], "data_offsets": [0, 16]}',
        '{"dtype": "F32", "shape": [1], "data_offsets": [28, 40]}',
        '{"dtype": "F32", "shape": [' + "9" * 5000 + '], "data_offsets": [0, 4]}',
        '{"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}',
        "[" * 100_000,
    ],
)
def test_a_header_that_was_written_to_harm(tmp_path: Path, entry: str) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors(f'{{"a": {entry}}}'.encode()))
    with pytest.raises(SttsError, match="is damaged: it is not a safetensors file"):
        read_layout(path)


def test_the_header_and_index_of_a_checkpoints_weights(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from stts_export.checkpoint.safetensors_files import INDEX, SINGLE, SafetensorsFiles

    index = {"weight_map": {"a.weight": "one.safetensors", "b": "one.safetensors"}}

    @tried(120)
    @given(either(HEADER), LENGTHS, st.none() | either(index))
    def check(header: bytes, length: int | None, listed: bytes | None) -> None:
        for name in (INDEX, SINGLE, "one.safetensors"):
            (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / ("one.safetensors" if listed else SINGLE)).write_bytes(safetensors(header, length))
        if listed:
            (tmp_path / INDEX).write_bytes(listed)

        def use() -> None:
            weights = SafetensorsFiles(tmp_path)
            for name in weights.entries:
                weights.read(name)

        refused_or_right(use)

    check()


CONFIG = {
    "bundle": "b",
    "questions": ["Who?"],
    "when": "novelty>0.2",
    "longest_pause": "5m",
    "sinks": ["a.jsonl", {"to": "mqtt://h/t", "password": {"env": "A"}}, {"to": "https://h/x", "token": {"env": "A"}}],
    "streams": [{"name": "gate", "source": "rtsp://u:${CAM}@h/1"}, {"name": "yard", "source": 0, "sinks": ["-"]}],
    "metrics": "127.0.0.1:9109",
    "serve": {"listen": "127.0.0.1:8080", "limits": {"clip_seconds": "5m"}, "trust_proxy": ["10.0.0.0/8"]},
}


@pytest.mark.parametrize("kind", [StreamConfig, ServeConfig])
def test_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[StreamConfig]) -> None:
    monkeypatch.setenv("CAM", "x")
    path = tmp_path / "cameras.yaml"
    text = yaml.safe_dump(CONFIG).encode()

    @tried(120)
    @given(spoilt(CONFIG).map(written) | spoilt_bytes(text))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        refused_or_right(lambda: load_config(path, kind))

    check()
    path.write_bytes(text)
    load_config(path, kind)


LAUGHS = "bundle: b\nsinks:\n- &a0 [x.jsonl, x.jsonl]\n" + "".join(
    f"- &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "bundle: &a [*a]\n",
        "sinks: &a {to: *a}\n",
        "streams: " + "[" * 20_000,
        "streams: " + "{a: " * 5000,
        "when: 2026-99-99\n",
        "when: 2026-01-01 99:00:00\n",
        "keep: !!int x\n",
        "keep: !!float x\n",
        "keep: !!timestamp x\n",
        "keep: !!binary x\n",
        "keep: !!bool x\n",
        "keep: !!omap x\n",
        "? !!set {a, b}\n: 1\n",
        "? {a: b}\n: 1\n",
        "<<: 1\n",
        "<<: [1]\n",
        "longest_pause: 1" + "0" * 400 + "\n",
        'bundle: "\\ud800"\n',
        '"\\ud800": 1\n',
        "frames: " + "9" * 5000 + "\n",
        "bundle: b\n" + "x: 1\n" * 300_000,
    ],
)
def test_a_configuration_that_was_written_to_harm(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text(text)
    with pytest.raises(SttsError):
        load_config(path, StreamConfig)


CHAT = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be short."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
            ],
        },
        {"role": "assistant", "content": "A car."},
        {"role": "user", "content": [{"type": "file", "file": {"file_data": "data:video/mp4;base64,AAAA"}}]},
    ],
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 5,
    "stop": ["a"],
    "temperature": 0,
}


def chat_app(told: list[str]) -> FastAPI:
    """What a chat request passes before its media is decoded."""
    app, options = FastAPI(), ServerSettings()
    handle_errors(app, told.append)

    @app.post("/chat")
    async def chat(body: ChatRequest) -> str:
        question, notes = question_of(body, ModelChoice(), options)
        if isinstance(question.about, Media) and media.is_data_url(question.about.url.strip()):
            content = media.data_url(question.about.url.strip(), options.limits, question.about.param)
            return media.kind_of(content, options.limits)
        return ", ".join(notes)

    return app


def posted(app: FastAPI, content: bytes) -> tuple[int, bytes]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/chat", "query_string": b"", "headers": headers}
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return sent[0]["status"], sent[1]["body"]


def test_a_chat_request() -> None:
    told: list[str] = []
    app = chat_app(told)

    @tried(250)
    @given(either(CHAT))
    def check(content: bytes) -> None:
        status, answer = posted(app, content)
        assert status in (200, 400, 404, 413), (status, told)
        assert told == []
        if status != 200:
            error = json.loads(answer)["error"]
            assert 0 < len(error["message"]) <= 1000
            assert "Input should" not in error["message"], error

    check()
