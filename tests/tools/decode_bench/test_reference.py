"""The kernels' reference is the exported model's decoder, and its packed weights are what others pack."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from stts_runtime.cuda_decode.shape import DecoderShape
from stts_tools.decode_bench.reference import Layer, Packed, _pack_int4, float8_values, narrowed, pack, step, widened
from tests.support.installed import HAS_TORCH

SHAPE = DecoderShape(width=96, layers=1, heads=4, kv_heads=2, head_dim=64, mlp_width=160)


def test_every_byte_is_the_e4m3_that_it_is_elsewhere() -> None:
    theirs = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    is_number = np.isfinite(theirs)
    np.testing.assert_array_equal(float8_values()[is_number], theirs[is_number])
    assert is_number.sum() == 254


def test_float8_is_rounded_to_the_nearest() -> None:
    weight = np.random.default_rng(0).standard_normal((3, 200)).astype(np.float32)
    packed = pack(weight, "float8")
    scales = np.repeat(packed.scales, 128, 1)[:, :200]
    theirs = (weight / scales).astype(ml_dtypes.float8_e4m3fn)
    same = packed.values.view(ml_dtypes.float8_e4m3fn) == theirs
    # A value in the middle may go either way.
    assert same.mean() > 0.99
    assert np.abs(packed.meant - weight).max() <= np.abs(theirs.astype(np.float32) * scales - weight).max() * 1.0001


@pytest.mark.onnxruntime
def test_int4_lies_as_calibration_writes_it() -> None:
    from stts_calib.quantize.weight_inputs import quantized_weight

    weight = np.random.default_rng(0).standard_normal((5, 96)).astype(np.float16)
    (_, theirs), (_, scales) = quantized_weight("w", weight, "int4")
    nibbles = np.stack([theirs & 15, theirs >> 4], -1).reshape(5, 3, 32).astype(np.float32) - 8
    meant = (nibbles * scales.reshape(5, 3, 1).astype(np.float32)).reshape(5, 96)
    assert np.abs(meant - weight).max() < 0.6 * np.abs(scales).max()
    ours = _pack_int4(weight.astype(np.float32), bfloat=False)
    assert ours.values.shape == theirs.reshape(5, -1).shape
    assert ours.scales.size == scales.size
    again = np.stack([ours.values & 15, ours.values >> 4], -1).reshape(5, 96).astype(np.float32) - 8
    expected = widened(narrowed(again * np.repeat(widened(ours.scales), 32, 1)))
    np.testing.assert_array_equal(ours.meant, expected)


def test_a_layer_is_the_models() -> None:
    """Behind 6 tokens, at position 9; the model in float32, the reference with 16 bits between kernels."""
    if not HAS_TORCH:
        pytest.skip("compares with the model, which takes torch")
    import torch

    from stts_export.modules.config import RotaryConfig, TextConfig
    from stts_export.modules.decoder import DecoderLayer, turning
    from stts_export.modules.operators import masked_attention
    from stts_export.modules.rotary import rotary_of_layer_kinds

    rng, slot = np.random.default_rng(0), 6
    config = TextConfig(96, 1, 4, 2, 64, 160, 10, 0, RotaryConfig(1e4))
    torch.manual_seed(0)
    model = DecoderLayer(config)
    for weight in model.parameters():
        weight.data = weight.data.uniform_(-0.2, 0.2).half().float()
    keys, values = (widened(narrowed(rng.standard_normal((2, slot + 1, 64)))) for _ in range(2))
    x = rng.standard_normal((1, 96)).astype(np.float32)

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        caches = []
        for cache, new in ((keys, k), (values, v)):
            whole = torch.from_numpy(cache.copy())
            whole[:, slot] = new.reshape(2, 64)
            caches.append(whole.transpose(0, 1).reshape(1, slot + 1, 128))
        return masked_attention(q, *caches, torch.ones(1, slot + 1, dtype=torch.bool), 4, 2)

    rotary = rotary_of_layer_kinds(config.rotary, 64, torch.tensor([[9]]), torch.float32)[False]
    with torch.inference_mode():
        expected = model(torch.from_numpy(x), turning(rotary, attend)).numpy()

    def of(*names: str) -> Packed:
        return pack(np.concatenate([model.get_parameter(f"{name}.weight").detach().numpy() for name in names]), "half")

    def norm(name: str) -> NDArray[np.uint16]:
        return narrowed(model.get_parameter(f"{name}.weight").detach().numpy())

    attention, mlp = "self_attn", "mlp"
    layer = Layer(
        of(*(f"{attention}.{part}_proj" for part in "qkv")),
        of(f"{attention}.o_proj"),
        of(f"{mlp}.gate_proj"),
        of(f"{mlp}.up_proj"),
        of(f"{mlp}.down_proj"),
        norm("input_layernorm"),
        norm("post_attention_layernorm"),
        norm(f"{attention}.q_norm"),
        norm(f"{attention}.k_norm"),
    )
    tables = rotary.cos[0].numpy(), rotary.sin[0].numpy()
    got = step(SHAPE, layer, x, [(keys, values)], [slot], tables)
    np.testing.assert_allclose(got.x, expected, atol=5e-3, rtol=2e-3)
    assert np.abs(expected - x).max() > 0.1
