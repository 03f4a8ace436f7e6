"""`fleet --check`: what a fleet would run, and with `--connect` where. Boxes are made nowhere."""

from __future__ import annotations

from stts_runtime.fleet.cluster import Place, connected
from stts_runtime.fleet.config import FleetConfig, FleetSettings
from stts_runtime.serve.run import check_server
from stts_runtime.stream.check import ConfigReport, check_cameras
from stts_runtime.text import counted


class FleetReport(ConfigReport):
    """What would run, and on what."""

    settings: FleetSettings
    page: str
    """Its address and port."""
    places: list[Place] | None = None
    """Where boxes would be; None if the cluster was not asked."""

    @property
    def room(self) -> int | None:
        """For so many streams; None if that has still to be measured."""
        borne = [self.settings.borne(place.name, place.machine) for place in self.places or ()]
        return None if None in borne else sum(one or 0 for one in borne)


def check_fleet(config: FleetConfig, *, connect: bool) -> FleetReport:
    """As `check_cameras`, of this machine's bundle and sinks; sources and engines are the boxes'. With `connect` the
    cluster is joined and left again.

    Raises `UserError`, also where no machine could take part.
    """
    check_server(config.serve)
    report = check_cameras(config, connect=connect, elsewhere=True)
    listen = config.serve.listen
    page = f"{listen.address}:{listen.port}"
    whole = FleetReport(**dict(report), settings=config.fleet, page=page)
    if connect:
        with connected(config.fleet, on_gpus=config.on_gpus) as cluster:
            cluster.check_places()
            whole.places = list(cluster.places().values())
        whole.notes += _notes(whole)
    return whole


def _notes(report: FleetReport) -> list[str]:
    places, notes = report.places or [], []
    if isinstance(report.settings.bears, dict):
        known = {name for place in places for name in (place.name, place.machine)}
        notes = [f"fleet.bears names {one}, which is not there" for one in report.settings.bears if one not in known]
    if report.room is not None and report.room < len(report.streams):
        notes.append(f"there is room for {report.room} of {counted(len(report.streams), 'stream')}: the last ones wait")
    return notes
