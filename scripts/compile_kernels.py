#!/usr/bin/env python3
"""Compiles the kernels of `stts_runtime.cuda_decode` to the PTX that the wheel carries.

    pip install 'nvidia-cuda-nvrtc-cu12==12.2.*'
    scripts/compile_kernels.py [--nvrtc libnvrtc.so.12] [--check] [--sweep FOLDER]

NVRTC 12.2 writes PTX 8.2, which the drivers of JetPack 6 load. Needs no GPU. `--check` compares instead of writing;
`--sweep` writes what scripts/bench_decode.py may choose from instead of what the wheel carries.
"""

from __future__ import annotations

import ctypes
import gzip
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Optional

import typer

from stts_runtime.cuda_decode.variants import ARCHITECTURES, KERNELS, Module, fingerprint, packaged_modules, read_ptx
from stts_tools.decode_bench.candidates import sweep_modules

_LIBRARY = "lib/libnvrtc.so.12"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Nvrtc:
    """The few calls of NVIDIA's run-time compiler that this takes."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    def version(self) -> tuple[int, int]:
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        return major.value, minor.value

    def ptx(self, source: str, name: str, headers: Mapping[str, str], options: Iterable[str]) -> str:
        """Raises `RuntimeError` with the compiler's own words."""
        program = ctypes.c_void_p()
        texts = (ctypes.c_char_p * len(headers))(*(text.encode() for text in headers.values()))
        names = (ctypes.c_char_p * len(headers))(*(one.encode() for one in headers))
        self._call(
            "nvrtcCreateProgram",
            ctypes.byref(program),
            source.encode(),
            name.encode(),
            len(headers),
            texts,
            names,
        )
        given = [option.encode() for option in options]
        try:
            self._call("nvrtcCompileProgram", program, len(given), (ctypes.c_char_p * len(given))(*given))
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{self._text('ProgramLog', program)}") from None
        return self._text("PTX", program)

    def _text(self, what: str, program: ctypes.c_void_p) -> str:
        size = ctypes.c_size_t()
        self._call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", program, buffer)
        return buffer.value.decode()

    def _call(self, name: str, *arguments: object) -> None:
        if code := getattr(self._library, name)(*arguments):
            raise RuntimeError(f"{name} failed with {code}")


def installed_library() -> Path:
    found = find_spec("nvidia.cuda_nvrtc") if find_spec("nvidia") else None
    if found is None or not found.submodule_search_locations:
        sys.exit("NVRTC is not installed: pip install 'nvidia-cuda-nvrtc-cu12==12.2.*'")
    return Path(found.submodule_search_locations[0]) / _LIBRARY


def compiled(nvrtc: Nvrtc, module: Module, architecture: int) -> str:
    """PTX, without the compiler's comments; the first line names the sources."""
    headers = {path.name: path.read_text() for path in sorted(KERNELS.glob("*.cuh"))}
    options = [f"--gpu-architecture=compute_{architecture}", "--std=c++17", "-default-device"]
    options += [f"-D{name}={value}" for name, value in module.defines.items()]
    ptx = nvrtc.ptx((KERNELS / module.source).read_text(), module.source, headers, options)
    lines = (line.partition("//")[0].strip() for line in ptx.rstrip("\0").splitlines())
    return "\n".join([f"// {fingerprint(module)}", *filter(None, lines), ""])


@app.command(help=__doc__)
def main(
    nvrtc_library: Annotated[
        Optional[Path], typer.Option("--nvrtc", help="The library. Default: the installed package's.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Fail if what is there is not what would be written.")] = False,
    sweep: Annotated[
        Optional[Path], typer.Option(help="Write the benchmark's candidates for compute_90 into this folder.")
    ] = None,
) -> None:
    nvrtc = Nvrtc(nvrtc_library or installed_library())
    if nvrtc.version() != (12, 2):
        sys.exit(f"NVRTC is {nvrtc.version()}, and PTX that old drivers load takes 12.2")
    if sweep:
        sweep.mkdir(parents=True, exist_ok=True)
        wanted = [(module, 90, sweep / module.path(90).name) for module in sweep_modules()]
    else:
        wanted = [(module, one, module.path(one)) for module in packaged_modules() for one in ARCHITECTURES]
    for module, architecture, path in wanted:
        text = compiled(nvrtc, module, architecture)
        if check:
            if not path.exists() or read_ptx(path) != text:
                sys.exit(f"{path} is not what its sources give; run this without --check")
            continue
        path.parent.mkdir(exist_ok=True)
        # Without a date and a name, so that the same sources give the same file.
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
        print(f"{path.name}: {len(text)} bytes, {path.stat().st_size} compressed")


if __name__ == "__main__":
    app()
