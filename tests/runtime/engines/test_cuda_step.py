"""Single tokens through our own kernels in the cuda engine: the fakes' memory, the kernels on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.contract import CUDA
from stts_runtime.bundle.onnx_file import OnnxFile, read_onnx
from stts_runtime.cuda_decode.driver import Driver
from stts_runtime.cuda_decode.variants import packaged_modules
from stts_runtime.engines import cuda_language, cuda_step, load_language
from stts_runtime.engines.cuda_memory import Cuda, Stream
from stts_runtime.engines.cuda_weights import DeviceWeights
from stts_runtime.engines.decoder_fit import Misfit, fitted_decoder
from stts_runtime.prompt import Tokens
from tests.support.cuda_on_cpu.host_driver import HostDriver
from tests.support.cuda_on_cpu.host_library import compiler
from tests.support.fake_tensorrt import FakeCuda
from tests.support.installed import HAS_TORCH

pytestmark = [
    pytest.mark.onnxruntime,
    pytest.mark.skipif(not HAS_TORCH, reason="builds a bundle, which takes torch"),
    pytest.mark.skipif(compiler() is None, reason="there is no g++, which compiles the kernels for the CPU"),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Heads of 64, which the micro checkpoint lacks."""
    from stts_export.building.builder import build
    from stts_export.building.request import BuildRequest
    from stts_tools.checkpoints.random import write_random_checkpoint
    from stts_tools.checkpoints.sizes import SIZES

    folder = tmp_path_factory.mktemp("decode")
    size = replace(SIZES["micro"], text_width=128, text_head_dim=64, text_mlp=192)
    write_random_checkpoint(folder / "checkpoint", size, seed=0)
    build(BuildRequest(folder / "checkpoint", folder / "bundle", frames=[3], keeps=[0.5], targets=["cpu", "cuda"]))
    return Bundle.open(folder / "bundle")
