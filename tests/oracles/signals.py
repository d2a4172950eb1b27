"""Writes signals.json: what SciPy's filters and resampling make of a short signal, in f64.

    python3 tests/oracles/signals.py        (scipy 1.17; any version since 1.5 will do)

The signal is a sum of waves on a slope, given by its formula here and in the test, so that only results are stored: every seventh value.
"""
import json
import pathlib

import numpy as np
from scipy import signal

N = 700
i = np.arange(N)
X = np.sin(i * 0.05) + 0.3 * np.sin(i * 0.9 + 1) + 0.002 * i
FS = 500


def both(sos):
    return signal.sosfiltfilt(sos, X)


cases = {
    "high_pass 1 order 2": both(signal.butter(2, 1, "highpass", fs=FS, output="sos")),
    "low_pass 25 order 2": signal.filtfilt(*signal.butter(2, 25, fs=FS), X),
    "low_pass 40 order 6": both(signal.butter(6, 40, fs=FS, output="sos")),
    "high_pass 5 order 4": both(signal.butter(4, 5, "highpass", fs=FS, output="sos")),
    "notch 50 30": signal.filtfilt(*signal.iirnotch(50, 30, FS), X),
    "resample 25 18": signal.resample_poly(X, 25, 18, padtype="edge"),
    "resample 1 2": signal.resample_poly(X, 1, 2, padtype="edge"),
    "resample 5 1": signal.resample_poly(X, 5, 1, padtype="edge"),
    "resample 257 128": signal.resample_poly(X, 257, 128, padtype="edge"),
}
out = {name: {"length": len(y), "every_seventh": [float(v) for v in y[::7]]} for name, y in cases.items()}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
