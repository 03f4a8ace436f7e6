"""Records by HTTP POST. Texts of errors are our own: those of `requests` hold the address with all that is in it."""

from __future__ import annotations

import hashlib
import hmac
import ssl
from contextlib import suppress
from email.utils import parsedate_to_datetime

from stts_runtime import clock
from stts_runtime.extras import stream_extra
from stts_runtime.sinks.config import WebhookConfig
from stts_runtime.sinks.spooled import AwayError, RefusedError

with stream_extra("requests", "webhooks"):
    import requests
    import requests.auth
    import requests.utils
    import urllib3

# Said once, in our words: see `_by_our_clock`.
urllib3.disable_warnings(urllib3.exceptions.SystemTimeWarning)

_MOST_OF_A_REPLY = 65536
_CONNECT_SECONDS = 5.0
_COME_BACK = frozenset({408, 425, 429})


class Webhook:
    """A 2xx is a receipt. 4xx refuses the record, but for 408, 425 and 429; all else means to try again later.

    `Idempotency-Key` is a hash of the body: the same record, sent twice, has the same.
    """

    def __init__(self, config: WebhookConfig) -> None:
        """Reads the secrets; raises `UserError` if one is missing."""
        self._url = config.to
        self._timeout = (min(_CONNECT_SECONDS, config.timeout), config.timeout)
        # Given with each request: of a session's, $REQUESTS_CA_BUNDLE would win.
        self._verify = str(config.ca_file) if config.ca_file else True
        self._key = config.signing_key.read().encode() if config.signing_key else None
        self._session = requests.Session()
        self._session.headers["Content-Type"] = "application/json"
        self._session.auth = _Credentials(config.token.read() if config.token else None)

    def deliver(self, body: bytes) -> None:
        try:
            with self._session.post(
                self._url,
                data=body,
                headers=self._headers(body),
                timeout=self._timeout,
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            ) as reply:
                _judge(reply)
                # Only a connection whose reply was read can be used again.
                with suppress(urllib3.exceptions.HTTPError, OSError):
                    reply.raw.read(_MOST_OF_A_REPLY)
        except (requests.RequestException, OSError, ValueError) as error:
            raise AwayError(_reason(error)) from None

    def tend(self) -> None:
        """Nothing to keep up between requests."""

    def close(self) -> None:
        self._session.close()

    def _headers(self, body: bytes) -> dict[str, str]:
        headers = {"Idempotency-Key": hashlib.sha256(body).hexdigest()[:32]}
        if self._key:
            # The first says who sent it; the second, which is another at each attempt, also when.
            sent = str(int(clock.wall().timestamp()))
            headers["X-Stts-Signature"] = self._signature(body)
            headers["X-Stts-Timestamp"] = sent
            headers["X-Stts-Signature-V2"] = self._signature(sent.encode() + b"." + body)
        return headers

    def _signature(self, signed: bytes) -> str:
        assert self._key is not None
        return "sha256=" + hmac.new(self._key, signed, "sha256").hexdigest()


class _Credentials(requests.auth.AuthBase):
    """The token, or the user and password of the address, or none.

    Without an `auth` of its own, `requests` sends what ~/.netrc has for the host, also in place of a header. Proxies
    and certificates of the environment are the operator's choice, and stay.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        user, password = requests.utils.get_auth_from_url(request.url or "")
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        elif user or password:
            requests.auth.HTTPBasicAuth(user, password)(request)
        return request


def _judge(reply: requests.Response) -> None:
    code = reply.status_code
    if 200 <= code < 300:
        return
    if 400 <= code < 500 and code not in _COME_BACK:
        raise RefusedError(f"the receiver refuses with HTTP {code}")
    hint = ", a redirection; give the final address" if 300 <= code < 400 else ""
    raise AwayError(
        f"the receiver answers HTTP {code}{hint}", _asked(reply.headers.get("Retry-After"), reply.headers.get("Date"))
    )


def _asked(retry_after: str | None, now: str | None) -> float | None:
    """Seconds, from a number of them or from a date, which is one of the receiver's clock: `now` is what that shows."""
    if not retry_after:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        shown = parsedate_to_datetime(now) if now else clock.wall()
        return max(0.0, (parsedate_to_datetime(retry_after) - shown).total_seconds())
    except (ValueError, TypeError):
        return None


def _reason(error: BaseException) -> str:
    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    cause = _cause(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}{_by_our_clock(cause.verify_message)}"
    if isinstance(cause, OSError) and cause.strerror:
        return f"no connection: {cause.strerror}"
    # Of the proxies and certificates that the environment names; an address may hold a password.
    words = str(cause)
    return f"no connection: {words}" if words and "@" not in words else f"no connection ({type(error).__name__})"


def _by_our_clock(said: str) -> str:
    """Machines without a battery begin in 1970."""
    return f" (this machine's clock shows {clock.wall():%Y-%m-%d})" if "not yet valid" in said else ""


def _cause(error: BaseException) -> BaseException:
    """The innermost error: `requests` and urllib3 wrap it several times, in `args` and in `reason`."""
    inner = getattr(error, "reason", None)
    if not isinstance(inner, BaseException):
        inner = next((one for one in error.args if isinstance(one, BaseException)), error.__context__)
    return error if inner is None or (isinstance(error, OSError) and error.strerror) else _cause(inner)
