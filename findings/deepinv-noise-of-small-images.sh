#!/usr/bin/env bash
# deepinv 0.5.0: PatchCovarianceNoiseEstimator finds too little noise in small images, or NaN.
#
# Expected of images that are nothing but noise of standard deviation 0.1: an estimate near 0.1, or an
# error where the image is too small for one.
# Seen: with its patches of 8 x 8 pixels at every third pixel (which the module does not let one
# choose) there are fewer patches than numbers in a patch for sides up to about 32. The estimate is
# then a third of the noise, or NaN, without a word; at 64 pixels it is still 12 percent low. With
# every patch (its static method takes a stride) it is within 6 percent from 32 pixels on.
# Images in float64 end in a RuntimeError.
#
#   side          24      32      48      64      96
#   as it is      nan     0.038   0.073   0.088   0.097
#   every patch   0.086   0.094   0.096   0.096   0.098
#
# Fails if that changes. Installs into a temporary folder; needs a package registry.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet deepinv==0.5.0 torch==2.14.1 torchvision==0.29.1
cat > "$folder/try.py" <<'PYTHON'
import math

import torch
from deepinv.models import PatchCovarianceNoiseEstimator

estimator = PatchCovarianceNoiseEstimator()
found, every = {}, {}
for side in (24, 32, 48, 64, 96):
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(20, 1, side, side, generator=generator)
    found[side] = float(estimator(noise).mean())
    every[side] = float(estimator.estimate_noise(noise, 8, 1).mean())
print("as it is   ", {side: round(value, 3) for side, value in found.items()})
print("every patch", {side: round(value, 3) for side, value in every.items()})
assert math.isnan(found[24])
assert found[32] < 0.05 and found[64] < 0.09
assert all(abs(every[side] - 0.1) < 0.007 for side in (32, 48, 64, 96))
try:
    estimator(noise.double())
except RuntimeError as error:
    print("float64:", error)
else:
    raise SystemExit("float64 is taken now")
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
