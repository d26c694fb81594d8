#!/usr/bin/env bash
# tifffile 2026.3.3: tags of a GeoTIFF copied from one file to another.
#
# Expected: what tag.code, tag.dtype, tag.count and tag.value say of a tag that was read can be given
# to imwrite as one of its extratags, and writes the same tag.
# Seen: true of numbers and of plain text. Text with other letters (the name of a coordinate system,
# say) is read as str, in UTF-8 or Latin-1 as it comes, but such a str is refused on writing. bytes
# are taken as they are, so value.encode() writes what reads the same.
#
#   read                 'Système géodésique|'
#   written as read      ValueError: TIFF strings must be 7-bit ASCII
#   written as bytes     'Système géodésique|'
#
# Fails if that changes. Installs into a temporary folder; needs a package registry.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tifffile==2026.3.3 numpy==2.4.6
cat > "$folder/try.py" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import tifffile

folder, name = Path(sys.argv[1]), "Système géodésique|"
pixels = np.zeros((4, 5), np.float32)
scale = (33550, 12, 3, (10.0, 10.0, 0.0), True)


def written(file, text):
    tifffile.imwrite(file, pixels, extratags=[scale, text])
    with tifffile.TiffFile(file) as tiff:
        tags = tiff.pages[0].tags
        assert tags[33550].value == scale[3]
        tag = tags[34737]
        return tag.code, int(tag.dtype), tag.count, tag.value, True


plain = written(folder / "plain.tif", (34737, 2, 0, "WGS 84|", True))
assert written(folder / "again.tif", plain) == plain
for encoding in ("utf-8", "latin-1"):
    read = written(folder / "a.tif", (34737, 2, 0, name.encode(encoding), True))
    print("read             ", repr(read[3]))
    assert read[3] == name
    try:
        written(folder / "b.tif", read)
    except ValueError as error:
        print("written as read  ", f"ValueError: {error}")
    else:
        raise SystemExit("text with other letters is written now")
    back = written(folder / "c.tif", (34737, 2, 0, read[3].encode(), True))
    print("written as bytes ", repr(back[3]))
    assert back[3] == name
PYTHON
"$folder/venv/bin/python" "$folder/try.py" "$folder"
