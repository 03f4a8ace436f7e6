"""Checkpoints by their name on the Hugging Face hub, from a stand-in of it: what is downloaded, said and refused."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from huggingface_hub import constants, file_download
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import stts_export
from stts_export.building import BuildRequest
from stts_export.building.plan import plan_bundle
from stts_export.checkpoint import open_checkpoint
from stts_export.checkpoint.hub_progress import Progress
from stts_export.checkpoint.importing import import_checkpoint
from stts_export.cli.app import app
from stts_export.errors import CheckpointError
from stts_export.scorer_training.request import ScorerRequest
from stts_export.scorer_training.train import train_scorer
from stts_runtime import clock
from stts_runtime.errors import MissingExtraError, UserError
from tests.support.adapters import write_adapter
from tests.support.hub import COMMIT, TOKEN, HubModel, HubStandIn, hub_stand_in, use_hub
from tests.support.programs import BIN
from tests.support.training_layout import write_training_layout

NAME = "allenai/Molmo2-Tiny"
SMALL = ["config.json", "tokenizer.json", "tokenizer_config.json", "video_preprocessor_config.json"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with hub_stand_in() as stand_in:
        use_hub(stand_in, tmp_path / "home", monkeypatch)
        yield stand_in


@pytest.fixture
def model(hub: HubStandIn, micro_checkpoint: Path, tmp_path: Path) -> HubModel:
    """The micro checkpoint on the hub, which may be changed."""
    hub.models[NAME] = HubModel(Path(shutil.copytree(micro_checkpoint, tmp_path / "on-hub")))
    return hub.models[NAME]


@pytest.fixture
def training(hub: HubStandIn, micro_checkpoint: Path, tmp_path: Path) -> HubModel:
    """The same in the training layout, as one file, without a tokenizer."""
    folder = write_training_layout(micro_checkpoint, tmp_path / "pt", sharded=False, dtype=torch.float32)
    hub.models[NAME] = HubModel(folder)
    return hub.models[NAME]


def test_what_is_needed_is_downloaded_once_and_told_before(hub: HubStandIn, model: HubModel) -> None:
    others = ("pytorch_model.bin", "consolidated.safetensors", "model.pt", "README.md", "modeling.py", "gguf/m.gguf")
    for name in others:
        (model.folder / name).parent.mkdir(exist_ok=True)
        (model.folder / name).write_bytes(b"not needed")
    told: list[tuple[str, list[str]]] = []
    found = open_checkpoint(NAME, on_step=lambda line: told.append((line, hub.got())))
    assert sorted(hub.got()) == sorted([*SMALL, "model.safetensors"])
    looking, downloading = told
    assert looking == (f"looking for {NAME} on 127.0.0.1", [])
    size = sum((model.folder / name).stat().st_size for name in (*SMALL[1:], "model.safetensors"))
    line = (
        f"{NAME} at {COMMIT[:12]}: {size / 1e6:.1f} MB in 4 of its files will be downloaded to {constants.HF_HUB_CACHE}"
    )
    assert downloading == (line, ["config.json"])
    assert found.name == f"{NAME}@{COMMIT}"
    assert found.config == open_checkpoint(model.folder).config
    found.load()
    hub.asked.clear()
    told.clear()
    assert open_checkpoint(NAME, on_step=lambda line: told.append((line, []))).path == found.path
    assert told[-1] == (f"{NAME} at {COMMIT[:12]} is in {constants.HF_HUB_CACHE} already", [])
    assert hub.got() == []


def test_nothing_is_told_of_this_machine(hub: HubStandIn, model: HubModel) -> None:
    open_checkpoint(NAME)
    assert {one.agent.split(";")[0].split("/")[0] for one in hub.asked} == {"stts-export"}
    assert not [one for one in hub.asked if "torch/" in one.agent or "agent/" in one.agent]
    assert not [one for one in hub.asked if "telemetry" in one.path or "harnesses" in one.path]


def test_of_shards_those_that_the_index_names_are_downloaded(hub: HubStandIn, model: HubModel) -> None:
    weights = load_file(model.folder / "model.safetensors")
    halves = {"model-1.safetensors": sorted(weights)[::2], "model-2.safetensors": sorted(weights)[1::2]}
    for shard, names in halves.items():
        save_file({name: weights[name] for name in names}, model.folder / shard)
    listed = {name: shard for shard, names in halves.items() for name in names}
    (model.folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": listed}))
    open_checkpoint(NAME).load()
    assert set(hub.got()) == {*SMALL, "model.safetensors.index.json", *halves}
    (model.folder / "model-2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"on the hub lacks model-2\.safetensors, which its model\.safe"):
        open_checkpoint(NAME)


def test_another_revision_by_branch_by_commit_and_by_the_address_of_its_page(hub: HubStandIn, model: HubModel) -> None:
    model.revisions = ("main", "refs/pr/3", COMMIT)
    for name in (f"{NAME}@refs/pr/3", f"{NAME}@{COMMIT}", f"https://huggingface.co/{NAME}/tree/refs/pr/3"):
        assert open_checkpoint(name).name == f"{NAME}@{COMMIT}"
    with pytest.raises(CheckpointError, match=f"^{NAME} has no revision v9 on the hub; name a branch"):
        open_checkpoint(f"{NAME}@v9")


def test_the_training_layout_is_imported_with_a_tokenizer_that_is_on_the_hub_too(
    hub: HubStandIn, training: HubModel, micro_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"holds no tokenizer\.json.*import .*--tokenizer"):
        open_checkpoint(NAME)
    assert hub.got() == ["config.yaml"], "that is known before the weights are downloaded"
    hub.models["allenai/Molmo2"] = HubModel(micro_checkpoint)
    hub.asked.clear()
    import_checkpoint(Path(NAME), tmp_path / "out", tokenizer=Path("allenai/Molmo2"))
    assert hub.got() == ["tokenizer.json", "tokenizer_config.json", "model.pt"]
    assert open_checkpoint(tmp_path / "out").config == open_checkpoint(micro_checkpoint).config


def test_of_a_sharded_training_layout_the_optimizers_files_stay_there(
    hub: HubStandIn, micro_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_training_layout(micro_checkpoint, tmp_path / "shards", sharded=True, dtype=torch.float32)
    (folder / "model_and_optim" / "__1_0.distcp").write_bytes(b"another process's part of the optimizer")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(micro_checkpoint / name, folder / name)
    hub.models[NAME] = HubModel(folder)
    open_checkpoint(NAME).load()
    assert [name for name in hub.got() if "/" in name] == ["model_and_optim/.metadata", "model_and_optim/__0_0.distcp"]


def put(model: HubModel, name: str, content: str) -> None:
    (model.folder / name).write_text(content)


def lose(model: HubModel, name: str, other: str | None = None) -> None:
    (model.folder / name).unlink()
    if other is not None:
        put(model, other, "")


REFUSALS: list[tuple[Callable[[HubStandIn], object], str]] = [
    (
        lambda hub: hub.models.clear(),
        "no such folder: {0}, and 127.0.0.1 has no such model that you may read",
    ),
    (lambda hub: vars(hub.models[NAME]).update(private=True), "for a private one sign in first: hf auth login"),
    (
        lambda hub: vars(hub.models[NAME]).update(gated=True),
        "{0} is gated: accept its conditions on its page, 127.0.0.1/{0}, ",
    ),
    (lambda hub: vars(hub).update(status=403), "{0} cannot be downloaded: 127.0.0.1 does not let you read it"),
    (lambda hub: vars(hub).update(status=429), "127.0.0.1 was asked too often from here"),
    (lambda hub: vars(hub).update(status=500), "127.0.0.1 answered with status 500; try again later"),
    (lambda hub: vars(hub).update(answer=b"<html>Sign in"), "127.0.0.1 does not answer as a hub does"),
    (lambda hub: vars(hub).update(answer=b"{}"), "127.0.0.1 does not answer as a hub does"),
    (lambda hub: vars(hub).update(answer=b'{"id": "x"}'), "127.0.0.1 does not say which files {0} has"),
    (lambda hub: lose(hub.models[NAME], "model.safetensors"), "{0} on the hub holds no weights that are read: neither"),
    (
        lambda hub: lose(hub.models[NAME], "config.json"),
        "is not a checkpoint: it holds neither config.json nor",
    ),
    (
        lambda hub: lose(hub.models[NAME], "config.json", "manifest.json"),
        "built already: hf download {0} --local-dir Molmo2-Tiny; stts-runtime run Molmo2-Tiny VIDEO --ask QUESTION$",
    ),
    (lambda hub: lose(hub.models[NAME], "config.json", "a.gguf"), "GGUF is llama.cpp's format"),
    (lambda hub: put(hub.models[NAME], "config.json", '{"model_type": "llava"}'), "config.json: model_type"),
    (lambda hub: put(hub.models[NAME], "tokenizer_config.json", "{}"), "names no eos_token"),
]


@pytest.mark.parametrize(("harm", "message"), REFUSALS)
@pytest.mark.parametrize("signed_in", [False, True])
def test_what_the_hub_refuses_is_one_sentence(
    hub: HubStandIn,
    model: HubModel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[HubStandIn], object],
    message: str,
    signed_in: bool,
) -> None:
    if signed_in:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
    harm(hub)
    if model.private and signed_in:
        open_checkpoint(NAME)
        return
    told: list[str] = []
    with pytest.raises(CheckpointError, match=message.format(NAME)) as caught:
        open_checkpoint(NAME, on_step=told.append)
    assert "\n" not in str(caught.value)
    assert TOKEN not in f"{caught.value} {told} {caplog.text}"
    assert "model.safetensors" not in hub.got()


@pytest.mark.parametrize(
    ("token", "message"),
    [("hf_wrong", "does not take your token; sign in again: hf auth login"), ("hf_ü", "a character that no token has")],
)
def test_a_wrong_token_is_told_without_it(
    hub: HubStandIn, model: HubModel, monkeypatch: pytest.MonkeyPatch, token: str, message: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(NAME)
    assert "hf_" not in str(caught.value)


def test_a_token_is_sent_to_the_hub_alone(
    hub: HubStandIn, model: HubModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model.private = True
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    open_checkpoint(NAME, on_step=told.append)
    assert {one.authorization for one in hub.asked} == {f"Bearer {TOKEN}"}
    assert TOKEN not in f"{told} {caplog.text}"


def test_a_connection_that_breaks_keeps_what_is_whole(
    hub: HubStandIn, model: HubModel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(file_download, "time", SimpleNamespace(sleep=lambda _: None))
    hub.cut = True
    with pytest.raises(CheckpointError, match=f"^the download of {NAME} broke off: .*run the command again$"):
        open_checkpoint(NAME)
    assert capfd.readouterr() == ("", "")
    hub.cut = False
    hub.asked.clear()
    open_checkpoint(NAME).load()
    assert hub.got() == ["model.safetensors"]


def test_a_disk_that_is_too_small_is_told_before_and_one_that_fills_up_after(
    hub: HubStandIn, model: HubModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(psutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))
        with pytest.raises(CheckpointError, match=r"takes 0\.3 MB, and .* has 5\.0 MB free; make room, or set HF_HOME"):
            open_checkpoint(NAME)
    assert hub.got() == ["config.json"]

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_download, "http_get", full)
    with pytest.raises(CheckpointError, match=r"/home/hub cannot be read or written: the disk is full$"):
        open_checkpoint(NAME)


def test_where_the_hub_cannot_be_asked_its_cache_is_taken(
    hub: HubStandIn, model: HubModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = {
        "offline": "HF_HUB_OFFLINE is set",
        "gone": r"127\.0\.0\.1 cannot be reached \(connection refused\)",
        "silent": r"127\.0\.0\.1 cannot be reached \(.*too long\)",
    }

    def cannot_be_asked(name: str) -> pytest.MonkeyPatch:
        patch = pytest.MonkeyPatch()
        if name == "offline":
            patch.setattr(constants, "HF_HUB_OFFLINE", True)
        elif name == "silent":
            patch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
            patch.setattr(hub, "silent_seconds", 0.3)
        else:
            patch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        return patch

    for name, words in why.items():
        patch = cannot_be_asked(name)
        with pytest.raises(CheckpointError, match=f"^no such folder: {NAME}, and {words}; .* does not hold it either"):
            open_checkpoint(NAME)
        patch.undo()
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(CheckpointError, match="no model on the hub can be called that"):
            open_checkpoint("allenai/Molmo--2")
    expected = open_checkpoint(NAME)
    for name in why:
        patch, told = cannot_be_asked(name), list[str]()
        again = open_checkpoint(f"{NAME}@main", on_step=told.append)
        assert (again.path, again.name) == (expected.path, expected.name)
        assert told[-1].endswith(f"taking {NAME}@main from {constants.HF_HUB_CACHE}")
        patch.undo()


def test_a_folder_here_wins_and_so_does_a_path_to_one(hub: HubStandIn, model: HubModel, micro_checkpoint: Path) -> None:
    shutil.copytree(micro_checkpoint, NAME)
    assert open_checkpoint(NAME).path == Path(NAME)
    with pytest.raises(CheckpointError, match=r"no such folder: allenai/Molmo; .*meant: https://huggingface\.co/all"):
        open_checkpoint("allenai/Molmo")
    assert hub.asked == []
    assert open_checkpoint(f"https://huggingface.co/{NAME}").name == f"{NAME}@{COMMIT}"
    hub.asked.clear()
    for mistyped in ("./runs/a", "runs/a/"):
        with pytest.raises(CheckpointError, match=r"^no such folder: /.*/runs/a$"):
            open_checkpoint(mistyped)
        done = CliRunner().invoke(app, ["build", mistyped, "--out", "b"])
        assert isinstance(done.exception, CheckpointError)
        assert "/runs/a" in str(done.exception)
    with pytest.raises(
        CheckpointError, match=r"an address of the Hugging Face hub, and none of a model there: OWNER/NAME"
    ):
        open_checkpoint("https://huggingface.co/datasets/allenai/clips")
    with pytest.raises(CheckpointError, match=r"step1 is a folder in allenai/Molmo2@main, .*--include 'step1/\*'"):
        open_checkpoint("https://huggingface.co/allenai/Molmo2/tree/main/step1")
    assert hub.asked == []
    for name in ("Molmo2", "../allenai/Molmo2", "a/b/c", "allenai//"):
        with pytest.raises(CheckpointError, match="no such folder"):
            open_checkpoint(f"not-{name}")


def test_what_is_wrong_is_said_of_the_name_and_not_of_the_cache(
    hub: HubStandIn, model: HubModel, tmp_path: Path
) -> None:
    """Before anything but small files is downloaded, and after."""
    (tmp_path / "videos").mkdir()
    request = ScorerRequest(checkpoint=Path(NAME), videos=tmp_path / "videos", out=tmp_path / "out")
    with pytest.raises(CheckpointError, match=f"^{NAME} has a trained scorer already"):
        train_scorer(request)
    harms: list[tuple[str, Callable[[HubModel], object], str]] = [
        ("allenai/Bare", lambda one: lose(one, "tokenizer.json"), r" holds no tokenizer\.json"),
        ("allenai/Other", lambda one: put(one, "config.json", '{"model_type": "llava"}'), r"/config\.json: model_type"),
    ]
    for name, harm, said in harms:
        hub.models[name] = HubModel(Path(shutil.copytree(model.folder, tmp_path / name)))
        harm(hub.models[name])
        with pytest.raises(CheckpointError, match=f"^{name}{said}"):
            open_checkpoint(name)


def test_without_huggingface_hub_the_command_that_installs_it_is_named(
    hub: HubStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        return None if name == "huggingface_hub" else ModuleSpec(name, None)

    monkeypatch.setattr("stts_export.extras.find_spec", find_spec)
    with pytest.raises(MissingExtraError, match=rf"^no such folder: {NAME}; .*: pip install 'stts-export\[hub\]'$"):
        open_checkpoint(NAME)


def test_how_far_a_download_is_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [100.0], list[str]()
    monkeypatch.setattr(clock, "now", lambda: now[0])
    progress = Progress("downloading m", 10_000_000_000, told.append)
    with progress.bar(total=5, unit="B") as bar:
        for seconds in (4, 11, 12, 22):
            now[0] = 100.0 + seconds
            bar.update(1_100_000_000)
    assert told == [
        "downloading m: 2.20 of 10.00 GB, 200.0 MB/s, about 39 s left",
        "downloading m: 4.40 of 10.00 GB, 200.0 MB/s, about 28 s left",
    ]


def test_what_an_earlier_try_left_counts_as_done_and_not_as_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [100.0], list[str]()
    monkeypatch.setattr(clock, "now", lambda: now[0])
    progress = Progress("downloading m", 10_000_000_000, told.append)
    with progress.bar(total=10_000_000_000, initial=7_000_000_000, unit="B") as bar:
        now[0] = 110.0
        bar.update(1_000_000_000)
    assert told == ["downloading m: 8.00 of 10.00 GB, 100.0 MB/s, about 20 s left"]


def test_a_bundle_says_which_commit_it_is_of(hub: HubStandIn, model: HubModel, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(NAME)
    request = BuildRequest(Path(NAME), tmp_path / "b", [3], [1.0], ["clip"])
    plan = plan_bundle(request, checkpoint)
    assert plan.command.startswith(f"stts-export build {NAME}@{COMMIT} --out b ")


def test_a_place_that_is_taken_is_told_before_the_hub_is_asked(hub: HubStandIn, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match="taken exists already"):
        stts_export.build(NAME, tmp_path / "taken")
    with pytest.raises(UserError, match="taken exists already"):
        import_checkpoint(Path(NAME), tmp_path / "taken")
    assert hub.asked == []


def test_a_build_that_is_impossible_is_refused_before_weights_are_downloaded(
    hub: HubStandIn, model: HubModel, plain_checkpoint: Path, tmp_path: Path
) -> None:
    hub.models["allenai/Plain"] = HubModel(plain_checkpoint)
    with pytest.raises(CheckpointError, match=r"has no token scorer .*pass --scorer change"):
        stts_export.build("allenai/Plain", tmp_path / "b", frames=3)
    for options in ({"frames": 3, "keep": 0.1}, {"frames": 3, "scorer": "change", "prune_at": 4}):
        with pytest.raises(UserError):
            stts_export.build(NAME, tmp_path / "b", **options)
    assert sorted(hub.got()) == sorted([*SMALL, *SMALL])
    assert not (tmp_path / "b").exists()


def test_an_adapter_that_cannot_be_merged_is_refused_before_the_hub_is_asked(
    hub: HubStandIn, model: HubModel, tmp_path: Path
) -> None:
    (tmp_path / "adapter").mkdir()
    with pytest.raises(CheckpointError, match="is not an adapter"):
        import_checkpoint(Path(NAME), tmp_path / "out", adapter=tmp_path / "adapter")
    assert hub.asked == []


def test_an_adapter_s_base_is_known_by_its_name_on_the_hub(hub: HubStandIn, model: HubModel, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", model.folder)
    for base, noted in ((NAME, False), ("allenai/Molmo2-8B", True)):
        config = json.loads((adapter / "adapter_config.json").read_text())
        (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base}))
        notes = import_checkpoint(Path(NAME), tmp_path / "out", adapter=adapter, replace=True)
        about_base = [note for note in notes if "the adapter was trained on" in note]
        assert (
            about_base
            == [f"the adapter was trained on {base}, and only shapes say that {NAME}@{COMMIT} is the same model"]
            * noted
        )


def test_a_scorer_is_not_trained_before_what_is_downloaded_is_told_and_looked_at(
    hub: HubStandIn, model: HubModel, tmp_path: Path
) -> None:
    (tmp_path / "videos").mkdir()
    told: list[str] = []

    def tell(step: str, done: int = 0, of: int = 0) -> None:
        told.append(step)

    with pytest.raises(CheckpointError, match="has a trained scorer already"):
        train_scorer(ScorerRequest(checkpoint=Path(NAME), videos=tmp_path / "videos", out=tmp_path / "out"), tell)
    assert "model.safetensors" not in hub.got()
    assert [line for line in told if "of its files will be downloaded" in line]


def test_of_another_folder_s_tokenizer_none_is_downloaded(
    hub: HubStandIn, model: HubModel, micro_checkpoint: Path
) -> None:
    open_checkpoint(NAME, tokenizer=micro_checkpoint)
    assert hub.got() == ["config.json", "video_preprocessor_config.json", "model.safetensors"]


def test_the_program_asks_the_hub_that_the_environment_names_and_prints_no_token(
    hub: HubStandIn, model: HubModel, tmp_path: Path
) -> None:
    model.private = True
    asked = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN, "HF_DEBUG": "1"}
    command = [str(BIN / "stts-export"), "import", NAME, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{NAME} at {COMMIT[:12]}: 0.3 MB in 4 of its files will be downloaded to" in done.stdout
    assert TOKEN not in done.stdout
    assert (tmp_path / "home" / "hub" / "models--allenai--Molmo2-Tiny").is_dir()
    assert open_checkpoint(tmp_path / "out").config == open_checkpoint(model.folder).config
