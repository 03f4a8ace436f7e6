"""Compiling: with the real TensorRT-RTX, which needs no GPU for it, and with small machines and broken builds."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stts_export.building import BuildRequest, build_bundle
from stts_runtime.bundle import Bundle
from stts_runtime.cli.compile import Listener
from stts_runtime.compile import child
from stts_runtime.compile import run as run_module
from stts_runtime.compile.child import compile_part
from stts_runtime.compile.choose import architectures_for, check_place, parts_of
from stts_runtime.compile.jobs import run_jobs
from stts_runtime.compile.preflight import Estimate, Machine, check_machine, estimate
from stts_runtime.compile.request import PartRequest, Progress
from stts_runtime.compile.run import CompileRequest, compile_bundle
from stts_runtime.device import Device
from stts_runtime.errors import BundleError, EngineError, UserError
from stts_runtime.passports import EngineStore, Lengths, Passport, verified_engines
from stts_runtime.tensorrt import Flavour, load_flavour
from tests.support.compiled import JETSON, WORKSTATION
from tests.support.programs import BIN, assert_refused, run

ARCHITECTURES = ["sm86", "sm89", "sm120"]
NOTHING = Device("linux-x86_64", None, None, None, "the driver finds no GPU")


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.estimates: Mapping[str, Estimate] = {}
        self.begun: list[str] = []
        self.reused: list[str] = []
        self.steps: list[Progress] = []
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def start(self, estimates: Mapping[str, Estimate]) -> None:
        self.estimates = estimates

    def begin(self, part: str) -> None:
        self.begun.append(part)

    def progress(self, part: str, progress: Progress) -> None:
        self.steps.append(progress)

    def end(self, part: str, passport: Passport, reused: bool) -> None:
        if reused:
            self.reused.append(part)


@pytest.fixture
def copy(targets_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(targets_bundle.folder, tmp_path / "bundle"))


def request_for(graph: Path, folder: Path, lengths: Lengths | None = None) -> PartRequest:
    """Asks for `graph`, compiled for one architecture, as `folder`/plan."""
    return PartRequest(
        flavour="tensorrt-rtx",
        graph=str(graph),
        plan=str(folder / "plan"),
        architectures=["sm86"],
        precision="fp16",
        lengths=lengths,
        timing_cache=None,
    )


def left_behind(bundle: Path) -> list[str]:
    return [path.name for path in bundle.parent.iterdir() if path != bundle]


def test_every_part_compiles_for_three_architectures_and_is_not_compiled_twice(copy: Path) -> None:
    heard = Heard()
    passports = compile_bundle(CompileRequest(copy, "tensorrt-rtx", architectures=ARCHITECTURES), heard)
    parts = list(Bundle.open(copy).manifest.parts())
    assert [passport.part for passport in passports] == parts == heard.begun == list(heard.estimates)
    assert all(passport.architectures == ARCHITECTURES and passport.seconds > 0 for passport in passports)
    assert passports[-1].lengths == Lengths(shortest=1, usual=256, longest=576)
    assert verified_engines(Bundle.open(copy)) == passports
    assert {step.phase for step in heard.steps} >= {"Building engine"}
    assert max(step.depth for step in heard.steps) > 0
    assert all(0 <= step.step <= step.steps for step in heard.steps)
    assert left_behind(copy) == []

    for wanted, begun in ((["sm89"], []), (["sm80"], parts)):
        again = Heard()
        compile_bundle(CompileRequest(copy, "tensorrt-rtx", architectures=wanted), again)
        assert (again.begun, again.reused) == (begun, [] if begun else parts), "only what is missing"


@pytest.mark.parametrize("part", ["vision.full-t3", "vision.clip-t3-k0.5", "vision.live-k0.5", "language"])
def test_the_decomposed_graphs_compile_too(targets_bundle: Bundle, tmp_path: Path, part: str) -> None:
    """What TensorRT 10.3 gets; that version itself cannot be installed here."""
    lengths = Lengths(shortest=1, usual=256, longest=576) if part == "language" else None
    graph = targets_bundle.folder / f"{part}.tensorrt-10.onnx"
    done = compile_part(request_for(graph, tmp_path, lengths), lambda _: None)
    assert done.peak_memory_mb > 100
    assert (tmp_path / "plan").stat().st_size > 10_000


def test_weights_are_in_the_language_engine_once(targets_bundle: Bundle, tmp_path: Path) -> None:
    """One profile for prefill and single tokens. Two would store the weights twice."""
    folder = targets_bundle.folder
    lengths = Lengths(shortest=1, usual=256, longest=576)
    compile_part(request_for(folder / "language.tensorrt.onnx", tmp_path, lengths), lambda _: None)
    plan = (tmp_path / "plan").read_bytes()
    from safetensors.numpy import load_file

    weights = load_file(folder / "language.16bit.safetensors")
    base = weights["language_model.embed_tokens.base"].tobytes()
    assert plan.count(base[:64]) == 1


def test_what_tensorrt_cannot_read_is_told_in_its_words(copy: Path, tmp_path: Path) -> None:
    request = request_for(copy / "language.onnx", tmp_path)
    with pytest.raises(EngineError, match=r"TensorRT 1\..* cannot read language\.onnx: .*4D"):
        compile_part(request, lambda _: None)
    assert not (tmp_path / "plan").exists()


def test_a_child_that_is_killed_is_explained(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suicide = "import os, signal, sys; sys.stdin.readline(); os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr(child, "_START", suicide)
    with pytest.raises(EngineError, match=r"killed by the system, which is what happens when memory runs out; .*swap"):
        compile_bundle(CompileRequest(copy, "tensorrt-rtx", architectures=["sm86"]), Heard())
    assert not (copy / "engines").exists()
    assert left_behind(copy) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemExit('no luck today')", "ended with code 1: no luck today"),
        ("import os; os.abort()", "was ended by SIGABRT: no reason given"),
        ("import sys; sys.stderr.write('chatter ' * 50_000 + 'end'); sys.exit(3)", "ended with code 3: .*chatter end"),
    ],
)
def test_a_child_that_crashes_leaves_its_last_words(
    copy: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    monkeypatch.setattr(child, "_START", code)
    with pytest.raises(EngineError, match=message):
        compile_bundle(CompileRequest(copy, "tensorrt-rtx", architectures=["sm86"]), Heard())


def test_a_child_that_ended_before_it_was_asked_is_explained_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_and_wait(*arguments: Any, **options: Any) -> subprocess.Popen[str]:
        started = popen(*arguments, **options)
        os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
        return started

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start_and_wait)
    monkeypatch.setattr(child, "_START", "raise SystemExit('no luck today')")
    with pytest.raises(EngineError, match=r"compiling language\.onnx ended with code 1: no luck today"):
        compile_part(request_for(Path("language.onnx"), tmp_path), lambda _: None)


def test_a_full_disk_leaves_no_engine(copy: Path) -> None:
    """TensorRT calls a truncated engine a success; a limit on the size of files stands in for the disk."""
    program = f"ulimit -f 600; exec {BIN}/stts-runtime compile {copy} --engine tensorrt-rtx --arch sm86"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    said = "the file would be larger than is allowed here"
    assert (done.returncode, done.stderr) == (
        2,
        f"error: the engine cannot be written to {_scratch(done.stderr)}: {said}\n",
    )
    assert verified_engines(Bundle.open(copy)) == []
    assert not (copy / "engines").exists()


def _scratch(message: str) -> str:
    return message.split(" written to ")[1].split(": the file", maxsplit=1)[0]


def test_nothing_in_the_current_folder_is_run(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "download"
    here.mkdir()
    (here / "tensorrt_rtx.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(here)
    compile_bundle(CompileRequest(copy, "tensorrt-rtx", ["full-t3"], ["sm86"]), Heard())
    assert not (tmp_path / "ran").exists()


def test_what_a_kill_left_behind_is_removed(copy: Path) -> None:
    left = copy / "engines" / ".compiling-x"
    left.mkdir(parents=True)
    (left / "vision.plan").write_bytes(b"half")
    Bundle.open(copy).verify_all()
    with EngineStore(copy).scratch() as scratch:
        assert scratch.parent == left.parent
        assert not left.exists()
    assert not left.parent.exists()


def test_one_bundle_is_compiled_by_one_process_at_a_time(copy: Path) -> None:
    with EngineStore(copy).scratch() as scratch:
        words = ["stts-runtime", "compile", copy, "--engine", "tensorrt-rtx", "--arch", "sm86"]
        assert_refused(run(*words), "is being compiled by another process")
        assert scratch.exists()


def test_another_architecture_is_added_and_none_is_lost(copy: Path) -> None:
    compile_bundle(CompileRequest(copy, "tensorrt-rtx", ["full-t3"], ["sm86"]), Heard())
    passports = compile_bundle(CompileRequest(copy, "tensorrt-rtx", ["clip-t3-k0.5"], ["sm89"]), Heard())
    assert {passport.part: passport.architectures for passport in passports} == {
        "vision.clip-t3-k0.5": ["sm89"],
        "language": ["sm86", "sm89"],
    }


@pytest.mark.parametrize("bars", [True, False])
def test_a_build_is_never_silent_for_long(capsys: pytest.CaptureFixture[str], bars: bool) -> None:
    clock = iter(range(0, 10_000, 20))
    listener = Listener(bars=bars, now=lambda: float(next(clock)))
    with listener:
        listener.start({"language": Estimate(2_500, 900, 150)})
        listener.begin("language")
        for step in range(5):
            listener.progress("language", Progress(phase="Timing tactics", depth=1, step=step, steps=5))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "1 parts to compile: about 2.5 GB of memory, 0.90 GB of disk, 2 minutes"
    assert ("language: compiling" in said) == (not bars)
    heartbeats = [line for line in said if line.startswith("language: Timing tactics, ")]
    assert (len(heartbeats) >= 2) == (not bars)


def test_a_version_that_tells_no_progress_is_not_silent_either(capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter(range(0, 10_000, 20))
    with Listener(bars=False, now=lambda: float(next(clock))) as listener:
        listener.begin("language")
        for _ in range(5):
            listener.progress("language", Progress(phase="compiling", depth=0, step=0, steps=0))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "language: compiling"
    assert all(re.fullmatch(r"language: \d+ s passed", line) for line in said[1:])
    assert len(said) > 2


def test_parts_compiled_at_the_same_time_need_their_memory_together(capsys: pytest.CaptureFixture[str]) -> None:
    estimates = {"a": Estimate(700, 30, 60), "b": Estimate(900, 30, 60), "c": Estimate(800, 30, 60)}
    Listener(jobs=2).start(estimates)
    assert "about 1.7 GB of memory, 0.09 GB of disk, 90 s" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"compiling 2 parts at a time needs about 1\.7 GB.*fewer --jobs need less"):
        check_machine(Path(), estimates, Machine(1000, 0, 1000), jobs=2)
    check_machine(Path(), estimates, Machine(1000, 0, 1000))


def test_no_time_is_promised_where_the_device_decides(capsys: pytest.CaptureFixture[str]) -> None:
    Listener().start({"language": Estimate(700, 30, None)})
    assert "a time that depends on the device" in capsys.readouterr().out


def test_parts_are_compiled_at_the_same_time(copy: Path) -> None:
    heard = Heard()
    request = CompileRequest(copy, "tensorrt-rtx", architectures=["sm86"], jobs=2)
    passports = compile_bundle(request, heard)
    assert [passport.part for passport in passports] == list(Bundle.open(copy).manifest.parts())
    assert verified_engines(Bundle.open(copy)) == passports
    assert left_behind(copy) == []


def test_a_part_that_fails_ends_the_others(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first child fails at once, the others would take for ever."""
    code = "import sys, time; time.sleep(0 if 'full-t3' in sys.stdin.readline() else 60); sys.exit('broken')"
    monkeypatch.setattr(child, "_START", code)
    started = time.monotonic()
    with pytest.raises(EngineError, match=r"full-t3\.tensorrt\.onnx ended with code 1: broken"):
        compile_bundle(CompileRequest(copy, "tensorrt-rtx", architectures=["sm86"], jobs=3), Heard())
    assert time.monotonic() - started < 30
    assert not (copy / "engines").exists()
    assert not any("time.sleep(0 if" in _command_line(one) for one in _started_by(os.getpid()))


def test_an_interrupt_while_tasks_are_handed_out_ends_those_that_run() -> None:
    def wait(stop: threading.Event) -> bool:
        ended.append(stop.wait(20))
        return True

    def tasks() -> Iterator[Callable[[threading.Event], bool]]:
        yield wait
        raise KeyboardInterrupt

    ended: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        run_jobs(tasks(), 1)
    assert ended == [True]


def test_no_task_begins_after_one_that_failed() -> None:
    def fail(_: threading.Event) -> None:
        raise UserError("the first")

    begun: list[threading.Event] = []
    with pytest.raises(UserError, match="the first"):
        run_jobs([fail, begun.append, begun.append], 1)
    assert begun == []


def test_an_interrupted_build_keeps_what_was_finished_and_leaves_no_process(copy: Path) -> None:
    class Interrupts(Heard):
        def progress(self, part: str, progress: Progress) -> None:
            if len(self.begun) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_bundle(CompileRequest(copy, "tensorrt-rtx", architectures=["sm86"]), Interrupts())
    engines = verified_engines(Bundle.open(copy))
    assert [passport.part for passport in engines] == ["vision.full-t3"]
    assert left_behind(copy) == []
    heard = Heard()
    compile_bundle(CompileRequest(copy, "tensorrt-rtx", architectures=["sm86"]), heard)
    assert heard.reused == ["vision.full-t3"]


def test_ctrl_c_ends_the_program_and_its_child(copy: Path) -> None:
    command = [str(BIN / "stts-runtime"), "compile", str(copy), "--engine", "tensorrt-rtx", "--arch", "sm86"]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (children := _children(program.pid)) and time.monotonic() < deadline:
        time.sleep(0.01)
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=60)
    assert children
    assert (program.returncode, said) == (130, "error: interrupted\n")
    assert not any(Path(f"/proc/{number}").exists() for number in children)
    assert left_behind(copy) == []
    Bundle.open(copy).verify_all()


def _children(number: int) -> list[int]:
    """Those that compile: they are Python, and any thread may have started them."""
    return [one for one in _started_by(number) if "compile.worker" in _command_line(one)]


def _started_by(number: int) -> list[int]:
    found: list[int] = []
    for listed in Path(f"/proc/{number}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, listed.read_text().split())
    return found


def _command_line(number: int) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_text()
    except OSError:
        return ""


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    """Even if the parent is killed: the child sees its standard input end."""
    code = (
        "import subprocess, sys, time\n"
        "run = 'from stts_runtime.compile.worker import main; main()'\n"
        "p = subprocess.Popen([sys.executable, '-c', run], stdin=subprocess.PIPE)\n"
        "p.stdin.write(open(sys.argv[1], 'rb').read() + b'\\n'); p.stdin.flush()\n"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    # A worker that waits for a graph that never comes.
    os.mkfifo(tmp_path / "graph.onnx")
    request = request_for(tmp_path / "graph.onnx", tmp_path)
    (tmp_path / "request").write_text(request.model_dump_json())
    command = [sys.executable, "-c", code, str(tmp_path / "request")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    time.sleep(1)
    assert Path(f"/proc/{worker}").exists()
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while _runs(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(worker)


def _runs(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_small_machine_is_told_before_anything_is_compiled(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls, _: cls(300, 0, 10_000)))
    with pytest.raises(UserError, match=r"needs about 0\.7 GB of memory and 0\.3 GB are free.*add 0\.4 GB of swap"):
        compile_bundle(CompileRequest(copy, "tensorrt-rtx", architectures=["sm86"]), Heard())
    assert not (copy / "engines").exists()
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls, _: cls(400, 400, 10)))
    with pytest.raises(UserError, match=r"6 engines need about 0\.1 GB of disk and 0\.0 GB are free.*--variant"):
        compile_bundle(CompileRequest(copy, "tensorrt-rtx", architectures=["sm86"]), Heard())
    check_machine(copy, {}, Machine(0, 0, 0))


def test_the_estimate_grows_with_the_weights(targets_bundle: Bundle) -> None:
    rtx, in_memory = (
        load_flavour("tensorrt-rtx"),
        Flavour("tensorrt", SimpleNamespace(__version__="10.3.0", Builder=object)),
    )
    parts = {part.name: part for part in parts_of(targets_bundle, rtx, [])}
    vision, language = (estimate(targets_bundle, parts[name], rtx) for name in ("vision.full-t3", "language"))
    sizes = targets_bundle.manifest.files
    heavier = sizes["vision.16bit.safetensors"].size_bytes > sizes["language.16bit.safetensors"].size_bytes
    assert (vision.memory_mb > language.memory_mb) == heavier
    weights_mb = sizes["vision.16bit.safetensors"].size_bytes / 1e6
    copied = estimate(targets_bundle, parts["vision.full-t3"], in_memory)
    assert copied.memory_mb == pytest.approx(vision.memory_mb + weights_mb)
    assert vision.disk_mb > sizes["vision.16bit.safetensors"].size_bytes / 1e6


@pytest.mark.parametrize(
    ("version", "lowering"),
    [
        ("8.6.2", "tensorrt-8"),
        ("9.3.0", "tensorrt-8"),
        ("10.2.0", "tensorrt-8"),
        ("10.3.0.30", "tensorrt-10"),
        ("10.13.3.9", "tensorrt-10"),
        ("10.16.2.10", "tensorrt"),
        ("11.4.0.106", "tensorrt"),
    ],
)
def test_the_version_on_the_device_chooses_the_graph(targets_bundle: Bundle, version: str, lowering: str) -> None:
    flavour = Flavour("tensorrt", SimpleNamespace(__version__=version))
    assert {part.lowering for part in parts_of(targets_bundle, flavour, [])} == {lowering}


def test_a_version_too_old_and_a_bundle_without_graphs_say_what_to_do(
    targets_bundle: Bundle, micro_bundle: Bundle
) -> None:
    old = Flavour("tensorrt", SimpleNamespace(__version__="8.5.2.2"))
    with pytest.raises(UserError, match=r"tensorrt 8\.5\.2\.2 is too old: graphs are written for 8\.6 and newer"):
        parts_of(targets_bundle, old, [])
    with pytest.raises(
        BundleError, match=r"has graphs for cpu and none for tensorrt-rtx; build it again with: stts-export"
    ):
        parts_of(micro_bundle, load_flavour("tensorrt-rtx"), [])
    with pytest.raises(UserError, match=r"no variant 'full-t9'; it has full-t3, clip-t3-k0\.5"):
        parts_of(targets_bundle, old, ["full-t9"])


def test_architectures_are_those_named_or_this_machines() -> None:
    rtx, plain = load_flavour("tensorrt-rtx"), Flavour("tensorrt", SimpleNamespace(__version__="10.3.0"))
    assert architectures_for(rtx, ["sm89", "sm86", "sm89"], NOTHING) == ["sm89", "sm86"]
    assert architectures_for(rtx, [], WORKSTATION) == ["sm86"]
    assert architectures_for(plain, [], JETSON) == ["sm87"]
    with pytest.raises(UserError, match=r"no GPU here to compile for .*of sm80, sm86, sm89, sm120, sm121: --arch"):
        architectures_for(rtx, [], NOTHING)
    with pytest.raises(UserError, match="does not compile these graphs for sm87, but for sm80"):
        architectures_for(rtx, [], JETSON)
    with pytest.raises(UserError, match="compiles on the device that runs the engine, and there is no NVIDIA GPU here"):
        check_place("tensorrt", NOTHING)
    check_place("tensorrt-rtx", NOTHING)
    with pytest.raises(UserError, match=r"for the GPU of this machine only \(sm86\)"):
        architectures_for(plain, ["sm89"], WORKSTATION)


def test_a_jetson_that_was_updated_compiles_again(targets_bundle: Bundle, tmp_path: Path) -> None:
    """An engine of TensorRT is finished only for the device that it was compiled on."""
    from tests.support import fake_tensorrt
    from tests.support.compiled import with_engines

    bundle = with_engines(targets_bundle, tmp_path, "tensorrt")
    flavour = Flavour("tensorrt", fake_tensorrt)
    (part, *_) = parts_of(bundle, flavour, ["full-t3"])

    def finished(device: Device) -> bool:
        run = run_module._Run(bundle, flavour, device, ["sm86"])
        return run.suffices(run.standing(part))

    assert finished(WORKSTATION)
    assert not finished(replace(WORKSTATION, driver="470.1"))
    assert not finished(JETSON)


def test_the_program_compiles_one_variant_and_the_language_model(copy: Path) -> None:
    words = ["stts-runtime", "compile", copy, "--engine", "tensorrt-rtx", "--arch", "sm86", "--variant", "full-t3"]
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert "vision.full-t3: " in done.stdout
    assert "2 tensorrt-rtx engines" in done.stdout
    report = json.loads(run(*words, "--json").stdout)
    assert [engine["part"] for engine in report["engines"]] == ["vision.full-t3", "language"]
    assert json.loads(run("stts-runtime", "inspect", copy, "--json").stdout)["engines"] == report["engines"]
    assert_refused(run(*words[:5], "--arch", "sm90"), "does not compile these graphs for sm90")
    assert_refused(run("stts-runtime", "compile", copy, "--engine", "tensorrt"), "there is no NVIDIA GPU here")


def test_a_damaged_bundle_is_not_compiled(copy: Path) -> None:
    weights = copy / "vision.16bit.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match=r"vision\.16bit\.safetensors is damaged"):
        compile_bundle(CompileRequest(copy, "tensorrt-rtx", architectures=["sm86"]), Heard())
    assert not EngineStore(copy).folder.exists()


def test_a_bundle_for_newer_versions_only_says_how_to_have_older_graphs(micro_checkpoint: Path, tmp_path: Path) -> None:
    bundle = build_bundle(
        BuildRequest(micro_checkpoint, tmp_path / "rtx", [2], [1.0], ["clip"], targets=["tensorrt-rtx"])
    )
    jetpack6 = Flavour("tensorrt", SimpleNamespace(__version__="10.3.0.30"))
    with pytest.raises(
        BundleError,
        match=r"which need 10\.15 or newer; build it again with: .* --target tensorrt --force \(with your paths\)$",
    ):
        parts_of(bundle, jetpack6, [])


def test_build_compiles_too(micro_checkpoint: Path, tmp_path: Path) -> None:
    words: list[str | Path] = [
        "stts-export",
        "build",
        micro_checkpoint,
        "--out",
        tmp_path / "b",
        "--frames",
        "2",
        "--keep",
        "1",
    ]
    assert_refused(run(*words, "--compile"), "add --target tensorrt or --target tensorrt-rtx")
    assert_refused(run(*words, "--arch", "sm86"), "--arch says what to compile for; add --compile")
    assert_refused(run(*words, "--precision", "bf16"), "16-bit weights, and the target cpu is in float32")
    assert_refused(run(*words, "--target", "cpu-16bit", "--frames-from", "a.mp4"), "compute in float32")
    assert_refused(run(*words, "--target", "tensorrt", "--frames-from", "no.mp4"), "no such file: no.mp4")
    rtx: list[str | Path] = [*words, "--target", "tensorrt-rtx", "--compile"]
    assert_refused(run(*rtx, "--arch", "sm90"), "does not compile these graphs for sm90")
    assert not (tmp_path / "b").exists(), "known before the build"
    done = run(*rtx, "--arch", "sm86")
    assert done.returncode == 0, done.stderr
    assert len(verified_engines(Bundle.open(tmp_path / "b"))) == 2
