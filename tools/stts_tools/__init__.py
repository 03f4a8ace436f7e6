"""Tools of the project's developers: in a clone alone, never in the wheel."""

import stts_runtime  # noqa: F401  # turns telemetry off before anything imports ONNX Runtime
