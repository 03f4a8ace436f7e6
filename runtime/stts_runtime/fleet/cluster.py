"""A Ray cluster, its machines, and boxes on them. What is wrong with it is said in one sentence.

What is a secret goes in calls and never in what makes an actor, which Ray keeps and shows.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from types import ModuleType
from typing import Any, NamedTuple

from stts_runtime import clock
from stts_runtime.errors import SttsError, UserError
from stts_runtime.fleet.box import Box
from stts_runtime.fleet.config import LOCAL, FleetSettings
from stts_runtime.fleet.ray_module import quiet_stderr, ray_module
from stts_runtime.text import redacted

AUTO = "auto"
_START = "ray start --head --disable-usage-stats --include-dashboard=false"
_NOTHING_HERE = (
    f"this machine belongs to no Ray cluster that runs: start one with `{_START}`, join one with `ray start --address "
    "HOST:6379 --disable-usage-stats`, or set fleet: {address: local} for this machine alone"
)
_NAMESPACE = "stts-fleet"
_CONNECT_SECONDS = 5.0
_OTHERS_SECONDS = 4.0
"""For the boxes of a fleet that ended a moment ago."""
_PAUSE_SECONDS = 0.5
_CALLS_AT_ONCE = 16


class Place(NamedTuple):
    """A GPU, or a machine without one."""

    node: str
    """Ray's number of the machine."""
    machine: str
    """Its name."""
    gpu: int | None

    @property
    def name(self) -> str:
        return self.machine if self.gpu is None else f"{self.machine}/gpu{self.gpu}"


@dataclass(frozen=True)
class Failed:
    """A call that came to nothing; `lost`: and neither will others, since the box is gone."""

    reason: str
    lost: bool


class Cluster:
    """A Ray cluster that this process is connected to."""

    def __init__(self, ray: ModuleType, settings: FleetSettings, *, on_gpus: bool) -> None:
        self._ray, self._settings, self._on_gpus = ray, settings, on_gpus

    def places(self) -> dict[str, Place]:
        """Where boxes can be, by name: of machines that are there and have the resources that are asked for."""
        found: dict[str, Place] = {}
        for node in sorted(self._nodes(), key=lambda one: str(one["NodeID"])):
            if not self._takes_part(node["Resources"]):
                continue
            machine = _name_of(node, {place.machine for place in found.values()})
            gpus = int(node["Resources"].get("GPU", 0)) if self._on_gpus else 0
            for place in [Place(node["NodeID"], machine, gpu if gpus else None) for gpu in range(max(1, gpus))]:
                found[place.name] = place
        return found

    def check_places(self) -> None:
        """Raises `UserError` if there are none, with what there is."""
        if self.places():
            return
        there = sorted({name for node in self._nodes() for name in node["Resources"] if ":" not in name})
        asked = ", ".join(f"{name}: {amount:g}" for name, amount in self._settings.resources.items())
        wanted = f"the resources {{{asked}}} that fleet.resources asks for" if asked else "a CPU or GPU to give"
        raise UserError(f"no machine of the cluster has {wanted}; there are {', '.join(there) or 'none at all'}")

    def check_alone(self) -> None:
        """Raises `UserError` if another fleet has boxes here. One that has just ended is waited for."""
        deadline = clock.now() + _OTHERS_SECONDS
        while there := self._boxes():
            if clock.now() > deadline:
                some = ", ".join(there[:3])
                raise UserError(f"another fleet runs on this cluster, with {some}: one at a time; stop that one first")
            time.sleep(_PAUSE_SECONDS)

    def start_box(self, place: Place) -> Any:
        """Its actor, which is being made. Raises `UserError` if another fleet has one of that name."""
        needs: dict[str, Any] = {"num_gpus": 1} if place.gpu is not None else {"num_cpus": 1}
        resources = {name: min(amount, 0.001) for name, amount in self._settings.resources.items()}
        try:
            return (
                self._ray.remote(Box)
                .options(
                    name=place.name,
                    scheduling_strategy=self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                        place.node, soft=False
                    ),
                    max_concurrency=_CALLS_AT_ONCE,
                    max_restarts=0,
                    resources=resources or None,
                    **needs,
                )
                .remote()
            )
        except ValueError:
            raise UserError(f"another fleet runs on this cluster and has {place.name}: stop that one first") from None

    def end_box(self, actor: Any) -> None:
        """Whatever it is doing, where it can still be reached."""
        self._ray.kill(actor)

    def ready(self, calls: Sequence[Any], seconds: float) -> list[Any]:
        """Those of the calls that ended, at the latest after so long."""
        if not calls:
            time.sleep(seconds)
            return []
        done, _ = self._ray.wait(list(calls), num_returns=1, timeout=seconds)
        if done:
            done, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=0)
        return list(done)

    def result(self, call: Any, seconds: float | None = None) -> Any:
        """What a call gave, or `Failed`. For any thread."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(call, timeout=seconds)
        except errors.GetTimeoutError:
            return Failed(f"no answer within {seconds:g} s", lost=False)
        except errors.ActorUnavailableError:
            return Failed("it cannot be reached", lost=False)
        except errors.RayActorError:
            return Failed("its process ended, or its machine", lost=True)
        except errors.RayTaskError as error:
            cause = error.cause
            words = str(cause) if isinstance(cause, SttsError) else f"{type(cause).__name__}: {cause}"
            return Failed(words, lost=False)
        except errors.RayError as error:
            return Failed(type(error).__name__, lost=True)

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _boxes(self) -> list[str]:
        named = self._ray.util.list_named_actors(all_namespaces=True)
        return sorted(one["name"] for one in named if one["namespace"] == _NAMESPACE)

    def _takes_part(self, resources: Mapping[str, float]) -> bool:
        has_place = resources.get("GPU", 0) >= 1 or resources.get("CPU", 0) >= 1
        return has_place and all(resources.get(name, 0) >= least for name, least in self._settings.resources.items())


@contextmanager
def connected(settings: FleetSettings, *, on_gpus: bool) -> Iterator[Cluster]:
    """Raises `UserError` with what is wrong and what to do, `MissingExtraError` without Ray."""
    ray = ray_module()
    options: dict[str, Any] = {"namespace": _NAMESPACE, "log_to_driver": False, "logging_level": logging.CRITICAL}
    if settings.address == LOCAL:
        options["include_dashboard"] = False
    else:
        _check_reachable(settings.address)
    try:
        with quiet_stderr():
            ray.init(address=settings.address, **options)
    except ConnectionError:
        raise UserError(_NOTHING_HERE) from None
    except (RuntimeError, ValueError) as error:
        raise UserError(f"the Ray cluster cannot be used: {' '.join(str(error).split())}") from None
    try:
        yield Cluster(ray, settings, on_gpus=on_gpus)
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises `UserError` if nothing listens there: Ray itself tries for minutes, and then ends the process."""
    if address == AUTO:
        address = os.environ.get("RAY_ADDRESS") or AUTO
    if "://" in address:
        raise UserError(
            f"{redacted(address)} is for Ray's clients: run this on a machine of the cluster, with HOST:PORT"
        )
    if address in (AUTO, LOCAL):
        return
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise UserError(f"fleet.address should be auto, local or HOST:PORT, as 192.0.2.7:6379, got {redacted(address)}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster answers at {address} ({error.strerror or error}): start its head with `{_START}`, or set "
            "fleet.address"
        ) from None


def _name_of(node: Mapping[str, Any], taken: Container[str]) -> str:
    """As Ray has it (`ray start --node-name`), or the machine's own; with a number if another has the same."""
    name = str(node.get("NodeName") or "")
    if not name or name == node.get("NodeManagerAddress"):
        name = str(node.get("NodeManagerHostname") or node["NodeID"][:8])
    numbered = (f"{name}-{number}" for number in count(2))
    return name if name not in taken else next(one for one in numbered if one not in taken)
