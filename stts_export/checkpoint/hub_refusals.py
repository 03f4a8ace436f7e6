"""What the Hugging Face hub, its library or the way to it refused, as one sentence.

The library's own words are not repeated: they have many lines, and may hold addresses and headers that are secret.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from stts_export.errors import CheckpointError
from stts_runtime.hub_id import HubId
from stts_runtime.places import DISK_ERRORS, reason

_DENIED = (errno.EACCES, errno.EPERM)
_SIGN_IN = "hf auth login"
_TRANSPORT: type[Exception] = HfHubHTTPError.__mro__[1]
"""The base of all that the library's client of HTTP raises; which client that is depends on its version."""
_NO_HUB = (FileMetadataError, ValueError, TypeError, LookupError)
"""Answers that are none of a hub."""
_RAISED: tuple[type[Exception], ...] = (_TRANSPORT, EntryNotFoundError, OSError, RuntimeError, *_NO_HUB)
"""By the library, and by hf_xet under it."""


class UnreachableError(CheckpointError):
    """The hub did not answer, or no longer."""


def hub_host() -> str:
    """Host of the hub; the rest of its address may be secret."""
    return urlsplit(constants.ENDPOINT).hostname or "the hub"


@contextmanager
def refusals(wanted: HubId) -> Iterator[None]:
    """Raises `UnreachableError`, or another `CheckpointError`, for all that a call of the library raises."""
    try:
        yield
    except _RAISED as error:
        raise _ours(error, wanted) from None


def _ours(error: BaseException, wanted: HubId) -> CheckpointError:
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        return _ours(error.__cause__, wanted)
    said = _answer(error, wanted) if isinstance(error, HfHubHTTPError) else _here(error, wanted)
    return CheckpointError(said) if said else UnreachableError(f"{hub_host()} cannot be reached ({_why(error)})")


def _here(error: BaseException, wanted: HubId) -> str | None:
    """For what is wrong on this side, or with a server that answered instead of the hub; None: the connection."""
    if isinstance(error, HFValidationError):
        return f"no such folder: {wanted}, and no model on the hub can be called that"
    if isinstance(error, UnicodeEncodeError):
        return f"the token for {hub_host()} holds a character that no token has; sign in again: {_SIGN_IN}"
    if isinstance(error, OSError) and error.errno in (*DISK_ERRORS, *_DENIED):
        return f"{error.filename or constants.HF_HUB_CACHE} cannot be read or written: {reason(error)}"
    return (
        f"{hub_host()} does not answer as a hub does; is HF_ENDPOINT that of one?"
        if isinstance(error, _NO_HUB)
        else None
    )


def _answer(error: HfHubHTTPError, wanted: HubId) -> str:
    """For an answer that is a refusal."""
    if isinstance(error, GatedRepoError):
        page = f"{hub_host()}/{wanted.name}"
        return f"{wanted} is gated: accept its conditions on its page, {page}, and sign in here: {_SIGN_IN}"
    if isinstance(error, RevisionNotFoundError):
        return f"{wanted.name} has no revision {wanted.revision} on the hub; name a branch, a tag or a commit"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"no such folder: {wanted}, and {hub_host()} has no such model that you may read: "
            f"check the spelling; for a private one sign in first: {_SIGN_IN}"
        )
    status = error.response.status_code
    said = {
        401: f"does not take your token; sign in again: {_SIGN_IN}",
        403: "does not let you read it: either your token lacks that permission, or the owner has not given you access",
        429: f"was asked too often from here; wait, or sign in: {_SIGN_IN}",
    }.get(status, f"answered with status {status}; try again later")
    return f"{wanted} cannot be downloaded: {hub_host()} {said}"


def _why(error: BaseException) -> str:
    """In words of the system, where it said any."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror.lower()
        seen = seen.__cause__ or seen.__context__
    return "it took too long" if "Timeout" in type(error).__name__ else "the connection broke"
