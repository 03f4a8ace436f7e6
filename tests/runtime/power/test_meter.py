"""Energy and throttling: what is read, how it is added up, and what is said where there is nothing to read."""

from __future__ import annotations

import functools
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stts_runtime.bench import Report
from stts_runtime.bench import measure as measuring
from stts_runtime.bench import run as benchmark
from stts_runtime.bench.energy import energy_of
from stts_runtime.bench.report import throttling
from stts_runtime.bundle import Bundle
from stts_runtime.cli import bench as bench_cli
from stts_runtime.power import Power, PowerMeter, open_meter
from stts_runtime.power.joules import Counted, Integrated, NoSourceError
from stts_runtime.power.nvml import NvmlSource, open_nvml
from stts_runtime.power.rails import open_rails
from stts_runtime.power.ticker import NAME, Ticker
from tests.runtime.bench.test_report import row

# Longer than a test: nothing is sampled but the two ends of an interval.
NEVER = 3600.0


# Adding up


def integrated(samples: list[tuple[float, float | None]], longest_gap_seconds: float = 1.0) -> float | None:
    watts = iter([value for _, value in samples])
    sum_of = Integrated(lambda: next(watts), longest_gap_seconds)
    for seconds, _ in samples:
        sum_of.sample(seconds)
    return sum_of.joules


def test_power_is_integrated_as_lines_between_uneven_samples() -> None:
    assert integrated([(0, 10), (1, 20), (1.5, 20), (2, 0)]) == pytest.approx(15 + 10 + 5)


def test_a_sample_that_fails_is_bridged_if_its_neighbours_are_close() -> None:
    assert integrated([(0, 10), (0.4, None), (0.8, 20)]) == pytest.approx(12)
    assert integrated([(0, 10), (0.8, None), (1.6, 20)]) is None


@pytest.mark.parametrize("ends", [(None, 10.0, 10.0), (10.0, 10.0, None), (None, None, None)])
def test_an_interval_whose_ends_are_not_known_has_no_energy(ends: tuple[float | None, ...]) -> None:
    assert integrated(list(zip([0.0, 0.1, 0.2], ends, strict=True))) is None


@pytest.mark.parametrize(
    ("readings", "joules"), [([5.0, 6.0, 9.5], 4.5), ([5.0, None, 9.5], 4.5), ([None, 9.0], None), ([9.0, None], None)]
)
def test_a_counter_is_the_difference_of_its_ends(readings: list[float | None], joules: float | None) -> None:
    left = iter(readings)
    counted = Counted(lambda: next(left))
    for _ in readings:
        counted.sample(0.0)
    assert counted.joules == joules


# The meter


class FakeSource:
    """Energy and throttling as a test sets them."""

    name = "a fake counter"

    def __init__(self) -> None:
        self.drawn: float | None = 0.0
        self.held_back: set[str] = set()
        self.asked, self.closed = threading.Event(), False

    def begin(self) -> Counted:
        return Counted(lambda: self.drawn)

    def throttling(self) -> set[str]:
        self.asked.set()
        return self.held_back

    def close(self) -> None:
        self.closed = True


def test_a_reading_has_energy_and_time() -> None:
    source = FakeSource()
    with PowerMeter(source, NEVER, clock=iter([10.0, 14.0]).__next__).interval() as reading:
        source.drawn = 50.0
    assert (reading.source, reading.joules, reading.seconds) == ("a fake counter", 50, 4)


def test_a_reading_of_a_source_that_fails_has_no_energy() -> None:
    source = FakeSource()
    with PowerMeter(source, NEVER).interval() as reading:
        source.drawn = None
    assert reading.joules is None
    assert reading.seconds > 0


def test_throttling_that_is_over_before_the_interval_ends_is_seen() -> None:
    source = FakeSource()
    with PowerMeter(source, period_seconds=0.001).interval() as reading:
        for reason in ("thermal", "power cap"):
            source.held_back = {reason}
            # Twice: the first answer may have been under way.
            for _ in range(2):
                source.asked.clear()
                assert source.asked.wait(5)
        source.held_back = set()
    assert reading.throttled == ["power cap", "thermal"]


def test_what_a_source_says_first_is_about_the_time_before() -> None:
    source = FakeSource()
    answers = iter([{"before"}, {"within"}])
    source.throttling = lambda: next(answers)  # type: ignore[method-assign]
    with PowerMeter(source, NEVER).interval() as reading:
        pass
    assert reading.throttled == ["within"]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == NAME]


def test_the_thread_lives_as_long_as_the_interval_and_no_longer() -> None:
    meter = PowerMeter(FakeSource(), period_seconds=0.001)
    with meter.interval():
        assert threads() == [NAME]
    assert threads() == []
    with pytest.raises(KeyError), meter.interval():
        raise KeyError
    assert threads() == []


def test_leaving_does_not_wait_for_the_next_tick_and_none_comes_after() -> None:
    ticks: list[int] = []
    with Ticker(lambda: ticks.append(1), NEVER):
        pass
    ticked = threading.Event()
    with Ticker(ticked.set, 0.001):
        assert ticked.wait(5)
    ticked.clear()
    assert not ticked.wait(0.02)
    assert ticks == []


# A Jetson's rails


def write(folder: Path, **contents: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(f"{content}\n")
    return folder


def sensor(sysfs: Path, number: int, *labels: str, millivolts: int = 5000, milliamperes: int = 1000) -> Path:
    """An INA3221 as its driver shows it, with the label that is of no rail."""
    folder = write(sysfs / f"class/hwmon/hwmon{number}", name="ina3221", in7_label="sum of shunt voltages", in7_input=9)
    for channel, label in enumerate(labels, start=1):
        values = {f"in{channel}_label": label, f"in{channel}_input": millivolts, f"curr{channel}_input": milliamperes}
        write(folder, **values)
    return folder


def watts(sysfs: Path) -> float | None:
    """What the source there integrates."""
    joules = open_rails(sysfs).begin()
    joules.sample(0.0)
    joules.sample(1.0)
    return joules.joules


def test_the_module_input_alone_is_the_total(tmp_path: Path) -> None:
    sensor(tmp_path, 1, "VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC", millivolts=5000, milliamperes=1500)
    assert watts(tmp_path) == pytest.approx(7.5)
    assert open_rails(tmp_path).name.startswith("VDD_IN in sysfs")


def test_without_an_input_the_supplies_are_added_and_named(tmp_path: Path) -> None:
    sensor(tmp_path, 1, "VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
    sensor(tmp_path, 2, "NC", "VDDQ_VDD2_1V8AO", "NC")
    assert watts(tmp_path) == pytest.approx(15)
    assert open_rails(tmp_path).name.startswith("VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 in sysfs")


def test_the_board_input_of_a_sensor_with_one_channel_goes_before_the_supplies(tmp_path: Path) -> None:
    sensor(tmp_path, 1, "VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0")
    assert watts(tmp_path) == pytest.approx(15)
    write(tmp_path / "class/hwmon/hwmon2", name="ina238", label="VIN", in1_input=20000, curr1_input=1200)
    assert watts(tmp_path) == pytest.approx(24)


def test_rails_that_are_not_known_to_be_a_total_are_not_one(tmp_path: Path) -> None:
    sensor(tmp_path, 1, "VDD_GPU_SOC", "VIN_SYS_5V0")
    with pytest.raises(NoSourceError, match="of the rails VDD_GPU_SOC, VIN_SYS_5V0 it is not known"):
        open_rails(tmp_path)


def test_sensors_of_other_kinds_are_no_rails(tmp_path: Path) -> None:
    write(tmp_path / "class/hwmon/hwmon0", name="tmp451", in1_label="VDD_IN", in1_input=5000, curr1_input=1000)
    with pytest.raises(NoSourceError, match="no power sensor of a Jetson"):
        open_rails(tmp_path)


def test_a_rail_that_cannot_be_read_is_said_at_once(tmp_path: Path) -> None:
    (sensor(tmp_path, 1, "VDD_IN") / "curr1_input").write_text("")
    with pytest.raises(NoSourceError, match="VDD_IN cannot be read"):
        open_rails(tmp_path)


def test_rails_are_integrated_over_the_interval_and_counters_compared(tmp_path: Path) -> None:
    folder = sensor(tmp_path, 1, "VDD_IN", milliamperes=2000)
    counters = write(tmp_path / "class/hwmon/hwmon3", name="soctherm_oc", oc1_event_cnt=1, oc3_event_cnt=7)
    clock = iter([0.0, 0.9]).__next__
    with PowerMeter(open_rails(tmp_path), NEVER, clock).interval() as reading:
        write(folder, curr1_input=4000)
        write(counters, oc3_event_cnt=8)
    assert reading.joules == pytest.approx(0.9 * (10 + 20) / 2)
    assert reading.throttled == ["over-current or under-voltage (oc3)"]


def test_counters_that_rose_before_or_fail_within_are_no_throttling(tmp_path: Path) -> None:
    sensor(tmp_path, 1, "VDD_IN")
    counters = write(tmp_path / "class/hwmon/hwmon3", oc1_event_cnt=1, oc2_event_cnt=5)
    meter = PowerMeter(open_rails(tmp_path), period_seconds=0.001)
    write(counters, oc1_event_cnt=2)
    with meter.interval() as reading:
        (counters / "oc2_event_cnt").unlink()
        threading.Event().wait(0.02)
        write(counters, oc2_event_cnt=5)
    assert reading.throttled == []


def test_counters_that_nobody_may_read_are_said_to_be_missing(tmp_path: Path) -> None:
    sensor(tmp_path, 1, "VDD_IN")
    assert open_rails(tmp_path).name.endswith("throttling not told)")
    write(tmp_path / "class/hwmon/hwmon3", oc1_event_cnt="")
    assert open_rails(tmp_path).name.endswith("throttling not told)")
    write(tmp_path / "class/hwmon/hwmon3", oc1_event_cnt=0)
    assert open_rails(tmp_path).name.endswith("throttling by over-current events only)")


# NVML


class NvmlError(Exception):
    """What the fake raises."""


class FakeNvml(types.ModuleType):
    """pynvml with as much of a driver as a test wants; values that are None are not supported."""

    NVMLError = NvmlError

    def __init__(
        self, millijoules: int | None = 1000, milliwatts: int | None = 50_000, reasons: int | None = 0
    ) -> None:
        super().__init__("pynvml")
        self.millijoules, self.milliwatts, self.reasons = millijoules, milliwatts, reasons
        self.handles: list[str | int] = [0]
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.handles)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str | int:  # noqa: N802
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        return uuid

    def nvmlDeviceGetName(self, handle: object) -> str:  # noqa: N802
        return f"GPU {handle}"

    def nvmlDeviceGetTotalEnergyConsumption(self, _handle: object) -> int:  # noqa: N802
        return supported(self.millijoules)

    def nvmlDeviceGetPowerUsage(self, _handle: object) -> int:  # noqa: N802
        return supported(self.milliwatts)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _handle: object) -> int:  # noqa: N802
        return supported(self.reasons)


def supported(value: int | None) -> int:
    if value is None:
        raise NvmlError("Not Supported")
    return value


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    return fake


def test_the_energy_counter_of_a_gpu_is_in_millijoules(nvml: FakeNvml) -> None:
    with PowerMeter(open_nvml(), NEVER).interval() as reading:
        nvml.millijoules, nvml.milliwatts = 8500, None
    assert reading.joules == pytest.approx(7.5)
    assert reading.source == "NVML of GPU 0 (energy counter; the GPU only)"


def test_without_a_counter_power_is_integrated(nvml: FakeNvml) -> None:
    nvml.millijoules = None
    with PowerMeter(open_nvml(), NEVER, iter([0.0, 0.5]).__next__).interval() as reading:
        nvml.milliwatts = 150_000
    assert reading.joules == pytest.approx(0.5 * 100)
    assert "power, sampled" in reading.source


def test_a_gpu_that_tells_neither_is_no_source_and_nvml_is_closed(nvml: FakeNvml) -> None:
    nvml.millijoules = nvml.milliwatts = None
    with pytest.raises(NoSourceError, match="neither energy nor power of GPU 0"):
        open_nvml()
    assert nvml.open == 0


def test_a_counter_that_stops_to_answer_leaves_no_energy(nvml: FakeNvml) -> None:
    with PowerMeter(open_nvml(), NEVER).interval() as reading:
        nvml.millijoules = None
    assert reading.joules is None


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        (0x0, set()),
        (0x1 | 0x2 | 0x100, set()),
        (0x4, {"power cap"}),
        (0x1 | 0x8 | 0x20, {"hardware slowdown", "thermal"}),
        (0x40 | 0x80, {"thermal, by hardware", "power brake"}),
        (1 << 40, set()),
    ],
)
def test_reasons_have_names_and_what_holds_nothing_back_has_none(nvml: FakeNvml, reasons: int, words: set[str]) -> None:
    nvml.reasons = reasons
    assert open_nvml().throttling() == words


def test_reasons_are_asked_by_the_newer_name_and_by_the_older_if_that_is_missing(nvml: FakeNvml) -> None:
    nvml.reasons = 0x4
    newer: list[Callable[[Any], int]] = [lambda _: 0x20, lambda _: supported(None)]
    for call, words in zip(newer, ({"thermal"}, {"power cap"}), strict=True):
        nvml.nvmlDeviceGetCurrentClocksEventReasons = call  # type: ignore[attr-defined]
        assert open_nvml().throttling() == words


def test_a_gpu_that_tells_no_reasons_is_said_not_to(nvml: FakeNvml) -> None:
    nvml.reasons = None
    source = open_nvml()
    assert source.name.endswith("the GPU only, throttling not told)")
    assert source.throttling() == set()


@pytest.mark.parametrize(
    ("visible", "order", "taken"),
    [("GPU-a1,GPU-b2", None, "GPU-a1"), ("2,0", "PCI_BUS_ID", 2), (None, "PCI_BUS_ID", 0), ("1", None, None)],
)
def test_of_several_gpus_it_is_the_one_that_cuda_takes(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch, visible: str | None, order: str | None, taken: object
) -> None:
    nvml.handles = [0, 1, 2]
    for name, value in (("CUDA_VISIBLE_DEVICES", visible), ("CUDA_DEVICE_ORDER", order)):
        if value is not None:
            monkeypatch.setenv(name, value)
    if taken is None:
        with pytest.raises(NoSourceError, match="set CUDA_VISIBLE_DEVICES"):
            open_nvml()
    else:
        assert open_nvml().name.startswith(f"NVML of GPU {taken} ")


def test_a_name_in_bytes_is_text(nvml: FakeNvml) -> None:
    nvml.nvmlDeviceGetName = lambda _: b"Tesla"  # type: ignore[method-assign, assignment, return-value]
    assert NvmlSource(nvml, 0).name.startswith("NVML of Tesla (")


# Which meter


def test_a_jetsons_rails_go_before_nvml(nvml: FakeNvml, tmp_path: Path) -> None:
    sensor(tmp_path, 1, "VDD_IN")
    with open_meter(gpu=True, sysfs=tmp_path) as power:
        assert power.source is not None
        assert power.source.startswith("VDD_IN")
    assert nvml.open == 0


def test_nvml_is_open_for_as_long_as_its_meter(nvml: FakeNvml, tmp_path: Path) -> None:
    with open_meter(gpu=True, sysfs=tmp_path) as power:
        assert power.meter is not None
        assert (nvml.open, power.no_meter_because) == (1, None)
    assert nvml.open == 0


def test_a_gpu_that_does_not_do_the_work_is_not_measured(nvml: FakeNvml, tmp_path: Path) -> None:
    with open_meter(gpu=False, sysfs=tmp_path) as power:
        assert power.meter is None
        assert power.source is None
        assert power.no_meter_because == (
            f"no power sensor of a Jetson in {tmp_path / 'class/hwmon'}; the engines run on the CPU, which NVML does "
            "not measure"
        )
    assert nvml.open == 0


def test_a_machine_without_nvml_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nvml: FakeNvml) -> None:
    def no_library() -> None:
        raise NvmlError("NVML Shared Library Not Found")

    nvml.nvmlInit = no_library  # type: ignore[method-assign]
    with open_meter(gpu=True, sysfs=tmp_path) as power:
        assert power.meter is None
        assert (power.no_meter_because or "").endswith("; NVML does not start (NVML Shared Library Not Found)")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with open_meter(gpu=True, sysfs=tmp_path) as power:
        assert (power.no_meter_because or "").endswith("; nvidia-ml-py is not installed: pip install nvidia-ml-py")


# In the benchmark


def test_energy_of_an_answer_is_energy_by_answers_the_first_not_counted() -> None:
    source, now = FakeSource(), [0.0]

    def answer() -> None:
        now[0] += 0.6
        source.drawn = (source.drawn or 0.0) + 3.0
        # As a change of clocks when work begins would do.
        source.held_back = {"hardware slowdown"} if now[0] < 1 else {"power cap"}

    energy = energy_of(PowerMeter(source, NEVER), answer, seconds=2.0, clock=lambda: now[0])
    assert now[0] == pytest.approx(0.6 * 5)
    assert energy.joules == pytest.approx(3.0)
    assert energy.throttled == ["power cap"]


def test_an_answer_longer_than_the_interval_is_measured_once() -> None:
    source, answers = FakeSource(), []
    energy = energy_of(PowerMeter(source, NEVER), lambda: answers.append(1), seconds=0)
    assert len(answers) == 2
    assert energy.joules == 0


def test_a_meter_that_fails_leaves_the_energy_out() -> None:
    source = FakeSource()
    source.drawn = None
    assert energy_of(PowerMeter(source, NEVER), lambda: None, seconds=0).joules is None


def test_throttling_is_said_by_variant_and_only_if_there_was_some() -> None:
    free, held = row(8, 1, 120), row(8, 0.5, 85).model_copy(update={"throttled": ["power cap", "thermal"]})
    assert throttling([free]) is None
    assert "measured (t8-k0.5: power cap, thermal): the milliseconds" in (throttling([free, held]) or "")


def bench(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], power: Power
) -> tuple[list[str], Report]:
    """What `stts-runtime bench` prints with this meter, less the report, and the report."""

    @contextmanager
    def opened(gpu: bool) -> Iterator[Power]:
        yield power

    monkeypatch.setattr(benchmark, "open_meter", opened)
    monkeypatch.setattr(measuring, "energy_of", functools.partial(energy_of, seconds=0))
    bench_cli.bench_command(bundle.folder, rounds=1, plot=bundle.folder.parent / "power.png")
    *shown, last = capsys.readouterr().out.splitlines()
    return shown, Report.model_validate_json(last)


@pytest.mark.onnxruntime
def test_bench_without_a_meter_has_no_energy(
    micro_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, report = bench(micro_bundle, monkeypatch, capsys, Power(None, "this is a test"))
    assert report.power_source is None
    assert all(row.energy_joules is None and row.throttled == [] for row in report.rows)
    assert "J/answer" not in "\n".join(shown)
    assert [line.count("│") for line in shown if "full-t6" in line and "│" in line] == [10]


@pytest.mark.onnxruntime
def test_bench_with_a_meter_has_the_energy_of_every_variant(
    micro_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Rising(FakeSource):
        """Ten joules an interval, which here is one answer."""

        def begin(self) -> Counted:
            return Counted(iter([0.0, 10.0]).__next__)

    source = Rising()
    source.held_back = {"power cap"}
    shown, report = bench(micro_bundle, monkeypatch, capsys, Power(PowerMeter(source, NEVER), None))
    assert report.power_source == "a fake counter"
    assert {row.variant for row in report.rows} == micro_bundle.manifest.variants.keys()
    assert [row.energy_joules for row in report.rows] == [10] * len(report.rows)
    assert all(row.throttled == ["power cap"] for row in report.rows)
    text = "\n".join(shown)
    assert "J/answer" in text
    assert [line.count("│") for line in shown if "full-t6" in line and "│" in line] == [11]
    assert "energy: a fake counter" in text
    assert "note: Clocks were held back" in text
