"""Power: what a stretch of work took in joules, and whether the machine held its clocks back meanwhile."""

from stts_runtime.power.choose import Power, open_meter
from stts_runtime.power.meter import PowerMeter, PowerSource, Reading

__all__ = ["Power", "PowerMeter", "PowerSource", "Reading", "open_meter"]
