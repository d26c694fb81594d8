#!/usr/bin/env bash
# deepinv 0.5.0: L2(sigma=t) with one noise level for each of B samples.
#
# Expected: fn and grad belong together, so that grad is the derivative of fn by x.
# Seen: fn takes t for samples; grad multiplies the image by 1/t^2 along its LAST axis. Where an image
# is as wide as the batch is long, the gradient is wrong without notice; elsewhere it raises.
#
#   fn                 [3.0, 0.75]
#   derivative of fn   [[1, 1, 1, 1, 1, 1], [0.25, 0.25, 0.25, 0.25, 0.25, 0.25]]
#   grad               [[1, 0.25, 1, 0.25, 1, 0.25], [1, 0.25, 1, 0.25, 1, 0.25]]
#
# Fails if that changes. Installs into a temporary folder; needs a package registry.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet deepinv==0.5.0 torch==2.14.1 torchvision==0.29.1
cat > "$folder/try.py" <<'PYTHON'
import torch
from deepinv.optim.data_fidelity import L2
from deepinv.physics import Denoising

sigma = torch.tensor([1.0, 2.0], dtype=torch.float64)
fidelity, physics = L2(sigma=sigma), Denoising()
x = torch.ones(2, 1, 3, 2, dtype=torch.float64, requires_grad=True)
y = torch.zeros_like(x)
value = fidelity.fn(x, y, physics)
(derivative,) = torch.autograd.grad(value.sum(), x)
gradient = fidelity.grad(x.detach(), y, physics)
for name, tensor in (("fn", value), ("derivative of fn", derivative), ("grad", gradient)):
    print(f"{name:18s} {tensor.detach().flatten(1 if tensor.dim() > 1 else 0).tolist()}")
rows = sigma.reshape(2, 1, 1, 1)
columns = sigma.reshape(1, 1, 1, 2)
torch.testing.assert_close(derivative, torch.ones_like(x) / rows**2)
torch.testing.assert_close(gradient, (torch.ones_like(x) / columns**2).detach())
try:
    fidelity.grad(torch.ones(2, 1, 3, 5, dtype=torch.float64), torch.zeros(2, 1, 3, 5), physics)
except RuntimeError as error:
    print("width 5:", error)
else:
    raise SystemExit("grad of images of width 5 no longer raises")
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
