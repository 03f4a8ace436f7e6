"""`stts-runtime search` as a program: words, times, files, and one line for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stts_runtime.archive.writer import ArchiveWriter, Room
from stts_runtime.cli.app import app
from stts_runtime.errors import UserError
from tests.support.archived import entry_of, record_of


@pytest.fixture
def db(tmp_path: Path) -> Path:
    writer = ArchiveWriter(tmp_path / "seen.db", Room(36_500, 10**8), print)
    writer.add([entry_of("A white van stops", 1), entry_of("A red van", 2, "yard"), entry_of("nobody", 3)])
    writer.close()
    return tmp_path / "seen.db"


def search(*words: object) -> Result:
    return CliRunner().invoke(app, ["search", *map(str, words)])


def refusal(*words: object) -> str:
    error = search(*words).exception
    assert isinstance(error, UserError), error
    return str(error)


def answers(*words: object) -> list[str]:
    done = search(*words, "--json")
    assert done.exit_code == 0, done.output
    return [json.loads(line)["answer"] for line in done.stdout.splitlines()]


def test_words_and_options_are_told_apart(db: Path) -> None:
    assert answers("van", "-white", "--db", db) == ["A red van"]
    assert answers("-nobody", "-red", "--db", db) == ["A white van stops"]
    assert answers('"white van"', "--db", db, "--stream", "gate", "--since", "2026-09-21", "--until", "now") == [
        "A white van stops"
    ]
    assert answers("--db", db, "--limit", 1) == ["nobody"]
    assert "no such option: --sinse" in refusal("van", "--sinse", "2h", "--db", db)


def test_lines_for_people_say_in_which_zone_and_whether_there_is_more(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = search("van", "--db", db, "--limit", 1)
    assert done.stdout.endswith("  yard  A red van  (What happens?)\n")
    assert "1 record of any time, newest first, times in UTC" in done.stderr
    assert "and there are more: --limit" in done.stderr


def test_mistakes_are_one_line(db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--since 'soon' is not a time" in refusal("--since", "soon", "--db", db)
    assert "is not before --until" in refusal("--since", "1h", "--until", "2h", "--db", db)
    assert "no record of a stream gote; there are gate, yard" in refusal("--stream", "gote", "--db", db)
    assert "there is no word to search for" in refusal("?!", "--db", db)
    assert "no such file" in refusal("--db", tmp_path / "gone.db")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    assert f"no {tmp_path}/state/seen.db or /var/lib/stts/seen.db: name one with --db FILE.db" in refusal("van")


def test_it_looks_where_streams_write(db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "cameras.yaml"
    config.write_text(
        f"bundle: B\nstreams: [{{name: a, source: x}}, {{name: b, source: y, sinks: ['{db}']}}]\nserve: {{}}\n"
    )
    assert len(answers("van", "--config", config)) == 2
    config.write_text("bundle: B\nstreams: [{name: a, source: x}]\n")
    assert "has no sink that can be searched: add FILE.db to its sinks" in refusal("--config", config)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert len(answers("van")) == 2


def test_a_file_is_imported_into_a_named_archive(db: Path, tmp_path: Path) -> None:
    old = tmp_path / "answers.jsonl"
    old.write_text(json.dumps(record_of("An old bus", -9)) + "\n{}\n")
    assert "name the one archive" in refusal("--import", old)
    assert "no such file" in refusal("--import", tmp_path / "gone", "--db", tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()
    done = search("--import", old, "--db", db)
    assert done.exit_code == 0
    assert "seen.db: 1 new, 0 there already, " in done.stderr
    assert "1 left out (line 2: schema_name is missing, or no text)" in done.stderr
    assert answers("bus", "--db", db) == ["An old bus"]
    old.write_text("{}\n")
    assert "holds no records of a stream, 1 left out (line 1:" in refusal("--import", old, "--db", db)
    writer = ArchiveWriter(db, Room(), print)
    assert "is being written by another process" in refusal("--import", old, "--db", db)
    writer.close()
