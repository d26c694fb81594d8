#!/usr/bin/env bash
# Pillow 13.0.0: uncompressed gray TIFFs whose orientation tag says a quarter turn (5 to 8).
#
# Expected: as for RGB and for compressed files, the image comes out turned: the stored (3, 5) array
# of orientation 6 as (5, 3), turned clockwise. (Pillow turns TIFFs itself while it loads them.)
# Seen: 8-bit and 16-bit gray images keep the shape (3, 5) and are filled with their rows cut at the
# wrong length, without notice; RGB and 32-bit float are right, and so is the same gray image
# written with compression. Detectors held upright write such files.
#
#   stored       [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14]], orientation 6
#   expected     [[10, 5, 0], [11, 6, 1], [12, 7, 2], [13, 8, 3], [14, 9, 4]]
#   loaded       [[12, 9, 6, 3, 0], [13, 10, 7, 4, 1], [14, 11, 8, 5, 2]]
#
# Fails if that changes. Installs into a temporary folder; needs a package registry.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
cat > "$folder/try.py" <<'PYTHON'
import sys

import numpy as np
import tifffile
from PIL import Image

SEEN = [[12, 9, 6, 3, 0], [13, 10, 7, 4, 1], [14, 11, 8, 5, 2]]


def load(stored, compression):
    """What Pillow makes of an array stored with orientation 6."""
    photometric = "rgb" if stored.ndim == 3 else "minisblack"
    tag = [(274, "H", 1, 6, True)]
    tifffile.imwrite(
        sys.argv[1], stored, photometric=photometric, compression=compression, extratags=tag
    )
    assert np.array_equal(tifffile.imread(sys.argv[1]), stored)  # a valid file
    with Image.open(sys.argv[1]) as image:
        return np.array(image)


gray = np.arange(15, dtype=np.uint8).reshape(3, 5)
turned = np.rot90(gray, -1)
print("expected  ", turned.tolist())
print("compressed", load(gray, "zlib").tolist())
print("plain     ", load(gray, None).tolist())
assert np.array_equal(load(gray, "zlib"), turned)
assert load(gray, None).tolist() == SEEN
assert load(gray.astype(np.uint16), None).tolist() == SEEN
assert np.array_equal(load(gray.astype(np.float32), None), turned)
colour = np.stack([gray] * 3, -1)
assert np.array_equal(load(colour, None), np.rot90(colour, -1))
PYTHON
"$folder/venv/bin/python" "$folder/try.py" "$folder/image.tif"
