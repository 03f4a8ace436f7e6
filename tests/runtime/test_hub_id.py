"""Names of the Hugging Face hub: told from paths, and answered with the command that builds a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.errors import BundleError
from stts_runtime.hub_id import HubId, as_typed, hub_id
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
        ("https://huggingface.co/allenai/Molmo2-4B@v1.0", "allenai/Molmo2-4B", "v1.0"),
        ("https://huggingface.co/allenai/Molmo2-4B/blob/main/config.json", "allenai/Molmo2-4B", "main"),
        ("https://huggingface.co/allenai/Molmo2-4B/resolve/v2/a/b.json?download=true", "allenai/Molmo2-4B", "v2"),
        ("https://huggingface.co/allenai/Molmo2-4B/blob/refs%2Fpr%2F3/README.md#use", "allenai/Molmo2-4B", "refs/pr/3"),
        ("https://huggingface.co/allenai/Molmo2-4B/tree/refs/pr/3", "allenai/Molmo2-4B", "refs/pr/3"),
        ("https://huggingface.co/allenai/Molmo2-4B/commit/0a1b2c", "allenai/Molmo2-4B", "0a1b2c"),
    ],
)
def test_a_name_may_have_a_revision_or_be_an_address(
    text: str, name: str, revision: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert hub_id(Path(text)) == HubId(name, revision)


@pytest.mark.parametrize(
    "text",
    [
        *("Molmo2-4B", "/a/b", "../a/b", "a/b/c", "a/b@", "a b/c", "-a/b", "https://example.com/a/b", "here/b"),
        *(f"https://huggingface.co/{page}" for page in ("datasets/a/b", "models", "a/b/discussions/3", "a/b/tree", "")),
    ],
)
def test_what_has_another_form_or_begins_with_a_folder_here_is_a_path(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert hub_id(Path(text)) is None


def test_an_address_may_name_a_folder_in_a_model() -> None:
    found = hub_id(Path("https://huggingface.co/allenai/Molmo2-4B/tree/main/step1000/final"))
    assert found == HubId("allenai/Molmo2-4B", "main", "step1000/final")


def test_what_is_typed_as_a_path_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("./runs/a", "runs/a/", "runs/./a"):
        assert hub_id(as_typed(text)) is None
        assert as_typed(text) == tmp_path / "runs" / "a"
    (tmp_path / "runs" / "a").mkdir(parents=True)
    assert as_typed("./runs/a") == Path("runs/a"), "what is there is called as it was"
    for text in ("allenai/Molmo2-4B", "https://huggingface.co/allenai/Molmo2-4B/", "../a", "a"):
        assert as_typed(text) == Path(text)


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
