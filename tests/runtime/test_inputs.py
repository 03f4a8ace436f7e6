"""Folders and patterns become the files that a person would expect, each once."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from stts_runtime.inputs import Input, expand_sources


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "rec/day10/a.MP4", "rec/day2/b.mkv", "rec/day2/b.srt", "rec/10.mp4", "rec/9.mp4", "rec/.hidden.mp4",
        "rec/.trash/c.mp4", "rec/._9.mp4", "rec/#recycle/c.mp4", "rec/@eaDir/c.mp4", "readme.txt", "[1] what?.mp4",
    ):  # fmt: skip
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path


def names(*sources: str) -> list[str]:
    found = expand_sources(sources)
    assert not [one for one in found if one.problem is not None]
    return [one.name for one in found]


def problem(source: str) -> str:
    (found,) = expand_sources([source])
    assert found.problem is not None
    return str(found.problem)


def test_a_folder_is_its_videos_with_subfolders_in_natural_order(recordings: Path) -> None:
    assert names("rec") == ["rec/9.mp4", "rec/10.mp4", "rec/day2/b.mkv", "rec/day10/a.MP4"]
    assert names("rec/") == names("rec")
    assert names(str(recordings / "rec" / "day2")) == [str(recordings / "rec" / "day2" / "b.mkv")]


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("rec/*.mp4", ["rec/9.mp4", "rec/10.mp4"]),
        ("rec/**/*.m*", ["rec/9.mp4", "rec/10.mp4", "rec/day2/b.mkv"]),
        ("**/[ab].*", ["rec/day2/b.mkv", "rec/day2/b.srt", "rec/day10/a.MP4"]),
        ("rec/day?", ["rec/day2/b.mkv"]),
        ("rec/.h*", ["rec/.hidden.mp4"]),
        ("./rec/day2/../9.*", ["rec/day2/../9.mp4"]),
    ],
)
def test_a_pattern_matches_as_in_a_shell(recordings: Path, pattern: str, matches: list[str]) -> None:
    assert names(pattern) == matches
    assert names(str(recordings / pattern)) == [str(recordings / match) for match in matches]


def test_what_is_there_or_is_an_address_is_no_pattern(recordings: Path) -> None:
    given = ["[1] what?.mp4", "https://host/a*.mp4?x=[1]", "none.mp4", "readme.txt", "-", "/dev/fd/63"]
    assert names(*given) == given


def test_a_file_named_twice_is_listed_once_and_links_of_other_names_are_files_of_their_own(recordings: Path) -> None:
    Path("latest.mp4").symlink_to("rec/9.mp4")
    Path("also").symlink_to("rec")
    given = ("rec/10.mp4", "rec", "./rec/9.mp4", "rec/*.mp4", str(recordings / "rec"), "also", "latest.mp4", "x", "x")
    assert names(*given) == ["rec/10.mp4", "rec/9.mp4", "rec/day2/b.mkv", "rec/day10/a.MP4", "latest.mp4", "x"]


def test_links_that_lead_back_end(recordings: Path) -> None:
    before = names("rec")
    for name in ("a", "b", "c"):
        (recordings / "rec" / "day2" / name).symlink_to("..")
        (recordings / "rec" / name).symlink_to(recordings)
    (recordings / "rec" / "self").symlink_to("self")
    # By the links, what lies next to the folder is in it too; what is in it keeps its plain name.
    assert set(names("rec")) == {*before, "rec/a/[1] what?.mp4"}
    assert names("rec/**/9.mp4") == ["rec/9.mp4"]


def test_a_folder_without_videos_says_what_it_holds(recordings: Path) -> None:
    folder = recordings / "rec" / "day2"
    (folder / "b.mkv").unlink()
    assert problem("rec/day2") == "rec/day2 holds no video file; it holds 1 other file, b.srt"
    (folder / "c.png").touch()
    assert problem("rec/day2") == (
        "rec/day2 holds no video file; it holds 2 other files, such as c.png; folders of pictures are for "
        "`stts-runtime stream`"
    )
    (recordings / "empty").mkdir()
    assert problem("empty") == "empty holds no video file; it is empty"
    assert problem("rec/*.avi") == "no file matches rec/*.avi"


def test_a_folder_that_may_not_be_read_is_a_problem_of_its_own(
    recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def refuse(folder: str) -> object:
        if str(folder).endswith("day2"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    found = expand_sources(["rec"])
    assert [one.name for one in found] == ["rec/9.mp4", "rec/10.mp4", "rec/day10/a.MP4", "rec/day2"]
    assert str(found[-1].problem) == "rec/day2 cannot be read: Permission denied"


def test_a_name_that_no_file_can_have_stays_for_the_reader_to_refuse() -> None:
    assert expand_sources(["why " * 500]) == [Input("why " * 500)]
