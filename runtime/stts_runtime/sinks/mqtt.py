"""Records by MQTT 3.1.1 with QoS 1: a record is delivered when the broker has acknowledged it (PUBACK).

One record is under way at a time, and a connection that failed is thrown away with all that paho still holds: the
spool alone knows what is to be sent. A retained `TOPIC/status` is `online` or, by the last will, `offline`.
"""

from __future__ import annotations

import queue
from typing import Any
from urllib.parse import unquote, urlsplit

from stts_runtime import clock
from stts_runtime.extras import stream_extra
from stts_runtime.sinks.attach import snapshot_apart
from stts_runtime.sinks.config import MqttConfig
from stts_runtime.sinks.spooled import AwayError

with stream_extra("paho-mqtt", "MQTT brokers"):
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_KEEPALIVE_SECONDS = 30
_LOST = "lost"


class Mqtt:
    def __init__(self, config: MqttConfig) -> None:
        """Reads the password; raises `UserError` if it is missing."""
        parts = urlsplit(config.to)
        self._tls = parts.scheme.lower() == "mqtts"
        self._host, self._port = parts.hostname or "", parts.port or _PORTS[parts.scheme.lower()]
        self._user = config.user or unquote(parts.username or "") or None
        self._password = config.password.read() if config.password else unquote(parts.password or "") or None
        self._topic, self._status = config.topic, f"{config.topic}/status"
        self._timeout, self._ca_file = config.timeout, config.ca_file
        self._is_attaching = config.attach is not None
        self._client: paho.Client | None = None
        self._heard: queue.SimpleQueue[object] = queue.SimpleQueue()

    def deliver(self, body: bytes) -> None:
        client = self._connected()
        if self._is_attaching:
            body, stream, picture = snapshot_apart(body)
            if picture is not None:
                self._publish(client, f"{self._topic}/{stream}/snapshot", picture)
        self._publish(client, self._topic, body)

    def tend(self) -> None:
        self._connected()

    def close(self) -> None:
        """Says `offline` first: a clean goodbye keeps the broker from publishing the last will."""
        if self._client is not None and self._client.is_connected():
            try:
                self._publish(self._client, self._status, b"offline", retain=True)
            except AwayError:
                return
        self._drop()

    def _connected(self) -> paho.Client:
        if self._client is not None and self._client.is_connected():
            return self._client
        self._drop()
        self._client = self._connecting()
        self._publish(self._client, self._status, b"online", retain=True)
        return self._client

    def _connecting(self) -> paho.Client:
        self._heard = queue.SimpleQueue()
        client = self._configured(self._heard)
        try:
            client.connect(self._host, self._port, _KEEPALIVE_SECONDS)
        except (OSError, ValueError) as error:
            raise AwayError(f"no connection: {getattr(error, 'strerror', None) or type(error).__name__}") from None
        self._client = client
        client.loop_start()
        answer = self._hear("no answer to the connection request")
        if answer != "Success":
            self._drop()
            raise AwayError(f"the broker refuses the connection: {answer}")
        return client

    def _configured(self, heard: queue.SimpleQueue[object]) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.connect_timeout = self._timeout
        client.username_pw_set(self._user, self._password)
        client.will_set(self._status, b"offline", qos=1, retain=True)
        if self._tls:
            client.tls_set(ca_certs=str(self._ca_file) if self._ca_file else None)

        def connected(_client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
            heard.put(str(code))

        def published(_client: Any, _data: Any, number: int, _code: Any, _properties: Any) -> None:
            heard.put(number)

        def disconnected(*_: Any) -> None:
            heard.put(_LOST)

        client.on_connect, client.on_publish, client.on_disconnect = connected, published, disconnected
        return client

    def _publish(self, client: paho.Client, topic: str, body: bytes, *, retain: bool = False) -> None:
        """Returns at the broker's receipt."""
        sent = client.publish(topic, body, qos=1, retain=retain)
        deadline = clock.now() + self._timeout
        while self._hear("no receipt", deadline) != sent.mid:
            pass

    def _hear(self, silence: str, deadline: float | None = None) -> object:
        """What comes next. Raises `AwayError`, and drops the connection, when that is lost or silent."""
        left = self._timeout if deadline is None else max(0.0, deadline - clock.now())
        try:
            heard = self._heard.get(timeout=left)
        except queue.Empty:
            heard = None
        if heard is None or heard == _LOST:
            self._drop()
            raise AwayError(
                f"{silence} from the broker in time" if heard is None else "the broker closed the connection"
            )
        return heard

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()
