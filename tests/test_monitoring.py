"""The example of Prometheus and Grafana: its dashboard asks for metrics and labels that exist, and its files fit."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from stts_runtime.fleet.box_series import OfTheBox
from stts_runtime.fleet.series import BOX, OfTheFleet
from stts_runtime.sinks.spool import Backlog
from stts_runtime.stream.config import StreamConfig
from stts_runtime.stream.config_file import load_config
from stts_runtime.stream.gpu_metrics import GpuMetrics
from stts_runtime.stream.metrics import StreamMetrics
from tests.runtime.stream.test_gpu_metrics import Nvml
from tests.support.places import ROOT

FOLDER = ROOT / "docs" / "examples" / "monitoring"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
QUERIES = [*EXPRESSIONS, *(one["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query")]


RULES = [
    rule
    for group in yaml.safe_load((ROOT / "docs" / "examples" / "stts-alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


@pytest.fixture(scope="module")
def metrics() -> dict[str, set[str]]:
    """Labels by the name of each series."""
    streams = StreamMetrics()
    streams.watch_spool("a", lambda: Backlog(0, 0))
    streams.build(lambda: {"bundle": "", "checkpoint": "", "engine": ""})
    streams.registry.register(GpuMetrics(Nvml(), "gpu"))
    boxes = [SimpleNamespace(name="north", runs={"gate"}, bears=3)]
    streams.registry.register(OfTheFleet(cast("Any", SimpleNamespace(ready=boxes, waiting=(), lost=0, moves=0))))
    streams.registry.register(OfTheBox(lambda: 0))
    labels = {
        name: set(getattr(collector, "_labelnames", ()))
        for name, collector in streams.registry._names_to_collectors.items()
    }
    for metric in streams.registry.collect():
        for sample in metric.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_every_metric_of_a_rule_exists_with_the_labels_that_it_tells(
    rule: dict[str, Any], metrics: dict[str, set[str]]
) -> None:
    names = re.findall(r"\b(?:stts|process)_\w+", rule["expr"])
    assert names
    assert set(names) <= metrics.keys()
    # Who scrapes gives each target an instance.
    known = {"le", "instance", "job", BOX}.union(*(metrics[name] for name in names))
    used = re.findall(r"(\w+)=~?\"", rule["expr"]) + re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))
    used += [one for by in re.findall(r"(?:by|on) \(([^)]*)\)", rule["expr"]) for one in by.split(", ")]
    assert set(used) <= known


@pytest.mark.parametrize("expression", QUERIES)
def test_every_metric_of_the_dashboard_exists_with_its_labels(expression: str, metrics: dict[str, set[str]]) -> None:
    names = re.findall(r"stts_\w+", expression)
    assert names
    known = {"le"}.union(*(metrics[name] for name in names))
    used = re.findall(r"(\w+)=~?\"", expression)
    used += [one for by in re.findall(r"by \(([^)]*)\)", expression) for one in by.split(", ")]
    assert set(used) <= known


def test_every_metric_of_streams_and_of_a_fleet_is_on_the_dashboard(metrics: dict[str, set[str]]) -> None:
    shown = {name for expression in EXPRESSIONS for name in re.findall(r"stts_\w+", expression)}
    forms = re.compile(r"_(total|created|bucket|count|sum)$")
    ours = {name for name in metrics if name.startswith("stts_")}
    assert {forms.sub("", name) for name in ours} == {forms.sub("", name) for name in shown}


def test_panels_lie_beside_one_another() -> None:
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_files_name_one_another() -> None:
    mounted = [volume for one in read("compose.yaml")["services"].values() for volume in one.get("volumes", ())]
    files = {volume.split(":")[0].removeprefix("./") for volume in mounted if volume.startswith("./")}
    assert files == {path.name for path in FOLDER.iterdir()} - {"compose.yaml"}
    folder = read("dashboards.yaml")["providers"][0]["options"]["path"]
    assert any(f":{folder}/dashboard.json:" in volume for volume in mounted)


def test_prometheus_asks_where_the_example_of_cameras_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GATE_PASSWORD", "YARD_PASSWORD"):
        monkeypatch.setenv(name, "x")
    cameras = load_config(ROOT / "docs" / "examples" / "cameras.yaml", StreamConfig)
    assert cameras.metrics is not None
    (target,) = read("prometheus.yml")["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == f"{cameras.metrics.address}:{cameras.metrics.port}"
