"""A real RTSP server, run with the system's Python, which has GStreamer: `/usr/bin/python3 rtsp_server.py PIPELINE`.

It prints the port that it listens on, serves the pipeline under /stream, and ends when its standard input does, so
that it never outlives who started it.
"""

from __future__ import annotations

import argparse
import os
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402


def protect(server: GstRtspServer.RTSPServer, factory: GstRtspServer.RTSPMediaFactory, user: str, word: str) -> None:
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    role = GstRtspServer.RTSPToken()
    role.set_string("media.factory.role", "viewer")
    auth.add_digest(user, word, role)
    server.set_auth(auth)
    factory.add_role_from_structure(
        Gst.Structure.from_string("viewer, media.factory.access=(bool)true, media.factory.construct=(bool)true")[0]
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pipeline")
    parser.add_argument("--port", default="0")
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    arguments = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(arguments.port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {arguments.pipeline} )")
    factory.set_shared(True)
    if arguments.user:
        protect(server, factory, arguments.user, arguments.password)
    server.get_mount_points().add_factory("/stream", factory)
    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin, GLib.IO_IN | GLib.IO_HUP, lambda *_: loop.quit())
    if not server.attach(None):
        sys.exit(f"cannot listen on port {arguments.port}")
    print(server.get_bound_port(), flush=True)
    loop.run()
    # Without waiting for clients: a server that is gone is gone.
    os._exit(0)


main()
