"""Names of the Hugging Face hub: told from paths, and answered with the command that builds a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.errors import BundleError
from stts_runtime.hub_id import HubId, hub_id
from stts_runtime.places import shown


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("allenai/Molmo2-4B", "allenai/Molmo2-4B", None),
        ("allenai/Molmo2-4B@v1.0", "allenai/Molmo2-4B", "v1.0"),
        ("allenai/Molmo2-4B@refs/pr/3", "allenai/Molmo2-4B", "refs/pr/3"),
        ("https://huggingface.co/allenai/Molmo2-4B", "allenai/Molmo2-4B", None),
        ("https://huggingface.co/allenai/Molmo2-4B/tree/main", "allenai/Molmo2-4B", "main"),
        ("hf.co/allenai/Molmo2-4B/", "allenai/Molmo2-4B", None),
    ],
)
def test_a_name_may_have_a_revision_or_be_an_address(
    text: str, name: str, revision: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert hub_id(Path(text)) == HubId(name, revision)


@pytest.mark.parametrize(
    "text",
    ["Molmo2-4B", "/a/b", "../a/b", "a/b/c", "a/b@", "a b/c", "-a/b", "https://example.com/a/b", "here/b"],
)
def test_what_has_another_form_or_begins_with_a_folder_here_is_a_path(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert hub_id(Path(text)) is None


def test_where_a_bundle_belongs_the_command_that_builds_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match=r": stts-export build allenai/Molmo2-4B@main --out BUNDLE$"):
        Bundle.open(Path("https://huggingface.co/allenai/Molmo2-4B/tree/main"))
    (tmp_path / "allenai").mkdir()
    with pytest.raises(BundleError, match=r"no such bundle: allenai/Molmo2-4C$"):
        Bundle.open(Path("allenai/Molmo2-4C"))


@pytest.mark.parametrize("secret", ["https://user:hf_Secret@huggingface.co/a/b", "https://hf.co/a/b?token=hf_Secret"])
def test_an_address_with_a_token_is_not_repeated(secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="no such bundle: https:/") as refused:
        Bundle.open(Path(secret))
    assert "Secret" not in str(refused.value)
    assert shown("clips/night: a?b=c.mp4") == "clips/night: a?b=c.mp4", "a path is as it is"
