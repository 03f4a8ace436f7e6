"""Modules of kernels, compiled by the host's C++ compiler. `compiler` is None where there is none."""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from stts_runtime.cuda_decode.variants import KERNELS, Module, fingerprint

_HERE = Path(__file__).parent
_KERNEL = re.compile(r"^(?:KERNEL\([^)]*\)|PRODUCT_KERNEL\([^)]*\)) (\w+)\(", re.MULTILINE)


def compiler() -> str | None:
    return shutil.which("g++")


def kernel_names(source: str) -> list[str]:
    """Of a source among the kernels."""
    return _KERNEL.findall((KERNELS / source).read_text())


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="kernels-on-cpu-")


@functools.cache
def _compiled(print_of_module: str, source: str, defines: tuple[tuple[str, str], ...]) -> ctypes.CDLL:
    folder = Path(_folder().name)
    text = "\n".join(
        [f'#include "{source}"', "#include <launch.h>", *(f"LAUNCHED({name})" for name in kernel_names(source)), ""]
    )
    program, library = folder / f"{print_of_module}.cpp", folder / f"{print_of_module}.so"
    program.write_text(text)
    words = [f"-D{name}={value}" for name, value in defines]
    options = ["-std=c++17", "-O2", "-shared", "-fPIC", "-Wall", "-Werror", "-Wno-unknown-pragmas"]
    # Functions of different templates that are folded into one make g++ warn of arrays' bounds.
    options += ["-fno-ipa-icf"]
    places = [f"-I{_HERE}", f"-I{KERNELS}"]
    command = [str(compiler()), *options, *places, *words, str(program), "-o", str(library)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ctypes.CDLL(str(library))


def host_library(module: Module) -> ctypes.CDLL:
    """With `launch_NAME(grid and threads, bytes of shared memory, addresses of arguments)` for every kernel."""
    return _compiled(fingerprint(module), module.source, tuple(sorted(module.defines.items())))
