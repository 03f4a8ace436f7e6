"""Why a source is not there. It never reaches a user as an error: a machine without a meter is an ordinary one."""

from __future__ import annotations


class NoSourceError(Exception):
    """The message is one clause."""
