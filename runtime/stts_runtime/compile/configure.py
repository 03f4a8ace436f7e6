"""The builder's configuration, by what a version of TensorRT has: precisions, kernels, what the inspector may say."""

from __future__ import annotations

from typing import Any

from stts_runtime.compile.request import PartRequest
from stts_runtime.tensorrt import Flavour

# Kernels of libraries that are no part of TensorRT.
_EXTERNAL_TACTICS = ("CUBLAS", "CUBLAS_LT", "CUDNN")


def network_flags(flavour: Flavour) -> int:
    """What networks are created with. Those of TensorRT 11 and TensorRT-RTX are strongly typed as they are; TensorRT 10
    has to be asked. Before 10, batches have to be called explicit.
    """
    flags = flavour.api.NetworkDefinitionCreationFlag
    names = ["STRONGLY_TYPED", *(["EXPLICIT_BATCH"] if flavour.is_before_10 else [])]
    return sum(1 << int(getattr(flags, name)) for name in names if hasattr(flags, name))


def configure(flavour: Flavour, config: Any, request: PartRequest) -> str:
    """Sets what decides how the engine computes; returns it in words.

    A strongly typed network computes in the types of its graph. In a weakly typed one (8.6) the types of the graph say
    nothing, and without a flag everything would be float32. `FP16` lets the builder choose float32 or float16 for each
    layer, by time. Layers are not held to a precision (`OBEY_PRECISION_CONSTRAINTS`): with norms and scorer held in
    float32, 8.6.0 turned the whole region of the graph that it compiles as one into float32: on an H100 five layers
    took 204.9 ms in place of 26.1, and 8.5 GB of scratch. What came out is in the passport (`Inspected`); whether it is
    near enough is for the numbers to say.
    """
    api = flavour.api
    # Products in float32 (the scorer's) are meant as such: TF32, which is the default, rounds what goes in to 10 bits.
    if not flavour.compiles_without_gpu:
        config.clear_flag(api.BuilderFlag.TF32)
        # For the inspector. It is text in the engine, and nothing of it runs.
        config.profiling_verbosity = api.ProfilingVerbosity.DETAILED
    if flavour.is_before_10:
        _leave_out_external_tactics(api, config)
        _share_profiles(api, config)
    if not flavour.is_weakly_typed:
        return "strongly typed"
    if request.precision == "fp16":
        config.set_flag(api.BuilderFlag.FP16)
    return f"{request.precision}, weakly typed"


def _leave_out_external_tactics(api: Any, config: Any) -> None:
    """TensorRT 8.6 would time kernels of cuBLAS and cuDNN, which slim containers have not, or have as empty stand-ins
    whose every call fails; the engine would then need them too. It has matrix products of its own, and later versions
    leave the others out by themselves.
    """
    sources = config.get_tactic_sources()
    for name in _EXTERNAL_TACTICS:
        if hasattr(api.TacticSource, name):
            sources &= ~(1 << int(getattr(api.TacticSource, name)))
    config.set_tactic_sources(sources)


def _share_profiles(api: Any, config: Any) -> None:
    """The language engine has one profile and two contexts, one of them for single tokens. In 8.6 a profile serves a
    single context unless this is set ("Assertion mOptimizationProfile >= 0 failed"); later versions always share.
    """
    feature = getattr(getattr(api, "PreviewFeature", None), "PROFILE_SHARING_0806", None)
    if feature is not None:
        config.set_preview_feature(feature, True)
