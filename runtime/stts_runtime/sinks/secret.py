"""Passwords, tokens and keys: where they are kept, which is not the configuration file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import model_validator

from stts_runtime.errors import UserError
from stts_runtime.places import check_file, shown, unusable
from stts_runtime.settings import Settings


class Secret(Settings):
    """`{env: NAME}` or `{file: PATH}`, read when it is needed."""

    env: str | None = None
    """Environment variable that holds it."""
    file: Path | None = None
    """File that holds it."""

    @model_validator(mode="before")
    @classmethod
    def _not_in_clear(cls, given: Any) -> Any:
        if not isinstance(given, dict) or len(given) != 1:
            raise ValueError("a secret is {env: NAME} or {file: PATH}, so that it does not stand in this file")
        return given

    def read(self) -> str:
        """Raises `UserError` if there is none, or if it is empty; the text never holds the secret."""
        value = os.environ.get(self.env) if self.env else self._from_file()
        if not value:
            raise UserError(f"the secret in {self._place} is missing or empty")
        return value

    @property
    def _place(self) -> str:
        return f"the environment variable {self.env}" if self.env else shown(self.file or "")

    def _from_file(self) -> str:
        assert self.file is not None
        try:
            check_file(self.file, wanted="a file that holds the secret")
            return self.file.read_text(encoding="utf-8-sig").strip()
        except UserError as error:
            raise UserError(f"a secret: {error}") from None
        except OSError as error:
            raise UserError(f"a secret: {unusable(self.file, error)}") from None
        except UnicodeDecodeError:
            raise UserError(f"the secret in {self._place} cannot be read: it is not UTF-8 text") from None
