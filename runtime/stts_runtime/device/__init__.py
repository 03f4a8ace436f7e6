"""What machine this is. It names things; what they are good for is for others to say (`stts_runtime.doctor`)."""

from stts_runtime.device.device import Device, this_device
from stts_runtime.device.gpu import Gpu

__all__ = ["Device", "Gpu", "this_device"]
