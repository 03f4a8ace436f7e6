"""Behind a proxy, below a path, over TLS: the page and the API as they are without."""

from __future__ import annotations

import ipaddress
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
import requests
from playwright.sync_api import expect, sync_playwright
from starlette.responses import PlainTextResponse

from stts_runtime.bundle import Bundle
from stts_runtime.errors import UserError
from stts_runtime.serve import connections
from stts_runtime.serve.forwarded import from_outside
from stts_runtime.serve.server import HttpServer, bound
from stts_runtime.serve.settings import ServerSettings
from stts_runtime.serve.tls import check_certificate
from stts_runtime.stream.config_fields import Listen
from tests.runtime.serve.conftest import CHROMIUM
from tests.runtime.serve.test_parts import asked
from tests.support.nginx import documented, nginx
from tests.support.programs import assert_refused, run
from tests.support.served import Served, served

TOKEN = "a-token-that-nobody-guesses"
BASE = "/site/cameras"


# --- Whose headers are believed ---


def outside(peer: str | None, *trusted: str, **headers: str) -> tuple[str, str]:
    raw = [(f"x-forwarded-{name}".encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "client": peer and (peer, 5), "headers": [(b"host", b"inside:8080"), *raw]}
    found = from_outside(scope, [ipaddress.ip_network(one) for one in trusted])
    return found.client, found.host


SENT = {"for": "203.0.113.9, 10.0.0.7", "host": "evil.example, cameras.example", "proto": "https"}


def test_forwarded_headers_are_believed_of_trusted_addresses_alone() -> None:
    direct = "10.0.0.8", "inside:8080"
    assert outside("10.0.0.8", **SENT) == direct
    assert outside("10.0.0.8", "10.0.1.0/24", "::1/128", **SENT) == direct
    assert outside("10.0.0.8", "10.0.0.0/24", **SENT) == ("203.0.113.9", "cameras.example")
    assert outside("::ffff:10.0.0.8", "10.0.0.0/24", **SENT)[0] == "203.0.113.9"
    assert outside(None, "10.0.0.0/8", **SENT)[0] == "", "a peer without an address is nobody's proxy"


@pytest.mark.parametrize(
    ("steps", "client"),
    [
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("unknown", "unknown"),
        ("203.0.113.9, unknown, 10.0.0.2", "unknown"),
        (" , ", "10.0.0.8"),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(steps: str, client: str) -> None:
    assert outside("10.0.0.8", "10.0.0.0/24", **{"for": steps})[0] == client


HOST = {"Host": "127.0.0.1:8080"}
TRUSTING = ServerSettings(trust_proxy=(ipaddress.ip_network("127.0.0.1"),), base_path=BASE)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "localhost:80"}, 200),
        ({"X-Forwarded-Host": "cameras.example"}, 403),
        ({"X-Forwarded-For": "203.0.113.9"}, 403),
        ({"X-Forwarded-Host": "localhost:80", "Origin": "http://localhost:80"}, 200),
        ({"Origin": "http://cameras.example", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"X-Forwarded-For": "localhost"}, 403),
        ({"X-Forwarded-For": ":80"}, 403),
        ({"Forwarded": "for=203.0.113.9"}, 403),
        ({"Host": "evil.example", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "localhost"}, 403),
        ({"Host": "["}, 403),
        ({"X-Forwarded-Host": "["}, 403),
        ({"Origin": "http://["}, 403),
    ],
)
def test_a_proxy_lets_nobody_in_who_needs_a_token(headers: dict[str, str], status: int) -> None:
    assert asked(TRUSTING, None, {**HOST, **headers}, "POST", client="127.0.0.1")[0] == status
    without = 403 if headers.get("Sec-Fetch-Site") == "cross-site" else 401
    assert asked(TRUSTING, TOKEN, {**HOST, **headers}, "POST", client="127.0.0.1")[0] == without


def test_a_page_of_another_site_may_not_write_through_a_proxy_that_adds_the_token() -> None:
    shown = {**HOST, "Authorization": f"Bearer {TOKEN}"}
    for site, status in {"same-origin": 200, "none": 200, "cross-site": 403, "same-site": 403}.items():
        assert asked(TRUSTING, TOKEN, {**shown, "Sec-Fetch-Site": site}, "POST")[0] == status
    # Over plain HTTP browsers say nothing of the kind, and this proxy does not pass the host on.
    assert asked(TRUSTING, TOKEN, {**shown, "Origin": "http://cameras.example"}, "POST")[0] == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "Via"])
def test_nor_does_one_that_is_not_trusted(header: str) -> None:
    """nginx on this machine, as its examples are, sends no other Host than ours."""
    assert asked(ServerSettings(), None, HOST, client="127.0.0.1")[0] == 200
    assert asked(ServerSettings(), None, {**HOST, header: "203.0.113.9"}, client="127.0.0.1")[0] == 403


@pytest.mark.parametrize("path", ["/api/state", f"{BASE}/api/state", f"{BASE}//api/state", f"{BASE}/../api/state"])
def test_below_the_base_path_the_token_is_asked_for_as_without(path: str) -> None:
    assert asked(TRUSTING, TOKEN, HOST, path=path)[0] == 401
    assert asked(TRUSTING, TOKEN, {**HOST, "Authorization": f"Bearer {TOKEN}"}, path=path)[0] == 200
    assert asked(TRUSTING, TOKEN, HOST, path=f"{BASE}/page.js")[0] == 200


def test_the_base_path_without_its_end_leads_to_the_page() -> None:
    status, headers = asked(TRUSTING, TOKEN, HOST, path=BASE)
    assert (status, headers["location"]) == (308, f"{BASE}/")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base_path": "cameras"}, "a path of letters, digits"),
        ({"base_path": "/v1"}, "another path than the server's own"),
        ({"base_path": "/a/../b"}, "a path of letters, digits"),
        ({"base_path": "//evil.example"}, "a path of letters, digits"),
        ({"trust_proxy": ["proxy.example"]}, "addresses or networks of proxies"),
        ({"trust_proxy": 5}, "addresses or networks of proxies"),
        ({"tls_cert": __file__}, "tls_cert needs tls_key too"),
        ({"tls_key": __file__}, "tls_key needs tls_cert too"),
    ],
)
def test_settings_that_cannot_be_meant_are_told(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ServerSettings(**fields)
    assert ServerSettings(base_path="/a/").base_path == "/a"
    assert ServerSettings(base_path="/").base_path == ""


# --- nginx ---


@pytest.fixture(scope="module")
def server(micro_bundle: Bundle, clip: Path) -> Iterator[Served]:
    options = ["--trust-proxy", "127.0.0.1", "--base-path", BASE, "--access-log"]
    token = {"STTS_TOKEN": TOKEN}
    with served(micro_bundle.folder, f"loop:{clip}", "--ask", "What?", *options, environment=token) as one:
        yield one


@pytest.fixture(scope="module")
def proxy(server: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As documented: below /vlm/ with the path taken away, below the base path with it left."""
    address = server.address.removesuffix(BASE)
    blocks = documented("nginx-vlm.conf") + documented("nginx-cameras.conf").replace("/cameras/", f"{BASE}/")
    locations = blocks.replace("http://127.0.0.1:8080", address)
    with nginx(tmp_path_factory.mktemp("nginx"), locations) as one:
        yield one


@pytest.mark.onnxruntime
@pytest.mark.parametrize("below", ["/vlm", BASE])
def test_through_nginx_openais_client_gets_words_as_they_come(proxy: str, below: str, clip: Path) -> None:
    with openai.OpenAI(base_url=f"{proxy}{below}/v1", api_key=TOKEN, max_retries=0) as client:
        uploaded = client.files.create(file=("clip.mp4", clip.read_bytes()), purpose="user_data")
        part = {"type": "file", "file": {"file_id": uploaded.id}}
        messages: Any = [{"role": "user", "content": [{"type": "text", "text": "?"}, part]}]
        reply = client.chat.completions.create(model="micro", messages=messages, max_tokens=8, stream=True)
        assert len([chunk.choices[0].delta.content for chunk in reply]) > 2


@pytest.mark.onnxruntime
@pytest.mark.parametrize("below", ["/vlm", BASE])
def test_through_nginx_events_come_at_once(proxy: str, below: str) -> None:
    head = {"Authorization": f"Bearer {TOKEN}"}
    began = time.monotonic()
    with requests.get(f"{proxy}{below}/api/events", headers=head, stream=True, timeout=10) as events:
        assert next(events.iter_lines()) == b"retry: 2000"
    assert time.monotonic() - began < 5, "a proxy that gathers would wait for more"


@pytest.mark.onnxruntime
@pytest.mark.parametrize("below", ["/vlm", BASE])
def test_through_nginx_the_page_works_in_a_browser(proxy: str, below: str) -> None:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no {CHROMIUM}: scripts/install_test_packages")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page()
        asked_for: list[str] = []
        page.on("request", lambda request: asked_for.append(request.url))
        page.goto(f"{proxy}{below}/")
        page.get_by_label("This server asks for a token").fill(TOKEN)
        page.get_by_role("button", name="Open").click()
        expect(page.locator("#connection")).to_have_attribute("data-state", "live", timeout=15000)
        expect(page.locator("#bundle")).to_have_text("micro")
        page.locator(".talk input").fill("What?")
        with page.expect_response("**/api/ask") as asked_response:
            page.locator(".talk button").click()
        assert asked_response.value.status == 200
    elsewhere = [url for url in asked_for if not url.startswith((f"{proxy}{below}/", "data:", "blob:"))]
    assert elsewhere == []


@pytest.mark.onnxruntime
def test_the_log_names_the_client_behind_a_trusted_proxy(micro_bundle: Bundle) -> None:
    with served(micro_bundle.folder, "--access-log", "--trust-proxy", "127.0.0.0/8") as one:
        requests.get(f"{one.address}/healthz", headers={"X-Forwarded-For": "203.0.113.9"}, timeout=10)
        assert "203.0.113.9 GET /healthz 403 " in one.stop(), "and it has no token to let it in"


# --- TLS ---


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two servers, and the first one's key with a passphrase."""
    folder = tmp_path_factory.mktemp("tls")
    try:
        for name in ("one", "two"):
            _openssl(
                folder, f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout {name}.key "
                f"-out {name}.crt -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
            )  # fmt: skip
        _openssl(folder, "pkey -in one.key -aes128 -passout pass:x -out secret.key")
    except FileNotFoundError:
        pytest.skip("no openssl")
    (folder / "text").write_text("hello")
    return folder


def _openssl(folder: Path, words: str) -> None:
    subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)


@pytest.mark.onnxruntime
def test_https_is_spoken_with_the_users_certificate_and_asks_for_the_token(
    micro_bundle: Bundle, certificates: Path
) -> None:
    options = ["--access-log", "--tls-cert", certificates / "one.crt", "--tls-key", certificates / "one.key"]
    with served(micro_bundle.folder, *options, environment={"STTS_TOKEN": TOKEN}) as one:
        assert one.address.startswith("https://")
        trusted = str(certificates / "one.crt")
        assert requests.get(f"{one.address}/v1/models", verify=trusted, timeout=10).status_code == 401
        head = {"Authorization": f"Bearer {TOKEN}"}
        models = requests.get(f"{one.address}/v1/models", headers=head, verify=trusted, timeout=10)
        assert json.loads(models.text)["data"][0]["id"] == "micro"
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(one.address.replace("https", "http"), timeout=10)
        claimed = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "cameras.example"}
        assert requests.get(f"{one.address}/healthz", headers=claimed, verify=trusted, timeout=10).status_code == 200
        assert "127.0.0.1 GET /healthz 200 " in one.stop(), "nobody trusts this proxy"


def test_handshakes_that_are_never_done_are_counted_and_end(
    certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 2.0)
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 5)
    place = bound(Listen.model_validate("127.0.0.1:0"))
    pair = certificates / "one.crt", certificates / "one.key"
    with HttpServer(PlainTextResponse("here"), place, lambda: None, pair), ExitStack() as idle:
        address = place.getsockname()
        for _ in range(5):
            idle.enter_context(socket.create_connection(address, 10))
        with socket.create_connection(address, 10) as sixth:
            assert not sixth.recv(1), "one too many, which is closed at once"
        deadline = time.monotonic() + 10
        while _status_over_tls(address[1], pair[0]) != 200:
            assert time.monotonic() < deadline, "those that never shook hands still hold the places"
            time.sleep(0.2)


def _status_over_tls(port: int, trusted: Path) -> int:
    try:
        return requests.get(f"https://127.0.0.1:{port}/", verify=str(trusted), timeout=10).status_code
    except requests.ConnectionError:
        return 0


@pytest.mark.parametrize(
    ("certificate", "key", "message"),
    [
        ("one.crt", "two.key", "two.key is not the key of .*one.crt"),
        ("one.key", "one.key", "one.key should hold a certificate in PEM"),
        ("one.crt", "one.crt", "one.crt should hold a private key in PEM"),
        ("text", "one.key", "text should hold a certificate in PEM"),
        ("one.crt", "secret.key", "secret.key is encrypted: openssl pkey -in secret.key"),
    ],
)
def test_a_certificate_and_a_key_that_do_not_serve_are_told(
    certificates: Path, certificate: str, key: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_certificate(certificates / certificate, certificates / key)


def test_a_damaged_certificate_is_told(certificates: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.crt"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(UserError, match="cannot be used"):
        check_certificate(damaged, certificates / "one.key")


def test_a_certificate_without_its_key_ends_the_command(certificates: Path) -> None:
    done = run("stts-runtime", "serve", "BUNDLE", "--tls-cert", certificates / "one.crt")
    assert_refused(done, "serve: tls_cert needs tls_key too: a certificate and its key")
