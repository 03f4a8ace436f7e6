"""What `stts-runtime doctor` says of machines that are not here, and that it says it of this one."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import cv2
import psutil
import pytest

from stts_runtime.cli import doctor as command_line
from stts_runtime.device import Device, Gpu
from stts_runtime.doctor import Fact, Report, Target, examine
from stts_runtime.doctor.extras import extras_facts
from stts_runtime.doctor.gpu import gpu_facts
from stts_runtime.doctor.host import host_facts
from stts_runtime.doctor.modules import Module, installed_version, look_for, numbers
from stts_runtime.doctor.onnxruntime import cpu_target, cuda_target, onnxruntime_facts
from stts_runtime.doctor.tensorrt import has_apt_module, rtx_target, tensorrt_facts, tensorrt_target
from stts_runtime.doctor.video import video_facts
from tests.runtime.device.test_device import command, tree
from tests.support.installed import HAS_ONNXRUNTIME
from tests.support.programs import run

NO_DRIVER = "the NVIDIA driver's library libcuda.so.1 is not installed"
BARE = Device("linux-x86_64", None, None, None, NO_DRIVER)
ADA = Device("linux-x86_64", Gpu("NVIDIA L4", "sm89", 24 * 10**9), "580.65.06", None, None, "13.0")
HOPPER = replace(ADA, gpu=Gpu("NVIDIA H100 80GB HBM3", "sm90", 85 * 10**9))
ORIN = Device("linux-aarch64", Gpu("Orin", "sm87", 8 * 10**9), "540.4.0", "36.4.7", None, "12.6")

ONNXRUNTIME = Module("ONNX Runtime", "1.31.1", providers=("CPUExecutionProvider",))
TENSORRT = Module("TensorRT", "10.16.1.11")
RTX = Module("TensorRT-RTX", "1.7.1.116")
BINDINGS = Module("cuda-bindings", "13.0.3")
NO_ENGINE_LIBRARY = "OSError: libnvinfer.so.10: cannot open shared object file"

EXTRA = "pip install 'stts-export[tensorrt]'"
RTX_EXTRA = "pip install 'stts-export[tensorrt-rtx]'"


def missing(module: Module) -> Module:
    return Module(module.label, None)


def broken(module: Module, failure: str = NO_ENGINE_LIBRARY) -> Module:
    return Module(module.label, None, failure)


def value(facts: list[Fact], name: str) -> str | None:
    (fact,) = [fact for fact in facts if fact.name == name]
    assert (fact.value is None) != (fact.because is None)
    return fact.value


def because(facts: list[Fact], name: str) -> str | None:
    (fact,) = [fact for fact in facts if fact.name == name]
    return fact.because


# Targets


@pytest.mark.parametrize(
    ("module", "python", "ready", "sentence", "command"),
    [
        (ONNXRUNTIME, (3, 10), True, "ONNX Runtime 1.31.1 runs the graphs as they are, without compiling.", None),
        (
            missing(ONNXRUNTIME),
            (3, 11),
            False,
            "ONNX Runtime is not installed, and the graphs need ONNX Runtime 1.25 or newer.",
            "pip install 'stts-export[cpu]'",
        ),
        (
            replace(ONNXRUNTIME, version="1.24.4"),
            (3, 11),
            False,
            "ONNX Runtime 1.24.4 is installed, and the graphs need ONNX Runtime 1.25 or newer.",
            "pip install 'stts-export[cpu]'",
        ),
        (
            replace(ONNXRUNTIME, version="1.23.2"),
            (3, 10),
            False,
            (
                "ONNX Runtime 1.23.2 is installed, and the graphs need ONNX Runtime 1.25 or newer, which is not made "
                "for Python 3.10 but for 3.11 and newer."
            ),
            None,
        ),
        (
            broken(ONNXRUNTIME, "ImportError: libc.so.6: version GLIBC_2.38 not found"),
            (3, 11),
            False,
            (
                "ONNX Runtime is installed but does not load (ImportError: libc.so.6: version GLIBC_2.38 not found), "
                "and the graphs need ONNX Runtime 1.25 or newer."
            ),
            None,
        ),
    ],
)
def test_cpu(module: Module, python: tuple[int, int], ready: bool, sentence: str, command: str | None) -> None:
    assert cpu_target(module, python) == Target(
        name="cpu", ready=ready, can_compile=False, because=sentence, command=command
    )


ON_GPU = Module("ONNX Runtime", "1.31.1", None, ("CUDAExecutionProvider", "CPUExecutionProvider"))
REPLACE = "pip uninstall -y onnxruntime && pip install 'stts-export[cuda]'"
CUDA_EXTRA = "pip install 'stts-export[cuda]'"


@pytest.mark.parametrize(
    ("device", "onnxruntime", "bindings", "sentence", "command"),
    [
        (HOPPER, ON_GPU, BINDINGS, "ONNX Runtime 1.31.1 runs the graphs for it as they are, without compiling.", None),
        (BARE, ON_GPU, BINDINGS, f"Its engines run on an NVIDIA GPU, and {NO_DRIVER}.", None),
        (ADA, missing(ON_GPU), BINDINGS, "ONNX Runtime is not installed.", CUDA_EXTRA),
        (
            ADA,
            replace(ON_GPU, providers=("CPUExecutionProvider",)),
            BINDINGS,
            "The ONNX Runtime 1.31.1 that is installed has no CUDA provider.",
            REPLACE,
        ),
        (
            ADA,
            replace(ON_GPU, version="1.30.0"),
            BINDINGS,
            "ONNX Runtime 1.30.0 is installed, and its graphs need ONNX Runtime 1.31 or newer.",
            CUDA_EXTRA,
        ),
        (
            ADA,
            ON_GPU,
            missing(BINDINGS),
            "Cuda engines need cuda-bindings, and cuda-bindings is not installed.",
            "pip install 'cuda-bindings==13.*'",
        ),
    ],
)
def test_cuda(device: Device, onnxruntime: Module, bindings: Module, sentence: str, command: str | None) -> None:
    ready = sentence.startswith("ONNX Runtime 1.31.1 runs")
    assert cuda_target(device, onnxruntime, bindings) == Target(
        name="cuda", ready=ready, can_compile=False, because=sentence, command=command
    )


@pytest.mark.parametrize(
    ("device", "tensorrt", "bindings", "apt_module", "sentence", "command"),
    [
        (BARE, TENSORRT, BINDINGS, False, f"TensorRT builds an engine on the GPU that runs it, and {NO_DRIVER}.", None),
        (ADA, missing(TENSORRT), BINDINGS, True, "TensorRT is not installed.", EXTRA),
        (
            ADA,
            broken(TENSORRT),
            BINDINGS,
            False,
            f"TensorRT is installed but does not load ({NO_ENGINE_LIBRARY}).",
            None,
        ),
        (
            ADA,
            replace(TENSORRT, version="8.5.3"),
            BINDINGS,
            False,
            "TensorRT 8.5.3 is installed, and the graphs need 8.6 or newer.",
            EXTRA,
        ),
        (
            ORIN,
            replace(TENSORRT, version="8.5.2"),
            BINDINGS,
            True,
            "TensorRT 8.5.2 is installed, and the graphs need 8.6 or newer.",
            None,
        ),
        (
            ADA,
            TENSORRT,
            missing(BINDINGS),
            False,
            "TensorRT engines need cuda-bindings, and cuda-bindings is not installed.",
            "pip install 'cuda-bindings==13.*'",
        ),
        (
            ADA,
            TENSORRT,
            broken(BINDINGS, "ImportError: no"),
            False,
            "TensorRT engines need cuda-bindings, and cuda-bindings is installed but does not load (ImportError: no).",
            None,
        ),
        (
            replace(ADA, cuda="12.4"),
            TENSORRT,
            BINDINGS,
            False,
            "cuda-bindings 13.0.3 is newer than the driver, which is for CUDA 12.4; update the driver.",
            None,
        ),
        (
            ORIN,
            missing(TENSORRT),
            BINDINGS,
            False,
            "TensorRT is not installed; on a Jetson it comes with JetPack.",
            "sudo apt install nvidia-jetpack",
        ),
        (
            ORIN,
            missing(TENSORRT),
            BINDINGS,
            True,
            f"JetPack's TensorRT is for the system's Python, and {sys.executable} does not see it.",
            "/usr/bin/python3 -m venv --system-site-packages VENV && VENV/bin/pip install stts-export",
        ),
        (
            ORIN,
            replace(TENSORRT, version="10.3.0"),
            missing(BINDINGS),
            True,
            "TensorRT engines need cuda-bindings, and cuda-bindings is not installed.",
            "pip install 'cuda-bindings==12.*'",
        ),
        (
            ORIN,
            replace(TENSORRT, version="10.3.0"),
            BINDINGS,
            True,
            "cuda-bindings 13.0.3 is newer than the driver, which is for CUDA 12.6.",
            "pip install 'cuda-bindings==12.*'",
        ),
    ],
)
def test_tensorrt_says_what_is_in_the_way(
    device: Device, tensorrt: Module, bindings: Module, apt_module: bool, sentence: str, command: str | None
) -> None:
    assert tensorrt_target(device, tensorrt, bindings, apt_module) == Target(
        name="tensorrt", ready=False, can_compile=False, because=sentence, command=command
    )


@pytest.mark.parametrize(("l4t", "host_may_have_it"), [("36.4.7", True), (None, True), ("39.2.0", False)])
def test_a_container_without_the_compiler_of_the_dla_is_told_what_to_do(
    l4t: str | None, host_may_have_it: bool
) -> None:
    failure = "ImportError: libnvdla_compiler.so: cannot open shared object file: No such file or directory"
    said = tensorrt_target(replace(ORIN, l4t=l4t), broken(TENSORRT, failure), BINDINGS, apt_module=False).because
    assert failure in said
    assert "a container made for JetPack 7.2" in said
    for remedy in ("--runtime nvidia", "nvidia-l4t-dla-compiler"):
        assert (remedy in said) == host_may_have_it
    assert "\n" not in said


@pytest.mark.parametrize(
    ("device", "tensorrt", "bindings", "sentence"),
    [
        (ADA, "10.16.1.11", "12.9.10", "TensorRT 10.16.1.11 builds and runs engines on this NVIDIA L4 (sm89)."),
        (ADA, "11.4.0.106", "13.5.0", "TensorRT 11.4.0.106 builds and runs engines on this NVIDIA L4 (sm89)."),
        (ORIN, "8.6.2", "12.9.10", "TensorRT 8.6.2 builds and runs engines on this Orin (sm87)."),
        (ORIN, "10.3.0", "12.9.10", "TensorRT 10.3.0 builds and runs engines on this Orin (sm87)."),
    ],
)
def test_tensorrt_is_ready_with_gpu_module_and_bindings(
    device: Device, tensorrt: str, bindings: str, sentence: str
) -> None:
    target = tensorrt_target(device, Module("TensorRT", tensorrt), Module("cuda-bindings", bindings), apt_module=False)
    assert target == Target(name="tensorrt", ready=True, can_compile=True, because=sentence, command=None)


ELSEWHERE = "it runs on sm80, sm86, sm89, sm120, sm121, and this {} is none of them"


@pytest.mark.parametrize(
    ("device", "rtx", "bindings", "can_compile", "sentence", "command"),
    [
        (
            BARE,
            RTX,
            missing(BINDINGS),
            True,
            f"TensorRT-RTX 1.7.1.116 compiles here for other machines, but cannot run: {NO_DRIVER}.",
            None,
        ),
        (
            BARE,
            missing(RTX),
            BINDINGS,
            False,
            f"TensorRT-RTX is not installed; with it, this machine could compile for others, but not run: {NO_DRIVER}.",
            RTX_EXTRA,
        ),
        (
            BARE,
            broken(RTX),
            BINDINGS,
            False,
            f"TensorRT-RTX is installed but does not load ({NO_ENGINE_LIBRARY}), and it could not run: {NO_DRIVER}.",
            None,
        ),
        (
            HOPPER,
            RTX,
            BINDINGS,
            True,
            (
                "TensorRT-RTX 1.7.1.116 compiles here for other machines, but cannot run: "
                f"{ELSEWHERE.format('NVIDIA H100 80GB HBM3 (sm90)')}."
            ),
            None,
        ),
        (
            ORIN,
            missing(RTX),
            BINDINGS,
            False,
            f"TensorRT-RTX is not installed, and it could not run: {ELSEWHERE.format('Orin (sm87)')}.",
            None,
        ),
        (ADA, missing(RTX), missing(BINDINGS), False, "TensorRT-RTX is not installed.", RTX_EXTRA),
        (
            ADA,
            broken(RTX),
            BINDINGS,
            False,
            f"TensorRT-RTX is installed but does not load ({NO_ENGINE_LIBRARY}).",
            None,
        ),
        (
            ADA,
            RTX,
            missing(BINDINGS),
            True,
            "TensorRT-RTX engines need cuda-bindings, and cuda-bindings is not installed.",
            "pip install 'cuda-bindings==13.*'",
        ),
        (
            replace(ADA, cuda="12.8"),
            RTX,
            BINDINGS,
            True,
            "cuda-bindings 13.0.3 is newer than the driver, which is for CUDA 12.8; update the driver.",
            None,
        ),
    ],
)
def test_rtx_says_what_is_in_the_way_and_whether_it_compiles_all_the_same(
    device: Device, rtx: Module, bindings: Module, can_compile: bool, sentence: str, command: str | None
) -> None:
    assert rtx_target(device, rtx, bindings) == Target(
        name="tensorrt-rtx", ready=False, can_compile=can_compile, because=sentence, command=command
    )


@pytest.mark.parametrize("architecture", ["sm80", "sm86", "sm89", "sm120", "sm121"])
def test_rtx_is_ready_on_the_architectures_that_it_knows(architecture: str) -> None:
    device = replace(ADA, gpu=Gpu("RTX", architecture, 1))
    sentence = f"TensorRT-RTX 1.7.1.116 compiles and runs engines on this RTX ({architecture})."
    assert rtx_target(device, RTX, BINDINGS) == Target(
        name="tensorrt-rtx", ready=True, can_compile=True, because=sentence, command=None
    )


@pytest.mark.parametrize("architecture", ["sm75", "sm87", "sm90", "sm100", "sm110"])
def test_rtx_is_never_ready_elsewhere(architecture: str) -> None:
    assert not rtx_target(replace(ADA, gpu=Gpu("other", architecture, 1)), RTX, BINDINGS).ready


# Modules


def module_file(folder: Path, name: str, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(folder, {f"{name}/__init__.py": body})
    monkeypatch.syspath_prepend(str(folder))


def test_module_that_loads_gives_its_version_and_providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = '__version__ = "9.8"\nget_available_providers = lambda: ["A", "B"]\nprint("a line of its own")\n'
    module_file(tmp_path, "tensorrt", body, monkeypatch)
    assert look_for("tensorrt", "TensorRT") == Module("TensorRT", "9.8", None, ("A", "B"))
    assert "tensorrt" not in sys.modules


def test_version_is_that_of_the_nearest_package_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, {"outer_package/inner/__init__.py": '__version__ = "1.2"', "outer_package/inner/leaf.py": ""})
    monkeypatch.syspath_prepend(str(tmp_path))
    assert look_for("outer_package.inner.leaf", "it").version == "1.2"


def test_module_without_a_version_loads_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module_file(tmp_path, "tensorrt", "", monkeypatch)
    found = look_for("tensorrt", "TensorRT")
    assert found.version == "of unknown version"
    assert numbers(found.version) == (0, 0)


@pytest.mark.parametrize("name", ["no_such_module", "no_such_package.inner.leaf"])
def test_module_that_is_absent_is_missing_and_not_broken(name: str) -> None:
    found = look_for(name, "TensorRT")
    assert found.is_missing
    assert found.because == "TensorRT is not installed"


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ("import no_such_libs", "ModuleNotFoundError: No module named 'no_such_libs'"),
        ("raise ImportError('numpy is too new\\nfor this')", "ImportError: numpy is too new for this"),
        ("import ctypes; ctypes.CDLL('libnone.so.1')", "OSError: libnone.so.1: cannot open shared object file"),
        ("raise ZeroDivisionError", "ZeroDivisionError:"),
        ("import os; os.abort()", "its import ends Python with SIGABRT"),
        ("raise SystemExit(3)", "its import ends Python with code 3"),
    ],
)
def test_import_that_breaks_becomes_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, failure: str
) -> None:
    module_file(tmp_path, "tensorrt_rtx", body, monkeypatch)
    found = look_for("tensorrt_rtx", "TensorRT-RTX")
    assert found.version is None
    assert not found.is_missing
    assert str(found.failure).startswith(failure)
    assert rtx_target(ADA, found, BINDINGS).command is None


def test_import_that_hangs_becomes_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module_file(tmp_path, "tensorrt", "import time; time.sleep(60)", monkeypatch)
    monkeypatch.setattr("stts_runtime.doctor.modules._PATIENCE_SECONDS", 0.5)
    assert look_for("tensorrt", "TensorRT").because == (
        "TensorRT is installed but does not load (its import takes more than 0.5 s)"
    )


def test_files_of_the_current_folder_are_not_taken_for_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, {"json.py": "raise SystemExit(5)", "tensorrt_here.py": ""})
    monkeypatch.chdir(tmp_path)
    assert look_for("tensorrt_here", "TensorRT").is_missing
    assert look_for("psutil", "psutil").version == psutil.__version__


def test_facts_tell_missing_from_broken() -> None:
    facts = tensorrt_facts(TENSORRT, missing(RTX), broken(Module("TensorRT lean", None)))
    assert value(facts, "TensorRT") == "10.16.1.11"
    assert because(facts, "TensorRT-RTX") == "not installed"
    assert because(facts, "TensorRT lean") == f"installed but does not load ({NO_ENGINE_LIBRARY})"


def test_version_numbers_compare_as_numbers() -> None:
    assert numbers("1.9.2") < numbers("1.25.0rc1") == (1, 25) < numbers("10.3.0.26") == (10, 3)


def test_installed_version_is_of_the_first_that_is_installed() -> None:
    assert installed_version("no-such-distribution", "psutil", "numpy") == f"psutil {psutil.__version__}"
    assert installed_version("no-such-distribution") is None


# Facts


@pytest.fixture
def own_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose `bin` is all of PATH."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def test_jetson_is_named_with_its_jetpack(own_commands: Path) -> None:
    root = tree(own_commands, {"proc/device-tree/model": "NVIDIA Jetson Orin NX\0", "proc/cpuinfo": "processor : 0\n"})
    assert value(host_facts(root, ORIN, root), "Jetson") == "NVIDIA Jetson Orin NX, JetPack 6, L4T 36.4.7"
    assert value(host_facts(root, replace(ORIN, l4t="39.2.0"), root), "Jetson") == (
        "NVIDIA Jetson Orin NX, JetPack 7, L4T 39.2.0"
    )
    assert value(host_facts(root, replace(ORIN, l4t="99.1"), root), "Jetson") == "NVIDIA Jetson Orin NX, L4T 99.1"
    command(own_commands, "dpkg-query", '[ "$3" = nvidia-jetpack ] && echo 6.2.1+b38')
    assert value(host_facts(root, ORIN, root), "Jetson") == "NVIDIA Jetson Orin NX, JetPack 6.2.1+b38, L4T 36.4.7"


def test_host_is_described(own_commands: Path) -> None:
    root = tree(
        own_commands,
        {
            "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.2 LTS"\nVERSION_ID="24.04"\n',
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Fast Processor 9\nprocessor\t: 1\nmodel name\t: Other\n",
        },
    )
    facts = host_facts(root, ADA, root)
    assert value(facts, "operating system") == (
        f"Ubuntu 24.04.2 LTS, {platform.system()} {platform.release()}, linux-x86_64"
    )
    assert value(facts, "CPU") == "Fast Processor 9"
    assert value(facts, "Python") == f"{platform.python_version()}, {sys.executable}"
    assert because(facts, "Jetson") == "there is no Jetson Linux here"
    assert f"of {psutil.virtual_memory().total / 1e9:.1f} GB" in str(value(facts, "memory"))
    assert str(value(facts, "disk")).endswith(f" GB at {root}")


def test_processor_without_a_name_has_at_least_its_kind(own_commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert value(host_facts(own_commands, ORIN, own_commands), "CPU") == "aarch64"


def test_folder_that_is_not_there_has_no_disk(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert because(host_facts(gone, ADA, tmp_path), "disk") == f"{gone} cannot be read (No such file or directory)"


def test_gpu_is_described(own_commands: Path) -> None:
    facts = gpu_facts(ADA, BINDINGS)
    assert value(facts, "GPU") == "NVIDIA L4, 24.0 GB"
    assert value(facts, "architecture") == "sm89"
    assert value(facts, "driver") == "580.65.06"
    assert value(facts, "CUDA of the driver") == "13.0"
    assert value(facts, "cuda-bindings") == "13.0.3"


def test_machine_without_gpu_is_described(own_commands: Path) -> None:
    facts = gpu_facts(BARE, missing(BINDINGS))
    assert because(facts, "GPU") == NO_DRIVER
    assert because(facts, "driver") == "NVIDIA's kernel module is not loaded"
    assert because(facts, "cuda-bindings") == "not installed"
    assert value(facts, "architecture") is None
    assert value(facts, "CUDA of the driver") is None


def test_cudnn_of_the_system_counts(own_commands: Path) -> None:
    command(own_commands, "dpkg-query", '[ "$3" = libcudnn9-cuda-12 ] && echo 9.3.0.75-1')
    wheel = installed_version("nvidia-cudnn-cu13", "nvidia-cudnn-cu12")
    assert value(gpu_facts(ORIN, BINDINGS), "cuDNN") == (wheel or "libcudnn9-cuda-12 9.3.0.75-1")


def test_providers_of_onnx_runtime() -> None:
    assert value(onnxruntime_facts(ONNXRUNTIME), "ONNX Runtime providers") == "CPUExecutionProvider"
    assert because(onnxruntime_facts(missing(ONNXRUNTIME)), "ONNX Runtime providers") == "ONNX Runtime is not installed"


def test_apt_module_is_looked_for_on_disk(tmp_path: Path) -> None:
    assert not has_apt_module(tmp_path)
    tree(tmp_path, {"usr/lib/python3.10/dist-packages/tensorrt/__init__.py": ""})
    assert has_apt_module(tmp_path)


def no_library(name: str) -> None:
    raise OSError(name)


def test_jetson_decodes_through_gstreamer_and_its_placeholder_proves_nothing(own_commands: Path) -> None:
    assert value(video_facts(ORIN, lambda _: None), "NVDEC") is None
    command(own_commands, "gst-inspect-1.0", '[ "$1" = nvv4l2decoder ] && echo Factory Details:')
    assert value(video_facts(ORIN, no_library), "NVDEC") == "nvv4l2decoder of GStreamer, not tried"


def test_workstation_decodes_through_the_driver(own_commands: Path) -> None:
    asked: list[str] = []
    assert value(video_facts(ADA, asked.append), "NVDEC") == "libnvcuvid.so.1, not tried"
    assert asked == ["libnvcuvid.so.1"]
    assert because(video_facts(ADA, no_library), "NVDEC") == "the driver's library libnvcuvid.so.1 is not installed"
    assert because(video_facts(BARE, asked.append), "NVDEC") == "there is no GPU"


def test_gstreamer_pyav_and_opencv_give_their_versions(own_commands: Path) -> None:
    assert because(video_facts(BARE), "GStreamer") == "not installed"
    command(own_commands, "gst-launch-1.0", "echo gst-launch-1.0 version 1.20.3; echo GStreamer 1.20.3; echo https://x")
    facts = video_facts(BARE)
    assert value(facts, "GStreamer") == "1.20.3"
    assert value(facts, "OpenCV") == cv2.__version__
    assert value(facts, "PyAV") == av.__version__
    assert str(value(facts, "PyAV's FFmpeg")).startswith("avcodec ")


def test_codecs_that_this_pyav_lacks_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"hevc", "av1"})
    assert str(value(video_facts(BARE), "PyAV's FFmpeg")).endswith(", without hevc, av1")


# The program


def test_an_extra_names_what_is_missing_of_it() -> None:
    required = [
        "numpy>=1.26",
        "paho-mqtt>=2.1; extra == 'stream'",
        "tomli>=2.0; (python_version < '3.11') and extra == 'stream'",
        "fastapi>=0.120; extra == 'serve'",
        "onnxruntime>=1.25; extra == 'serve'",
    ]
    facts = extras_facts(required, {"fastapi": "0.120"}.get)
    assert value(facts, "page and API (extra serve)") == "installed", "onnxruntime-gpu takes onnxruntime's place"
    assert because(facts, "live video (extra stream)") == "paho-mqtt not installed: pip install 'stts-export[stream]'"


def test_the_extras_of_this_package_are_known() -> None:
    facts = extras_facts(installed=lambda _: None)
    assert "fastapi" in (because(facts, "page and API (extra serve)") or "")
    assert "paho-mqtt" in (because(facts, "page and API (extra serve)") or "")
    assert "torch" in (because(facts, "building (extra export)") or "")


def test_report_holds_every_target_and_survives_json(tmp_path: Path) -> None:
    report = examine(tmp_path, ORIN, tmp_path)
    assert [target.name for target in report.targets] == ["cpu", "cuda", "tensorrt", "tensorrt-rtx"]
    names = [fact.name for fact in report.facts]
    assert len(names) == len(set(names))
    assert "sm87" in report.targets[3].because
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_program_prints_one_line_of_json(tmp_path: Path) -> None:
    done = run("stts-runtime", "doctor", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    report = Report.model_validate_json(done.stdout)
    assert json.loads(done.stdout)["schema_name"] == "stts.doctor/1"
    assert report.targets[0].ready == HAS_ONNXRUNTIME
    assert (because(report.facts, "ONNX Runtime") == "not installed") != HAS_ONNXRUNTIME
    assert str(value(report.facts, "disk")).endswith(f" at {tmp_path}")


def test_program_shows_targets_then_facts(tmp_path: Path) -> None:
    done = run("stts-runtime", "doctor", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.index("tensorrt-rtx") < done.stdout.index("this machine") < done.stdout.index("OpenCV")
    assert cv2.__version__ in done.stdout
    assert all(character.isprintable() or character == "\n" for character in done.stdout)


def test_text_of_the_system_cannot_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nasty = "\x1b[31mEvil\x07 [bold]GPU[/bold] [/]"
    install = "pip install " + "long-name " * 30 + "[extra]"
    report = Report(
        targets=[Target(name="cpu", ready=False, can_compile=False, because=nasty, command=install)],
        facts=[Fact.of("GPU", nasty, None), Fact.of("driver", None, nasty)],
    )
    monkeypatch.setattr(command_line, "examine", lambda *_: report)
    command_line.doctor_command()
    shown = capsys.readouterr().out
    assert "\x1b[31m" not in shown
    assert "\x07" not in shown
    assert shown.count(r"\x1b[31mEvil\x07 [bold]GPU[/bold] [/]") == 3
    assert f"for cpu: {install}\n" in shown


@pytest.mark.parametrize(
    ("ready", "can_compile", "state"),
    [(True, True, "ready"), (True, False, "ready"), (False, True, "compiles only"), (False, False, "not ready")],
)
def test_state_of_a_target(
    ready: bool,
    can_compile: bool,
    state: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = Target(name="tensorrt-rtx", ready=ready, can_compile=can_compile, because="So.", command=None)
    monkeypatch.setattr(command_line, "examine", lambda *_: Report(targets=[target], facts=[]))
    command_line.doctor_command()
    shown = capsys.readouterr().out
    assert f"│ {state} " in shown
    assert "for tensorrt-rtx" not in shown


def test_examining_imports_nothing_heavy_into_its_own_process(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from stts_runtime.cli import app\nfrom stts_runtime.device import this_device\n"
        "from stts_runtime.doctor import examine\nexamine(Path(), this_device())\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'tensorrt', 'tensorrt_rtx', 'tensorrt_lean', 'cuda', 'stts_export'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_an_older_rtx_is_told_to_update() -> None:
    target = rtx_target(ADA, Module("TensorRT-RTX", "1.3.0"), BINDINGS)
    assert (target.ready, target.command) == (False, RTX_EXTRA)
    assert "1.3.0 is installed, and the graphs need 1.7 or newer" in target.because
