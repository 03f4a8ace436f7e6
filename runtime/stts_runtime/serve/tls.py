"""The certificate and key that HTTPS is spoken with, looked at before anything listens."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NoReturn

from stts_runtime.errors import UserError
from stts_runtime.places import check_file, unusable


def check_certificate(certificate: Path, key: Path) -> None:
    """Raises `UserError` with what is wrong: a file that holds something else, or two that do not go together."""
    _check_holds(certificate, "CERTIFICATE-----", "a certificate in PEM (-----BEGIN CERTIFICATE-----)")
    _check_holds(key, "PRIVATE KEY-----", "a private key in PEM (-----BEGIN PRIVATE KEY-----)")

    def refuse() -> NoReturn:
        raise UserError(f"{key} is encrypted: openssl pkey -in {key.name} -out OTHER writes it without a passphrase")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UserError(f"{key} is not the key of {certificate}: it belongs to another certificate") from None
        raise UserError(f"{certificate} and {key} cannot be used: {error.reason or 'one of them is damaged'}") from None


def _check_holds(path: Path, sign: str, what: str) -> None:
    check_file(path, wanted=what)
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise UserError(unusable(path, error)) from None
    if sign not in text:
        raise UserError(f"{path} should hold {what}")
