"""How a command ends that a signal asks to: with the code of the signal, whatever became of the exception."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

SWALLOWING = """
import os, signal, sys, typer
from stts_runtime.cli.entry import run_app
app = typer.Typer()
@app.command()
def work() -> None:
    try:
        os.kill(os.getpid(), {number})
    except BaseException:
        raise {kind}("made of what came") from None
sys.exit(run_app(app, "work"))
"""


def ended(code: str, before: Callable[[], object] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, preexec_fn=before)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("kind", ["RuntimeError", "OSError", "SystemError"])
def test_a_library_that_makes_an_error_of_a_signal_hides_no_signal(sent: signal.Signals, kind: str) -> None:
    # Whoever runs the tests may ignore it, as `nohup` does.
    done = ended(SWALLOWING.format(number=int(sent), kind=kind), lambda: signal.signal(sent, signal.SIG_DFL))
    says = "interrupted" if sent == signal.SIGINT else f"ended by {sent.name}"
    assert (done.returncode, done.stderr) == (128 + sent, f"error: {says}\n")


def test_what_nohup_ignores_stays_ignored() -> None:
    code = SWALLOWING.format(number=int(signal.SIGHUP), kind="RuntimeError")
    done = ended(code, lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert (done.returncode, done.stderr) == (0, "")
