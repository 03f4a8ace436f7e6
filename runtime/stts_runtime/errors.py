"""The errors of the runtime, all under `SttsError`. A command line shows their text as one line on stderr.

SttsError                 something went wrong on our side: exit code 1
├── EngineError           an engine or its library failed
├── SinkError             a record that cannot be kept
└── UserError             something the user can put right: exit code 2
    ├── ArchiveError      a memory of what was seen that cannot be read
    ├── BundleError       not a bundle, damaged, or made for another runtime
    ├── SourceError       a video that cannot be opened, decoded or sampled as asked
    ├── PromptError       a question that cannot be asked
    │   └── ContextError  a video, question or conversation that is too long
    └── MissingExtraError an optional part that is not installed
"""

from __future__ import annotations


class SttsError(Exception):
    """Base of all errors that this product raises on purpose."""

    exit_code = 1


class EngineError(SttsError):
    """An engine, or the library under it, failed."""


class SinkError(SttsError):
    """A record cannot be kept: a full disk, say."""


class UserError(SttsError):
    """The input is at fault; the message says what was got, what is allowed and what to do."""

    exit_code = 2


class ArchiveError(UserError):
    """An archive that is not there, is none, is damaged, or may not be read."""


class BundleError(UserError):
    """A folder that is not a bundle, is damaged, or needs another runtime."""


class SourceError(UserError):
    """A video that cannot be opened, decoded, or sampled as asked."""


class PromptError(UserError):
    """A question that is empty, holds reserved marks, or is too long for the context."""


class ContextError(PromptError):
    """More tokens than the language model's context holds."""


class MissingExtraError(UserError):
    """An optional part is not installed; the message gives the pip command."""
