"""Clips with exact answers, the accuracy of a bundle through its engines, and quantized bundles. Never torch.

Each part is a package of its own, since they need different extras: `stts_calib.clips` and `stts_calib.accuracy` what
the runtime needs, `stts_calib.calibrate` the extra `calib`.

    clip = Clip.make(Split.test, 3)
    calibrate(CalibrationRequest(Path("bundle"), Path("smaller"), ["street.mp4"]))

It may import `stts_runtime`, never `stts_export`.
"""
