"""What is found by which words, in which order, and what is never an error of SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stts_runtime.archive.entry import moment
from stts_runtime.archive.reader import Wanted, search, stream_names
from stts_runtime.archive.writer import ArchiveWriter, Room
from stts_runtime.errors import ArchiveError, UserError
from tests.support.archived import BEGIN, entry_of
from tests.support.unprivileged import permissions_hold

ROOM = Room(days=36_500, max_bytes=100_000_000)
ANSWERS = {
    "van": "A white van stops",
    "vans": "Two WHITE trucks, no vans",
    "apart": "A van is white",
    "german": "Ein weißer Lieferwagen hält",
    "french": "Café ouvert",
    "japanese": "白い車が来た",
    "hindi": "सफेद गाड़ी",
    "wide": "\uff36\uff21\uff2e",
    "don't": "They don't stop",
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("archive") / "seen.db"
    writer = ArchiveWriter(path, ROOM, print)
    for number, (name, answer) in enumerate(ANSWERS.items()):
        writer.add([entry_of(answer, number, id=name)])
    alarm = {"rule": "yes>0.8", "on": True, "change": "raised", "number": 1, "probability": 0.9}
    writer.add([entry_of("yes", 100, "yard", id="alarm", question="Is a van there?", site="north", alert=alarm)])
    writer.add([entry_of("no", 101, "yard", id="no", question="Is a van there?")])
    yield path
    writer.close()


def found(path: Path, words: str, **wanted: Any) -> list[str]:
    return [one.record["id"] for one in search([path], Wanted(words, **wanted)).found]


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("white van", ["apart", "vans", "van"]),
        ("WHITE stopping", ["van"]),
        ('"white van"', ["van"]),
        ("\u201cwhite van\u201d", ["van"]),
        ('"van white', []),
        ("white -trucks", ["apart", "van"]),
        ('white -"white van"', ["apart", "vans"]),
        ("weisser", ["german"]),
        ("halt", ["german"]),
        ("cafe", ["french"]),
        ("車", ["japanese"]),
        ("白い車", ["japanese"]),
        ("車い", []),
        ("गाड़ी", ["hindi"]),
        ("answer:van", ["wide", "apart", "vans", "van"]),
        ("question:van", ["no", "alarm"]),
        ("question:van -answer:no", ["alarm"]),
        ("alarm", ["alarm"]),
        ("north yard", ["alarm"]),
        ("don't", ["don't"]),
        ("van !!! NOT", []),
        ("-van -the", ["don't", "hindi", "japanese", "french", "german"]),
        ("zebra", []),
    ],
)
def test_words_find_what_they_mean(archive: Path, words: str, ids: list[str]) -> None:
    assert found(archive, words) == ids


def test_times_streams_and_a_limit_narrow_it(archive: Path) -> None:
    assert found(archive, "", limit=2) == ["no", "alarm"]
    assert found(archive, "", streams=("yard",)) == ["no", "alarm"]
    assert found(archive, "van", streams=("yard", "gate"), limit=3) == ["no", "alarm", "wide"]
    assert found(archive, "", since=moment(BEGIN + 101_000)) == ["no"]
    assert found(archive, "van", until=moment(BEGIN + 2000)) == ["vans", "van"]
    assert found(archive, "", since=moment(BEGIN + 1000), until=moment(BEGIN + 3000)) == ["apart", "vans"]
    with pytest.raises(UserError, match="no record of a stream gote; there are gate, yard"):
        found(archive, "", streams=("gote",))


def test_a_search_goes_on_behind_the_last_that_was_found(archive: Path) -> None:
    first = search([archive], Wanted("van", limit=4))
    assert first.is_more
    rest = search([archive], Wanted("van", limit=9, before=first.found[-1].number))
    assert not rest.is_more
    whole = search([archive], Wanted("van"))
    assert first.found + rest.found == whole.found


def test_several_archives_are_searched_as_one(archive: Path, tmp_path: Path) -> None:
    other = ArchiveWriter(tmp_path / "b.db", ROOM, print)
    other.add([entry_of("A red van", 100.5, "roof", id="roof")])
    other.close()
    both = search([archive, tmp_path / "b.db"], Wanted("van", limit=3)).found
    assert [one.record["id"] for one in both] == ["no", "roof", "alarm"]
    alone = search([archive, tmp_path / "b.db"], Wanted("", streams=("roof",))).found
    assert [one.record["id"] for one in alone] == ["roof"]


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from(' "-:*^(){}+\\\0answer:questionNEARANDORNOT\u0301車é٣_\U0001fae8\u201c'), max_size=40))
def test_whatever_is_typed_is_no_error_of_sqlite(archive: Path, words: str) -> None:
    has_words = any(sign.isalnum() for sign in words)
    try:
        found(archive, words)
    except UserError as error:
        if has_words or not str(error).startswith("there is no word"):
            raise


def test_too_much_to_search_for_is_said() -> None:
    for words, message in (("a" * 1001, "1000 characters"), ("a " * 51, "50 words"), ("?!", "there is no word")):
        with pytest.raises(UserError, match=message):
            search([], Wanted(words))


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database " * 100)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    for name, message in (
        ("gone.db", "no such file"),
        ("text.db", "is damaged, or no"),
        ("other.db", "but no archive"),
    ):
        with pytest.raises(ArchiveError, match=message):
            search([tmp_path / name], Wanted())


def test_one_of_a_newer_version_is_not_read(tmp_path: Path) -> None:
    ArchiveWriter(tmp_path / "a.db", ROOM, print).close()
    database = sqlite3.connect(tmp_path / "a.db")
    database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(ArchiveError, match=r"newer stts-runtime \(schema 2, and this one knows 1\)"):
        search([tmp_path / "a.db"], Wanted())
    with pytest.raises(UserError, match="newer"):
        ArchiveWriter(tmp_path / "a.db", ROOM, print)


def test_one_on_a_disk_that_may_not_be_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "readonly"
    folder.mkdir()
    writer = ArchiveWriter(folder / "a.db", ROOM, print)
    writer.add([entry_of("A van", id="it")])
    writer.close()
    (folder / "a.db").chmod(0o444)
    folder.chmod(0o555)
    try:
        with permissions_hold():
            assert found(folder / "a.db", "van") == ["it"]
            assert stream_names(folder / "a.db") == ["gate"]
            assert {one.name for one in folder.iterdir()} == {"a.db", "a.db.lock"}
    finally:
        folder.chmod(0o755)
