"""Random weights on the GPU, which modules and engines share: one copy for both sides of a comparison."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from stts_calib.quantize.blockwise import BITS
from stts_calib.quantize.weight_inputs import packed_names, packed_shapes
from stts_export.modules.decoder import RotaryAttention
from stts_runtime.bundle.manifest import Format
from stts_runtime.engines.cuda_memory import DeviceArray
from stts_runtime.engines.cuda_weights import Weights

_NUMPY: dict[torch.dtype, np.dtype[np.generic] | None] = {
    torch.float16: np.dtype(np.float16),
    torch.float32: np.dtype(np.float32),
    torch.bfloat16: None,
    torch.float8_e4m3fn: None,
    torch.uint8: np.dtype(np.uint8),
}


def fill(module: nn.Module, seed: int) -> None:
    """Replaces placeholders by seeded random weights on the GPU, as `checkpoint.random` scales them."""
    for prefix, owner in module.named_modules():
        for name, parameter in list(owner.named_parameters(recurse=False)):
            full_name = f"{prefix}.{name}" if prefix else name
            setattr(owner, name, nn.Parameter(_random(full_name, parameter, seed), requires_grad=False))
    for owner in module.modules():
        if isinstance(owner, RotaryAttention):
            _put_side_by_side([owner.q_proj, owner.k_proj, owner.v_proj])


def _put_side_by_side(projections: Sequence[nn.Linear]) -> None:
    """In one block of memory, as a bundle's weight file has them."""
    block = torch.cat([projection.weight for projection in projections])
    for projection, rows in zip(projections, block.split([p.out_features for p in projections]), strict=True):
        projection.weight = nn.Parameter(rows, requires_grad=False)


def _random(name: str, like: Tensor, seed: int) -> Tensor:
    generator = torch.Generator("cuda").manual_seed(zlib.crc32(f"{seed} {name}".encode()))
    noise = torch.randn(like.shape, generator=generator, device="cuda", dtype=like.dtype)
    if name.endswith("norm.weight") or ".layer_norm" in name or "layernorm" in name:
        return noise * 0.1 + (0.0 if name.endswith("bias") else 1.0)
    if like.dim() == 2 and "embed" not in name:
        return noise / math.sqrt(like.shape[1])
    return noise * 0.1


def device_arrays(module: nn.Module) -> Weights:
    """The module's weights by name, where they lie; valid for as long as the module."""
    return Weights({name: array(tensor) for name, tensor in module.state_dict().items()})


def packed(module: nn.Module, form: Format) -> dict[str, Tensor]:
    """Random values and scales of the layers' projections, in place of their weights; joined ones side by side."""
    tensors: dict[str, Tensor] = {}
    for owner_name, owner in module.named_modules():
        joined = [name for name in ("q_proj", "k_proj", "v_proj") if isinstance(getattr(owner, name, None), nn.Linear)]
        alone = [name for name, child in owner.named_children() if isinstance(child, nn.Linear) and name not in joined]
        for names in (joined, *([name] for name in alone)):
            if ".layers." in f".{owner_name}." and names:
                tensors |= _packed(owner_name, [(name, getattr(owner, name)) for name in names], form)
    return tensors


def _packed(owner: str, projections: Sequence[tuple[str, nn.Linear]], form: Format) -> dict[str, Tensor]:
    """As large as weights of standard deviation 1 / sqrt(columns) would have them."""
    columns, rows = projections[0][1].in_features, sum(one.out_features for _, one in projections)
    shape, of_all = packed_shapes(rows, columns, form)
    size = columns**-0.5
    if form == "fp8":
        values = torch.randn(shape, device="cuda").to(torch.float8_e4m3fn)
        scales = torch.full(of_all, size, device="cuda")
    else:
        values = torch.randint(0, 256, shape, dtype=torch.uint8, device="cuda")
        size /= 2 ** (BITS[form] - 2)
        scales = torch.full(of_all, size, dtype=projections[0][1].weight.dtype, device="cuda")
    each = [projection.out_features for _, projection in projections]
    found: dict[str, Tensor] = {}
    for (name, _), count, of_values, of_scales in zip(
        projections, each, values.split(each), scales.view(rows, -1).split(each), strict=True
    ):
        names = packed_names(f"{owner}.{name}.weight", form)
        found |= zip(names, (of_values, of_scales.reshape(packed_shapes(count, columns, form)[1])), strict=True)
    return found


def array(tensor: Tensor) -> DeviceArray:
    assert tensor.is_contiguous()
    return DeviceArray(tensor.data_ptr(), tuple(tensor.shape), tensor.element_size(), _NUMPY[tensor.dtype])
