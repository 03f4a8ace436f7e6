"""What machine this is. It names things; what they are good for is for others to say (`stts_runtime.doctor`)."""

from stts_runtime.device.device import Device
from stts_runtime.device.gpu import Gpu
from stts_runtime.device.select import CPU, gpu_of, hide_other_gpus, select_gpu, selected_gpu, this_device

__all__ = ["CPU", "Device", "Gpu", "gpu_of", "hide_other_gpus", "select_gpu", "selected_gpu", "this_device"]
