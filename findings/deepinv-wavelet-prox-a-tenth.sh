#!/usr/bin/env bash
# deepinv 0.5.0: WaveletPrior.prox is the proximity operator of a tenth of WaveletPrior.fn.
#
# Expected: as for every prior of the package, prox(y, gamma=c) is the x that minimises
# ||x - y||^2 / 2 + c fn(x). For an orthonormal wavelet transform W and fn(x) = ||W x||_1 (of the
# details) that is the soft threshold c of these coefficients.
# Seen: the threshold is 0.1 c. prox takes a keyword ths = 0.1, by which it multiplies gamma; the
# iterations of the package (PGD, FISTA) do not pass it, and the g_param that they do pass is ignored.
# So a lambda that was chosen for fn, or taken from the literature, regularises ten times too little,
# and the point that PGD comes to does not minimise the objective that is written down.
#
#   prox(y, gamma=0.3)            objective  708.57
#   prox(y, gamma=0.3, ths=1.0)   objective  607.10   (soft threshold 0.3)
#   PGD, lambda 0.3               objective  708.57
#
# Fails if that changes. Installs into a temporary folder; needs a package registry.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet deepinv==0.5.0 torch==2.14.1 torchvision==0.29.1 \
    ptwt==1.0.1
cat > "$folder/try.py" <<'PYTHON'
import torch
from deepinv.optim import L2, PGD, WaveletPrior
from deepinv.physics import Denoising

c = 0.3
y = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
prior = WaveletPrior(level=1, wv="haar")


def objective(x):
    return float(0.5 * (x - y).square().sum() + c * prior.fn(x).sum())


plain, whole = prior.prox(y, gamma=c), prior.prox(y, gamma=c, ths=1.0)
model = PGD(data_fidelity=L2(), prior=prior, lambda_reg=c, stepsize=1.0, max_iter=50)
iterated = model(y, Denoising())
print(f"prox(y, gamma={c})            objective {objective(plain):7.2f}")
print(f"prox(y, gamma={c}, ths=1.0)   objective {objective(whole):7.2f}")
print(f"PGD, lambda {c}               objective {objective(iterated):7.2f}")
# Nothing near the whole step is better: it is the minimiser.
for seed in range(20):
    step = 1e-2 * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
    assert objective(whole + step) > objective(whole)
assert objective(plain) > 1.01 * objective(whole), "prox fits fn now"
assert torch.allclose(plain, prior.prox(y, gamma=0.1 * c, ths=1.0)), "the factor is another one"
assert torch.allclose(iterated, plain), "PGD passes the threshold now"
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
