"""A name on the Hugging Face hub -> a folder in huggingface_hub's own cache, with what we read of it and no more.

The one module that calls huggingface_hub. Where its tokens, cache and address are is that library's affair, with its
own variables (HF_TOKEN, HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE); no token passes through here.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
from huggingface_hub import DryRunFileInfo, HfApi, constants, hf_hub_download, try_to_load_from_cache

from stts_export.checkpoint.hub_files import Repository
from stts_export.checkpoint.hub_progress import Progress
from stts_export.checkpoint.hub_refusals import UnreachableError, hub_host, refusals
from stts_export.checkpoint.layouts import HUGGING_FACE, TRAINING
from stts_export.checkpoint.tokenizer import TOKENIZER
from stts_export.errors import CheckpointError
from stts_runtime.hub_id import HubId
from stts_runtime.places import shown
from stts_runtime.telemetry import HUB_VARIABLE
from stts_runtime.tell import Tell, tell_nobody

_US = "stts-export"
_VERSION = version(_US)
"""What the hub is told of who asks."""
_SPARE_BYTES = 100_000_000
"""Left free on the disk."""


@dataclass(frozen=True)
class Downloaded:
    """A snapshot in the cache."""

    folder: Path
    commit: str


def download_checkpoint(
    wanted: HubId, check: Callable[[Path], object], tell: Tell, with_tokenizer: bool = True
) -> Downloaded:
    """Downloads what is not in the cache yet; `check` gets the folder once all but the weights is there.

    Raises `CheckpointError` if the hub does not have it for us, or it is no checkpoint, or the disk is too small.
    """
    with _library():
        try:
            found = _looked_up(wanted, tell)
        except UnreachableError as error:
            return _cached(wanted, (HUGGING_FACE, TRAINING), error, tell)
        snapshot = _Snapshot(wanted, found)
        # Small, and they say which files the weights are in: only then can be told how much there is.
        folder = snapshot.fetch([found.config, *found.listing])
        description, weights = found.description(with_tokenizer), found.weights(folder)
        snapshot.announce([*description, *weights], tell)
        snapshot.fetch(description)
        check(folder)
        snapshot.fetch(weights)
        snapshot.remember(found.config)
        return Downloaded(folder, found.commit)


def download_tokenizer(wanted: HubId, tell: Tell) -> Downloaded:
    """The same for the tokenizer alone."""
    with _library():
        try:
            found = _looked_up(wanted, tell)
        except UnreachableError as error:
            return _cached(wanted, (TOKENIZER,), error, tell)
        snapshot = _Snapshot(wanted, found)
        snapshot.announce(found.tokenizer, tell)
        folder = snapshot.fetch(found.tokenizer)
        snapshot.remember(TOKENIZER)
        return Downloaded(folder, found.commit)


@contextmanager
def _library() -> Iterator[None]:
    """huggingface_hub keeps still: what goes wrong is raised, and its warnings may hold addresses that are secret."""
    if os.environ.get(HUB_VARIABLE) == "1":
        # Who imported it before us had it read the variable too early.
        constants.HF_HUB_DISABLE_TELEMETRY = True
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _looked_up(wanted: HubId, tell: Tell) -> Repository:
    """Raises `UnreachableError` where there is no answer."""
    if constants.HF_HUB_OFFLINE:
        raise UnreachableError("HF_HUB_OFFLINE is set")
    tell(f"looking for {wanted} on {hub_host()}")
    with refusals(wanted):
        hub = HfApi(library_name=_US, library_version=_VERSION)
        # Without a limit of ours this one call has none.
        info = hub.model_info(wanted.name, revision=wanted.revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    if info.sha is None or info.siblings is None:
        raise CheckpointError(f"{hub_host()} does not say which files {wanted} has; is HF_ENDPOINT that of a hub?")
    return Repository(wanted.name, info.sha, frozenset(one.rfilename for one in info.siblings))


def _cached(wanted: HubId, names: Sequence[str], why: UnreachableError, tell: Tell) -> Downloaded:
    """What the cache has, where the hub cannot be asked.

    Raises `CheckpointError` with `why` if it has none of `names`.
    """
    for name in names:
        with refusals(wanted):
            found = try_to_load_from_cache(wanted.name, name, revision=wanted.revision)
        if isinstance(found, str):
            tell(f"{why}: taking {wanted} from {constants.HF_HUB_CACHE}")
            return Downloaded(Path(found).parent, Path(found).parent.name)
    raise CheckpointError(
        f"no such folder: {wanted}, and {why}; {constants.HF_HUB_CACHE} does not hold it either: "
        f"on a machine that may ask the hub, hf download {wanted.name} --local-dir FOLDER, and copy that here"
    )


class _Snapshot:
    """The files of a repository at one commit, in the cache or on their way there."""

    def __init__(self, wanted: HubId, found: Repository) -> None:
        self._wanted, self._found = wanted, found
        self._progress = Progress(wanted.name, 0, tell_nobody)

    def announce(self, names: Sequence[str], tell: Tell) -> None:
        """Says what will be downloaded. Raises `CheckpointError` if the disk has no room for it."""
        missing = [one for one in map(self._planned, names) if one.will_download]
        at = f"{self._wanted.name} at {self._found.commit[:12]}"
        if not missing:
            tell(f"{at} is in {constants.HF_HUB_CACHE} already")
            return
        size = sum(one.file_size or 0 for one in missing)
        tell(f"{at}: {_size(size)} in {len(missing)} of its files will be downloaded to {constants.HF_HUB_CACHE}")
        _check_disk(self._wanted.name, size)
        self._progress = Progress(f"downloading {self._wanted.name}", size, tell)

    def fetch(self, names: Sequence[str]) -> Path:
        """The snapshot's folder, once the files are in it, the first of which is at its top.

        One after the other, so that those which are whole when the connection breaks are not asked for again.
        """
        paths = [self._file(name, self._found.commit) for name in names]
        return paths[0].parent

    def remember(self, name: str) -> None:
        """Has the cache know which commit the revision is, for when the hub cannot be asked."""
        self._file(name, self._wanted.revision)

    def _planned(self, name: str) -> DryRunFileInfo:
        """Its size, and whether the cache has it, be it of another commit."""
        with refusals(self._wanted):
            return hf_hub_download(
                self._wanted.name,
                name,
                revision=self._found.commit,
                library_name=_US,
                library_version=_VERSION,
                dry_run=True,
            )

    def _file(self, name: str, revision: str | None) -> Path:
        try:
            with refusals(self._wanted):
                path = hf_hub_download(
                    self._wanted.name,
                    name,
                    revision=revision,
                    library_name=_US,
                    library_version=_VERSION,
                    tqdm_class=self._progress.bar,
                )
        except UnreachableError as error:
            raise CheckpointError(
                f"the download of {self._wanted} broke off: {error}; whole files are kept: run the command again"
            ) from None
        return Path(path)


def _check_disk(name: str, size_bytes: int) -> None:
    cache = Path(constants.HF_HUB_CACHE)
    free = psutil.disk_usage(str(next(place for place in (cache, *cache.parents) if place.exists()))).free
    if size_bytes + _SPARE_BYTES > free:
        raise CheckpointError(
            f"{name} takes {_size(size_bytes)}, and {shown(cache)} has {_size(free)} free; "
            "make room, or set HF_HOME to a folder on a larger disk"
        )


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e8 else f"{size_bytes / 1e6:.1f} MB"
