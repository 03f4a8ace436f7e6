"""The program `stts-runtime`: one file a command."""

from __future__ import annotations

from stts_runtime.cli.bench import bench_command
from stts_runtime.cli.chat import chat_command
from stts_runtime.cli.check import check_command
from stts_runtime.cli.compile import compile_command
from stts_runtime.cli.doctor import doctor_command
from stts_runtime.cli.explain import explain_command
from stts_runtime.cli.fleet import fleet_command
from stts_runtime.cli.help import add_command, program_app
from stts_runtime.cli.mask import mask_command
from stts_runtime.cli.options import VersionOption
from stts_runtime.cli.run import run_command
from stts_runtime.cli.search import search_command
from stts_runtime.cli.serve import serve_command
from stts_runtime.cli.show import inspect_command
from stts_runtime.cli.stream import stream_command

_FILES = "Video files"
_CAMERAS = "Cameras and streams"
_BUNDLES = "Bundles and this machine"

app = program_app("stts-runtime")


@app.callback()
def program(version: VersionOption = False) -> None:
    """Runs STTS bundles without torch: questions about files and cameras, a live page, benchmarks, engines."""


add_command(
    app,
    "run",
    run_command,
    _FILES,
    "stts-runtime run BUNDLE clip.mp4 --ask 'What happens?' --keep 0.5 --overlay kept.png",
)
add_command(app, "chat", chat_command, _FILES, "stts-runtime chat BUNDLE clip.mp4 --keep 0.5")
add_command(
    app,
    "explain",
    explain_command,
    _FILES,
    "stts-runtime explain BUNDLE clip.mp4 --region 0.4,0.5,0.2,0.3@1.5 --out heat.png",
)
add_command(
    app,
    "stream",
    stream_command,
    _CAMERAS,
    "stts-runtime stream BUNDLE rtsp://CAMERA/stream1 --ask 'What moves?' --when 'novelty>0.2'",
)
add_command(app, "mask", mask_command, _CAMERAS, "stts-runtime mask cameras.yaml --stream gate --out mask.jpg")
add_command(app, "serve", serve_command, _CAMERAS, "stts-runtime serve BUNDLE rtsp://CAMERA/stream1")
add_command(app, "fleet", fleet_command, _CAMERAS, "stts-runtime fleet cameras.yaml")
add_command(
    app,
    "search",
    search_command,
    _CAMERAS,
    "stts-runtime search 'white van' --since yesterday --stream gate --db seen.db",
    # Words to leave out begin with a dash, so there is no -h: -white would ask for help.
    ignore_unknown_options=True,
    help_option_names=["--help"],
)
add_command(app, "bench", bench_command, _BUNDLES, "stts-runtime bench BUNDLE clip.mp4 --within-ms 500")
add_command(app, "inspect", inspect_command, _BUNDLES, "stts-runtime inspect BUNDLE")
add_command(
    app,
    "compile",
    compile_command,
    _BUNDLES,
    "stts-runtime compile BUNDLE --engine tensorrt-rtx --arch sm86,sm89",
)
add_command(app, "check", check_command, _BUNDLES, "stts-runtime check BUNDLE --engine cpu")
add_command(app, "doctor", doctor_command, _BUNDLES, "stts-runtime doctor BUNDLE")
