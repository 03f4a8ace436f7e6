"""Clips with exact answers, the accuracy of a bundle through its engines, and quantized bundles. Never torch.

Each part is a package of its own, since they need different extras: `stts_calib.clips` and `stts_calib.accuracy` what
the runtime needs, `stts_calib.calibrate` the extra `calib`.

    from pathlib import Path
    from stts_calib.accuracy import Evaluation, settings_of
    from stts_calib.calibrate import CalibrationRequest, calibrate
    from stts_calib.clips import Clip, Split
    from stts_runtime.bundle import Bundle

    print(Clip.make(Split.test, 3).questions[0])

    bundle = Bundle.open(Path("out/tiny"))
    evaluation = Evaluation(bundle, settings_of(bundle, []), clips=20, questions=4, split=Split.test)
    evaluation.run()
    print({name: answers.hits(evaluation.asked).mean() for name, answers in evaluation.answers.items()})

    report = calibrate(CalibrationRequest(Path("out/tiny"), Path("out/smaller"), ["street.mp4"]))

It may import `stts_runtime`, never `stts_export`.
"""

import stts_runtime  # noqa: F401  # turns telemetry off before anything imports ONNX Runtime
