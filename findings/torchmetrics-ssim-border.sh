#!/usr/bin/env bash
# torchmetrics 1.9.0: structural similarity counts the border, and in float32 flat images differ from
# themselves.
#
# Expected: the mean of Wang, Bovik, Sheikh and Simoncelli (2004), whose window lies within the image;
# scikit-image leaves out the border too. And ssim(x, x) = 1.
# Seen: images are reflected at the border and all pixels count, so that the number is another one: of
# a flat image with one bright line at its edge 0.86 where scikit-image says 0.99. Of a flat image of
# 0.7 in float32 ssim(x, x) is 0.9991: variances are differences of squares.
#
# Fails if that changes. Installs into a temporary folder; needs a package registry.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torchmetrics==1.9.0 torch==2.14.1 scikit-image==0.26.0
cat > "$folder/try.py" <<'PYTHON'
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

truth = torch.full((1, 1, 32, 32), 0.5, dtype=torch.float64)
found = truth.clone()
found[..., 0] = 0.9
ours = float(structural_similarity_index_measure(found, truth, data_range=1.0))
theirs = structural_similarity(
    found[0, 0].numpy(), truth[0, 0].numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False,
)
print("line at the edge: torchmetrics", round(ours, 4), "scikit-image", round(float(theirs), 4))
assert abs(ours - theirs) > 0.05

flat = torch.full((1, 1, 32, 32), 0.7)
itself = float(structural_similarity_index_measure(flat, flat, data_range=1.0))
exact = float(structural_similarity_index_measure(flat.double(), flat.double(), data_range=1.0))
print("flat image and itself: float32", round(itself, 5), "float64", round(exact, 5))
assert itself < 0.9995 and exact > 0.99999
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
