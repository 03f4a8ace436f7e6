"""cuda-bindings, which engines on a GPU keep their tensors with."""

from __future__ import annotations

from stts_runtime.device import Device
from stts_runtime.doctor.modules import Module, numbers


def bindings_obstacle(device: Device, user: Module, bindings: Module, extra: str) -> tuple[str, str | None] | None:
    """Every engine on a GPU is fed through cuda-bindings, whose major version the driver has to know: what is in the
    way, and the command against it.
    """
    matching = f"pip install 'cuda-bindings=={driver_major(device)}.*'" if device.cuda else extra
    if bindings.version is None:
        because = f"{user.label} engines need cuda-bindings, and {bindings.because}"
        return because, matching if bindings.is_missing else None
    if device.cuda and numbers(bindings.version)[0] > driver_major(device):
        because = f"cuda-bindings {bindings.version} is newer than the driver, which is for CUDA {device.cuda}"
        # Elsewhere the wheels of TensorRT may be too new as well, and the driver is what to update.
        return (because, matching) if device.l4t else (f"{because}; update the driver", None)
    return None


def driver_major(device: Device) -> int:
    """Of the newest CUDA that the driver can run; 0 without a driver."""
    return numbers(device.cuda or "")[0]
