"""What machine this is, asked of fake drivers and fake trees of /etc and /proc."""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import stts_runtime
from stts_runtime.bundle import Bundle
from stts_runtime.cli.app import app
from stts_runtime.device import Device, Gpu, hide_other_gpus, select, select_gpu, selected_gpu, this_device
from stts_runtime.device.device import read_device
from stts_runtime.device.gpu import ask_driver
from stts_runtime.device.system import x86_flags
from stts_runtime.errors import UserError

MEMORY = 8 * 10**9
OPEN_MODULE = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for {}  {}  Release Build  (someone@host)\nGCC version: 12.3\n"
)
CLOSED_MODULE = "NVRM version: NVIDIA UNIX {} Kernel Module  {}  Sun Jul 27 07:00:00 UTC 2025\nGCC version: 12.3\n"
ORIN_RELEASE = (
    "# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64, DATE: Thu Sep 18 22:54:44 UTC "
    "2025\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n"
)


@dataclass
class FakeCuda:
    """libcuda.so.1 as far as it is asked; `init` and `name_code` are what those calls return."""

    name: str = "NVIDIA RTX 4000"
    capability: tuple[int, int] = (8, 9)
    version: int = 13000
    version_code: int = 0
    init: int = 0
    count: int = 1
    name_code: int = 0

    def __call__(self, library: str) -> FakeCuda:
        assert library == "libcuda.so.1"
        return self

    def cuInit(self, flags: int) -> int:  # noqa: N802 - the library's own name, as the others below
        assert flags == 0
        return self.init

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = self.version
        return self.version_code

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self.count
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802
        assert number < self.count
        device._obj.value = 7
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:  # noqa: N802
        assert device.value == 7
        name.value = self.name.encode()[: size - 1]
        return self.name_code

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> int:  # noqa: N802
        assert device.value == 7
        assert isinstance(memory._obj, ctypes.c_size_t)
        memory._obj.value = MEMORY
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        assert device.value == 7
        value._obj.value = self.capability[{75: 0, 76: 1}[attribute]]
        return 0


def failing(message: str) -> Callable[[str], Any]:
    def load(_: str) -> Any:
        raise OSError(message)

    return load


NO_LIBRARY = failing("libcuda.so.1: cannot open shared object file: No such file or directory")


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this machine's choice of GPUs nor its dpkg."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def command(folder: Path, name: str, script: str) -> None:
    path = tree(folder, {f"bin/{name}": f"#!/bin/sh\n{script}\n"}) / "bin" / name
    path.chmod(0o755)


def test_workstation(tmp_path: Path) -> None:
    tree(tmp_path, {"proc/driver/nvidia/version": OPEN_MODULE.format("x86_64", "580.65.06")})
    assert read_device(tmp_path, FakeCuda()) == Device(
        platform=f"linux-{platform.machine()}",
        gpu=Gpu("NVIDIA RTX 4000", "sm89", MEMORY),
        driver="580.65.06",
        l4t=None,
        no_gpu_because=None,
        cuda="13.0",
    )


def test_orin_with_jetpack_6(tmp_path: Path) -> None:
    files = {
        "etc/nv_tegra_release": ORIN_RELEASE,
        "proc/driver/nvidia/version": OPEN_MODULE.format("aarch64", "540.4.0"),
    }
    device = read_device(tree(tmp_path, files), FakeCuda("Orin", (8, 7), version=12060))
    assert device.gpu == Gpu("Orin", "sm87", MEMORY)
    assert (device.driver, device.l4t, device.cuda) == ("540.4.0", "36.4.7", "12.6")


def test_platform_is_system_and_processor_in_small_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "AArch64")
    assert read_device(tmp_path, NO_LIBRARY).platform == "linux-aarch64"


@pytest.mark.parametrize(
    ("release", "l4t"),
    [
        (ORIN_RELEASE, "36.4.7"),
        ("# R39 (release), REVISION: 2.0, GCID: 1, BOARD: generic, EABI: aarch64", "39.2.0"),
        ("# R38 (release), REVISION: 4.0", "38.4.0"),
        ("# R32 (release),REVISION: 7.1, GCID: 1", "32.7.1"),
        ("# R36 (release)", None),
        ("", None),
    ],
)
def test_release_of_jetson_linux_is_read_from_its_file(tmp_path: Path, release: str, l4t: str | None) -> None:
    assert read_device(tree(tmp_path, {"etc/nv_tegra_release": release}), NO_LIBRARY).l4t == l4t


def test_release_of_jetson_linux_comes_from_the_package_where_the_file_is_absent(tmp_path: Path) -> None:
    command(tmp_path, "dpkg-query", '[ "$3" = nvidia-l4t-core ] && echo 39.2.0-20260401120000')
    assert read_device(tmp_path, NO_LIBRARY).l4t == "39.2.0"
    tree(tmp_path, {"etc/nv_tegra_release": ORIN_RELEASE})
    assert read_device(tmp_path, NO_LIBRARY).l4t == "36.4.7"


@pytest.mark.parametrize("script", ["echo 39.2.0; exit 1", "exit 0", "echo no packages found >&2; exit 1"])
def test_machine_without_the_package_is_no_jetson(tmp_path: Path, script: str) -> None:
    command(tmp_path, "dpkg-query", script)
    assert read_device(tmp_path, NO_LIBRARY).l4t is None


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        (CLOSED_MODULE.format("x86_64", "550.144.03"), "550.144.03"),
        (OPEN_MODULE.format("x86_64", "580.65.06"), "580.65.06"),
        (OPEN_MODULE.format("aarch64", "540.4.0"), "540.4.0"),
        ("GCC version: 12.3 \n", None),
    ],
)
def test_driver_is_read_from_its_file(tmp_path: Path, text: str, driver: str | None) -> None:
    assert read_device(tree(tmp_path, {"proc/driver/nvidia/version": text}), NO_LIBRARY).driver == driver


def test_machine_without_gpu_says_why(tmp_path: Path) -> None:
    device = read_device(tmp_path, NO_LIBRARY)
    assert (device.gpu, device.driver, device.l4t, device.cuda) == (None, None, None, None)
    assert device.no_gpu_because == "the NVIDIA driver's library libcuda.so.1 is not installed"


@pytest.mark.parametrize(
    ("load", "because", "cuda"),
    [
        (
            failing("libnvdla.so: cannot open shared object file"),
            "the NVIDIA driver's library libcuda.so.1 does not load (libnvdla.so: cannot open shared object file)",
            None,
        ),
        (FakeCuda(init=100), "the driver finds no GPU (CUDA error 100)", "13.0"),
        (FakeCuda(count=0), "the driver finds no GPU (CUDA error 100)", "13.0"),
        (FakeCuda(init=34), "libcuda.so.1 is the toolkit's stub and no driver (CUDA error 34)", "13.0"),
        (
            FakeCuda(init=803),
            "the driver's library and its kernel module are of different versions (CUDA error 803)",
            "13.0",
        ),
        (FakeCuda(init=999, version_code=999), "the driver does not start (CUDA error 999)", None),
        (FakeCuda(name_code=3), "the driver does not start (CUDA error 3)", "13.0"),
    ],
)
def test_driver_that_shows_no_gpu_is_quoted(load: Callable[[str], Any], because: str, cuda: str | None) -> None:
    answer = ask_driver(load)
    assert (answer.gpu, answer.no_gpu_because, answer.cuda) == (None, because, cuda)


def test_hidden_gpus_are_named_as_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert ask_driver(FakeCuda(init=100)).no_gpu_because == (
        "the driver finds no GPU (CUDA error 100, and CUDA_VISIBLE_DEVICES is '')"
    )
    assert "VISIBLE" not in str(ask_driver(FakeCuda(init=803)).no_gpu_because)


def test_capability_of_two_digits_gives_three() -> None:
    gpu = ask_driver(FakeCuda(capability=(12, 1))).gpu
    assert gpu is not None
    assert gpu.architecture == "sm121"


def test_this_device_is_asked_once_and_either_has_a_gpu_or_says_why_not() -> None:
    device = this_device()
    assert this_device() is device
    assert device.platform == f"{platform.system()}-{platform.machine()}".lower()
    assert (device.gpu is None) == (device.no_gpu_because is not None)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What this process is told it runs on."""
    reader = functools.cache(lambda number: read_device(load=FakeCuda(count=2), gpu=number))
    monkeypatch.setattr(select, "_read", reader)
    with selected_gpu(None):
        yield


def test_a_gpu_is_selected_by_its_name(two_gpus: None) -> None:
    with selected_gpu("cuda:1"):
        assert this_device().gpu == Gpu("NVIDIA RTX 4000", "sm89", MEMORY, number=1, count=2)
    assert this_device().gpu == Gpu("NVIDIA RTX 4000", "sm89", MEMORY, number=0, count=2)
    select_gpu("cuda:1")
    select_gpu(None)
    assert this_device().gpu == Gpu("NVIDIA RTX 4000", "sm89", MEMORY, number=1, count=2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("1", r"a GPU is named cuda:0, cuda:1 and so on, got '1'"),
        ("cuda:-1", "got 'cuda:-1'"),
        ("gpu", "got 'gpu'"),
        (0, "got 0"),
        ("cuda:2", "there is no cuda:2 here, but cuda:0 to cuda:1; CUDA_VISIBLE_DEVICES"),
    ],
)
def test_a_gpu_that_is_not_there_is_one_sentence(two_gpus: None, name: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        select_gpu(name)


def test_a_child_sees_the_gpu_that_its_parent_means(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hide_other_gpus(0) == {}
    assert hide_other_gpus(1) == {"CUDA_VISIBLE_DEVICES": "1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-abc")
    assert hide_other_gpus(1) == {"CUDA_VISIBLE_DEVICES": "GPU-abc"}


def test_every_command_that_loads_engines_takes_a_device(tmp_path: Path) -> None:
    for words in (["run", "B", "clip.mp4", "--ask", "What?"], ["bench", "B"], ["compile", "B", "--engine", "tensorrt"]):
        done = CliRunner().invoke(app, [*words, "--device", "gpu1"])
        assert "got 'gpu1'" in str(done.exception)


def test_the_cpu_engine_refuses_a_gpu_that_it_would_not_use(two_gpus: None, micro_bundle: Bundle) -> None:
    for wanted in (None, "cpu"):
        with pytest.raises(UserError, match="cuda:1 was asked for, and the cpu engine runs on no GPU") as refused:
            stts_runtime.load(micro_bundle.folder, engine=wanted, device="cuda:1")
        assert refused.value.exit_code == 2
        assert stts_runtime.load(micro_bundle.folder, engine=wanted, device="cpu").engine == "cpu"
    with pytest.raises(UserError, match="the tensorrt engine runs on a GPU, which is named cuda:0"):
        stts_runtime.load(micro_bundle.folder, engine="tensorrt", device="cpu")


def test_flags_are_those_of_x86(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    assert x86_flags(tmp_path) == set()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\n")
    assert x86_flags(tmp_path) == set()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\nvmx flags\t: vnmi\n")
    assert x86_flags(tmp_path) == {"fpu", "avx2", "avx_vnni"}
