"""The PTX that the wheel carries: of these sources, for these drivers, and small."""

from __future__ import annotations

import re

import pytest

from stts_runtime.cuda_decode.variants import ARCHITECTURES, PTX, Module, fingerprint, packaged_modules, read_ptx

WANTED = [(module, one) for module in packaged_modules() for one in ARCHITECTURES]


@pytest.mark.parametrize(("module", "architecture"), WANTED, ids=lambda one: getattr(one, "name", str(one)))
def test_ptx_is_of_these_sources_and_for_old_drivers(module: Module, architecture: int) -> None:
    ptx = read_ptx(module.path(architecture))
    assert ptx.startswith(f"// {fingerprint(module)}\n"), "run scripts/compile_kernels.py"
    version = re.search(r"^\.version (\d+)\.(\d+)$", ptx, re.MULTILINE)
    assert version is not None
    # JetPack 6 has CUDA 12.2, whose driver reads PTX up to 8.2.
    assert tuple(map(int, version.groups())) <= (8, 2)
    assert re.search(rf"^\.target sm_{architecture}$", ptx, re.MULTILINE)


def test_nothing_else_is_packaged_and_all_of_it_is_small() -> None:
    files = list(PTX.iterdir())
    assert {path.name for path in files} == {module.path(one).name for module, one in WANTED}
    assert sum(path.stat().st_size for path in files) < 2_000_000
