#!/usr/bin/env bash
# deepinv 0.5.0: physics.stack(a, b) holds its parts where PyTorch does not see them.
#
# Expected of a torch.nn.Module: .to(float64) converts the buffers of its parts, and state_dict()
# saves them, as it does for each part alone and for a composition b * a.
# Seen: the parts are in a plain list. .to(float64) leaves their masks in float32, so that A of a
# float64 image gives measurements of the right dtype but made with rounded numbers; state_dict()
# knows none of them, so that load_state_dict() restores another operator without notice.
#
#   of                 dtype after .to(float64)   keys of state_dict
#   a part alone       torch.float64              ['mask']
#   a stack of it      torch.float32              []
#
# Fails if that changes. Installs into a temporary folder; needs a package registry.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet deepinv==0.5.0 torch==2.14.1 torchvision==0.29.1
cat > "$folder/try.py" <<'PYTHON'
import torch
from deepinv.physics import Inpainting, stack


def mask(seed: int) -> torch.Tensor:
    return torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(seed))


def part(seed: int) -> Inpainting:
    return Inpainting((1, 4, 4), mask=mask(seed))


alone = part(0).to(torch.float64)
stacked = stack(part(0), part(1)).to(torch.float64)
inside = stacked.physics_list[0]
print("a part alone ", alone.mask.dtype, [key for key in alone.state_dict() if "mask" in key])
print("a stack of it", inside.mask.dtype, [key for key in stacked.state_dict() if "mask" in key])
assert alone.mask.dtype == torch.float64 and "mask" in alone.state_dict()
assert inside.mask.dtype == torch.float32
assert not any("mask" in key for key in stacked.state_dict())

x = torch.ones(1, 1, 4, 4)
saved = stack(part(0), part(1)).state_dict()
restored = stack(part(2), part(3))
print("load_state_dict:", restored.load_state_dict(saved))
wrong = float((restored.A(x)[0] - stack(part(0), part(1)).A(x)[0]).abs().max())
print("largest difference of the restored operator's measurements:", round(wrong, 3))
assert wrong > 0.1
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
