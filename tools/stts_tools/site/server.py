"""The references of the server: its routes, from the OpenAPI document, and the metrics, from their registry.

Both are asked of the server's own code, put together without a bundle: the parts that only answer requests are absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client.core import Metric

from stts_runtime.fleet.box_series import OfTheBox
from stts_runtime.fleet.series import OfTheFleet
from stts_runtime.serve.app import make_api
from stts_runtime.serve.events import EventBroker
from stts_runtime.serve.health import ServerMetrics
from stts_runtime.serve.hub import Hub
from stts_runtime.serve.look_cache import LookCache
from stts_runtime.serve.parts import Parts
from stts_runtime.serve.settings import ServerSettings
from stts_runtime.sinks.spool import Backlog
from stts_runtime.stream.gpu_metrics import GpuMetrics
from stts_runtime.stream.metrics import StreamMetrics
from stts_tools.site.markup import code, plain, table
from stts_tools.site.schema_tables import object_sections, type_of

_ABSENT = dict.fromkeys(("state", "answers", "alert_file", "uploads", "readers", "queue", "metrics"))
_NO_QUEUE = SimpleNamespace(open=0)
_FLEET = SimpleNamespace(ready=[SimpleNamespace(name="", runs=(), bears=0)], waiting=(), lost=0, moves=0)


def openapi() -> dict[str, Any]:
    """The document that `serve` gives at /openapi.json, for a server without sources."""
    parts = cast("Parts", SimpleNamespace(**_ABSENT, hub=Hub(), models={}, archives=()))
    return make_api(parts, ServerSettings(), token=None, tell=print).openapi()


def http_page() -> str:
    document = openapi()
    routes = [
        _route(method.upper(), path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    introduction = (
        "What `stts-runtime serve` answers, from its OpenAPI document; a running server gives its own at "
        "`/openapi.json`, with the names of its models and sources. How to ask is in [serve](../serve.md)."
    )
    records = object_sections(document["components"]["schemas"], level=3)
    return f"# HTTP API\n\n{introduction}\n\n{''.join(routes)}## Records\n\n{records}"


def _route(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parameters = [
        [code(one["name"]), one["in"], type_of(one["schema"]), plain(one.get("description", ""))]
        for one in operation.get("parameters", ())
    ]
    return "".join(
        (
            f"## {method} {path}\n\n{plain(operation.get('description', ''))}\n\n",
            table(["parameter", "in", "type", ""], parameters) if parameters else "",
            f"Takes {_content(operation['requestBody'])}.\n\n" if "requestBody" in operation else "",
            table(["status", "", "body"], _answers(operation["responses"])),
        )
    )


def _answers(responses: Mapping[str, Any]) -> Iterator[list[str]]:
    for status, answer in responses.items():
        yield [status, plain(answer.get("description", "")), _content(answer)]


def _content(body: Mapping[str, Any]) -> str:
    kinds = body.get("content", {})
    return ", ".join(
        f"{code(kind)} {type_of(one['schema'])}" if one.get("schema") else code(kind) for kind, one in kinds.items()
    )


def metrics_page() -> str:
    introduction = (
        "What `stream --metrics`, `serve` and `fleet` give at `/metrics`, from the registry itself; those of a fleet's "
        "boxes have a label `box` besides. Prometheus also sees `_bucket`, `_count` and `_sum` of a histogram. "
        "What to watch is in [streaming](../streaming.md#watch-it)."
    )
    rows = [
        [code(_name(one)), one.type, ", ".join(map(code, labels)), plain(one.documentation)]
        for one, labels in sorted(_metrics(), key=lambda pair: pair[0].name)
    ]
    return f"# Metrics\n\n{introduction}\n\n{table(['name', 'type', 'labels', ''], rows)}"


def _name(metric: Metric) -> str:
    return metric.name + "_total" * (metric.type == "counter")


def _metrics() -> Iterator[tuple[Metric, list[str]]]:
    """Each with the names of its labels; what only a GPU tells, as a GPU would."""
    streams = StreamMetrics()
    streams.watch_spool("", lambda: Backlog(0, 0))
    streams.build(lambda: dict.fromkeys(("bundle", "checkpoint", "engine"), ""))
    ServerMetrics(streams, cast("Any", _NO_QUEUE), EventBroker(), LookCache(0))
    streams.registry.register(GpuMetrics(_Nvml, None))
    streams.registry.register(OfTheFleet(cast("Any", _FLEET)))
    streams.registry.register(OfTheBox(lambda: 0))
    declared = {name: one for one, names in streams.registry._collector_to_names.items() for name in names}  # noqa: SLF001
    for metric in streams.registry.collect():
        of_samples = {label: None for sample in metric.samples for label in sample.labels if label != "le"}
        yield metric, list(getattr(declared.get(metric.name), "_labelnames", of_samples))


class _Nvml:
    """A GPU that tells all that is asked for."""

    NVMLError = RuntimeError
    nvmlDeviceGetMemoryInfo = staticmethod(lambda _: SimpleNamespace(used=0, total=0))
    nvmlDeviceGetUtilizationRates = staticmethod(lambda _: SimpleNamespace(gpu=0))
