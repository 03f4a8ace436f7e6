"""`stts-runtime search`: what was seen, found again by its words while it goes on being written."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from stts_runtime.archive.importing import import_records
from stts_runtime.archive.moments import local_now, parse_moment, zone
from stts_runtime.archive.reader import Results, Wanted, search
from stts_runtime.archive.shown import found_line
from stts_runtime.archive.writer import ArchiveWriter, Room
from stts_runtime.cli.long_running import configured, tell
from stts_runtime.cli.options import ConfigOption, JsonOption
from stts_runtime.errors import UserError
from stts_runtime.handed_over import check_is_content
from stts_runtime.places import check_file, is_there, shown
from stts_runtime.sinks.config import ArchiveConfig
from stts_runtime.stream.config import Cameras
from stts_runtime.text import counted

_USUAL = "seen.db"
_OF_SERVICES = Path("/var/lib/stts")
_FOR_IMPORTS = Room(days=36_500, max_bytes=1 << 40)
"""What is too old or too much for the sink goes when that writes again."""


class _AnyCameras(Cameras):
    """A file of `stream` or of `serve`."""

    serve: Any = None


def search_command(
    words: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="WORDS",
            help="Words that a record must contain. '\"white van\"': next to each other; -word: absent; answer:WORD, "
            "question:WORD: in that field only. Without words: every record.",
        ),
    ] = None,
    since: Annotated[
        Optional[str],
        typer.Option(metavar="TIME", help="Earliest time: yesterday, today, 2h (ago), 3d, 14:30, 2026-11-28T14:30."),
    ] = None,
    until: Annotated[
        Optional[str], typer.Option(metavar="TIME", help="Latest time, written likewise; a day means its beginning.")
    ] = None,
    stream: Annotated[Optional[list[str]], typer.Option(metavar="NAME", help="Only this stream; repeatable.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Show at most this many records, newest first.")
    ] = 20,
    db: Annotated[
        Optional[list[Path]],
        typer.Option(
            metavar="FILE.db", help="Archive to search; repeatable.", show_default=f"{_USUAL} of the state folder"
        ),
    ] = None,
    config: ConfigOption = None,
    import_file: Annotated[
        Optional[Path],
        typer.Option(
            "--import", metavar="FILE", help="Import records into the archive: FILE.jsonl, or another FILE.db."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search the records that a stream wrote to FILE.db, also while it is running; newest first.

    Case, accents and English word endings do not matter. Times are in this machine's time zone.
    """
    # They reach us as words since -word is one.
    if wrong := next((word for word in words or [] if word.startswith("--")), None):
        raise UserError(f"no such option: {wrong} (see stts-runtime search --help)")
    named = db or _configured(config)
    if import_file is not None:
        _import(import_file, named)
        return
    wanted = Wanted(
        words=" ".join(words or []),
        since=None if since is None else parse_moment(since, "--since"),
        until=None if until is None else parse_moment(until, "--until"),
        streams=tuple(stream or ()),
        limit=limit,
    )
    if wanted.since and wanted.until and wanted.since >= wanted.until:
        raise UserError(f"--since {_shown(wanted.since)} is not before --until {_shown(wanted.until)}")
    results = search(named or _usual(), wanted)
    for one in results.found:
        typer.echo(json.dumps(one.record, ensure_ascii=False) if as_json else found_line(one.record))
    for note in results.notes:
        tell(f"note: {note}")
    if not as_json:
        tell(_summary(results, wanted))


def _configured(file: Path | None) -> list[Path]:
    """The archives that a configuration file writes."""
    if file is None:
        return []
    sinks = configured(_AnyCameras, file, {}, tell).all_sinks
    if not (found := [Path(one.to) for one in sinks if isinstance(one, ArchiveConfig)]):
        raise UserError(f"{shown(file)} has no sink that can be searched: add FILE.db to its sinks")
    return found


def _usual() -> list[Path]:
    places = [Cameras.model_construct().state_folder / _USUAL, _OF_SERVICES / _USUAL]
    if not (found := [place for place in places if is_there(place)][:1]):
        looked = " or ".join(shown(place) for place in places)
        raise UserError(f"no {looked}: name one with --db FILE.db; `stts-runtime stream --to FILE.db` writes it")
    return found


def _import(file: Path, places: list[Path]) -> None:
    if len(places) != 1:
        raise UserError("name the one archive that --import brings records into: --db FILE.db")
    check_file(file)
    check_is_content(file)
    archive = ArchiveWriter(places[0], _FOR_IMPORTS, tell)
    try:
        done = import_records(file, archive)
    finally:
        archive.close()
    left_out = f", {done.left_out:,} left out ({done.reason})" if done.left_out else ""
    if not done.new + done.there:
        raise UserError(f"{shown(file)} holds no records of a stream{left_out}")
    tell(f"{shown(places[0])}: {done.new:,} new, {done.there:,} there already{left_out}")


def _summary(results: Results, wanted: Wanted) -> str:
    now = local_now()
    begin = f"since {_shown(wanted.since)}" if wanted.since else "of any time"
    end = f" until {_shown(wanted.until)}" if wanted.until else ""
    count = counted(len(results.found), "record")
    more = ", and there are more: --limit" if results.is_more else ""
    return f"{count} {begin}{end}, newest first, times in {zone(now)}{more}"


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
