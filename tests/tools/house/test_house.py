"""The counter of the code: what it counts is what is there, and a route is followed through a server that runs."""

from __future__ import annotations

import ast
import sys
import textwrap
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from stts_runtime.bundle import Bundle
from stts_tools.house.__main__ import count_code
from stts_tools.house.imports import cycles, longest_chain, package_cycles
from stts_tools.house.routes import follow_chat, follow_frame
from stts_tools.house.sources import complexity, functions_of
from stts_tools.house.tracer import Tracer
from tests.support.places import ROOT

BRANCHES = """
def outer(items, flag):
    if flag and items or not flag:  # 1 + 2
        assert items  # 1
    for item in items:  # 1, and 1 for its else
        pass
    else:
        pass
    try:
        kept = [one for one in items if one if flag]  # 1 + 2
    except (ValueError, TypeError):  # 1
        kept = 1 if flag else 2  # 1
    match kept:
        case 1:  # 1
            pass
        case _:
            pass
    def inner(value):
        while value:  # 1
            value -= 1
    return inner
"""


def test_complexity_is_that_of_radon_with_nested_functions_apart() -> None:
    outer, inner = functions_of(ast.parse(BRANCHES))
    assert (complexity(outer), complexity(inner)) == (13, 2)


def write_sources(root: Path, **texts: str) -> Path:
    """Modules of `stts_runtime` by their names, __ for a dot."""
    for name, text in texts.items():
        path = root / "runtime" / "stts_runtime" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(textwrap.dedent(text))
    return root


def test_imports_within_functions_count_and_those_for_types_do_not(tmp_path: Path) -> None:
    write_sources(
        tmp_path,
        a="from stts_runtime import b\ndef f():\n    from stts_runtime.sinks.file import F",
        b="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from stts_runtime.a import f\nimport numpy",
        sinks__file="from stts_runtime.stream.record import R",
        sinks__open="from .file import F",
        stream__record="",
        stream__run="from stts_runtime.sinks.open import O",
    )
    imports = count_code(tmp_path)["imports"]
    assert imports["file_cycles"] == []
    assert imports["package_cycles"] == [["stts_runtime.sinks", "stts_runtime.stream"]]
    assert imports["longest_chain"] == [
        f"stts_runtime.{name}" for name in ("stream.run", "sinks.open", "sinks.file", "stream.record")
    ]
    assert imports["fan_out"]["max"] == 2
    assert imports["imported_by_one"] == 3, "b, sinks.open and stream.record; sinks.file is imported by two"


def test_a_chain_passes_a_cycle_once() -> None:
    graph = {"p.a": {"p.b"}, "p.b": {"p.c", "p.a"}, "p.c": {"p.d"}, "p.d": set[str]()}
    assert cycles(graph) == package_cycles(graph) == [["p.a", "p.b"]]
    assert longest_chain(graph) == ["p.b", "p.c", "p.d"]


def test_places_are_found_by_their_calls(tmp_path: Path) -> None:
    write_sources(
        tmp_path,
        session="""
            class Session:
                def ask(self, tokens):
                    self._language.prefill(tokens)
                    return self._language.forward(tokens)
            class Engine:
                def prefill(self, tokens):
                    self.forward(tokens)
            class Graph:
                def forward(self, ids, caches):
                    return self.language.forward(ids, caches)
            """,
        video="import av\ndef read(path):\n    return av.open(path)\ndef write(path):\n    return av.open(path, 'w')",
    )
    assert count_code(tmp_path)["places"] == {
        "answers": ["runtime/stts_runtime/session.py: ask (forward, prefill)"],
        "decoders": ["runtime/stts_runtime/video.py: read (av.open)"],
    }


FOLLOWED = {
    "frame": """
        from dataclasses import dataclass
        import numpy as np
        class Base:
            def __init__(self): self.note = "kept"
        class Picture(Base):
            def __init__(self, pixels):
                super().__init__()
                self.pixels = pixels
        @dataclass(frozen=True)
        class Look:
            picture: Picture
        """,
    "answer": """
        from typing import NamedTuple
        class Answer(NamedTuple):
            text: str
        """,
    "work": """
        import numpy as np
        from followed.frame import Look, Picture
        from followed.answer import Answer
        class Service:
            def __init__(self): self.last = None
            def run(self):
                self.last = Look(Picture(np.zeros((2, 2, 3), np.uint8)))
                return Answer("red")
        """,
    "idle": "def idle(): pass",
}


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    folder = tmp_path / "followed"
    folder.mkdir()
    for name, text in FOLLOWED.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    package = import_module("followed")
    for name in FOLLOWED:
        import_module(f"followed.{name}")

    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "followed"]:
        del sys.modules[name]


def test_the_tracer_sees_all_threads_and_each_object_once_when_it_is_whole(
    followed: ModuleType, tmp_path: Path
) -> None:
    service = followed.work.Service()
    tracer = Tracer(tmp_path, [tmp_path / "followed"])
    profiles = sys.getprofile(), threading.getprofile()
    tracer.install()
    try:
        followed.idle.idle()
        tracer.start()
        thread = threading.Thread(target=service.run)
        thread.start()
        thread.join()
        trace = tracer.stop()
        followed.idle.idle()
    finally:
        sys.setprofile(profiles[0])
        threading.setprofile(profiles[1])
    assert list(trace.files.items()) == [
        ("followed/work.py", "Service.run"),
        ("followed/frame.py", "Picture.__init__"),
        ("followed/answer.py", "Answer"),
    ]
    assert [one.kind.rpartition(".")[2] for one in trace.made] == ["Picture", "Look", "Answer"]
    pixels = [leaf for one in trace.made[:2] for leaf in one.holds if not isinstance(leaf, str)]
    assert len(pixels) == 2, "the parent's constructor ends before there are any"
    assert trace.made[2].holds == ("red",)


@pytest.mark.onnxruntime
def test_a_chat_request_is_followed_to_its_last_token(micro_bundle: Bundle) -> None:
    chat = follow_chat(ROOT, micro_bundle.folder)
    assert len(chat["files"]) > 10
    assert all((ROOT / file).is_file() for file in chat["files"])
    assert not any("/cli/" in file for file in chat["files"]), "what runs once is no part of a request's way"
    held = {payload for one in chat["wrapped"] for payload in one["holds"]}
    assert held >= {"request", "picture", "features"}


@pytest.mark.slow
@pytest.mark.onnxruntime
def test_a_frame_is_followed_from_the_camera_to_the_webhook(micro_bundle: Bundle) -> None:
    frame = follow_frame(ROOT, micro_bundle.folder)
    assert len(frame["files"]) > 10
    assert any(file.endswith("/webhook.py") for file in frame["files"])
    assert {payload for one in frame["wrapped"] for payload in one["holds"]} >= {"picture", "features"}
