"""Damage done to files: bytes, headers, extensions, names."""

import gzip
import json
import os
import struct
import zipfile

import numpy as np

from fuzzing import files

# Offset, format and absurd values of entries of a NIfTI-1 header.
_HEADER = {
    "sizeof_hdr": (0, "<i", (0, -1, 540, 2**31 - 1)),
    "dim[0]": (40, "<h", (0, -1, 1, 2, 5, 7, 8, 100, 32767)),
    "dim[1]": (42, "<h", (0, -1, 1, 3, 32767, -32768)),
    "dim[2]": (44, "<h", (0, -1, 1, 32767)),
    "dim[3]": (46, "<h", (0, -1, 2, 32767)),
    "dim[4]": (48, "<h", (0, -5, 2, 32767)),
    "intent_code": (68, "<h", (-1, 1007, 2001, 2006, 2007, 2008, 1006, 9999)),
    "datatype": (70, "<h", (0, 1, 3, 2, 8, 16, 32, 64, 128, 512, 1024, 1536, 9999)),
    "bitpix": (72, "<h", (0, 1, -8, 32767)),
    "pixdim[0]": (76, "<f", (0, -1, 2, np.nan, np.inf)),
    "pixdim[1]": (80, "<f", (0, -1, np.nan, np.inf, 1e-30, 1e30)),
    "pixdim[3]": (88, "<f", (0, -2, np.nan, np.inf)),
    "vox_offset": (108, "<f", (0, -352, 1, 100, 353, 1e6, 1e30, np.nan, np.inf)),
    "scl_slope": (112, "<f", (0, -1, np.nan, np.inf, 1e30, 1e-45)),
    "scl_inter": (116, "<f", (1e30, np.nan, np.inf, -np.inf)),
    "xyzt_units": (123, "<B", (0, 1, 2, 3, 7, 24, 255)),
    "qform_code": (252, "<h", (0, 1, -1, 5, 32767)),
    "sform_code": (254, "<h", (0, 1, -1, 5, 32767)),
    "quatern_b": (256, "<f", (1, 2, np.nan, np.inf, 1e30)),
    "qoffset_x": (268, "<f", (np.nan, np.inf, 1e30)),
    "srow_x[0]": (280, "<f", (0, -2, np.nan, np.inf, 1e-30, 1e30)),
    "srow_x[3]": (292, "<f", (np.nan, np.inf, 1e30)),
    "srow_y[1]": (300, "<f", (0, -2, np.nan)),
    "magic": (344, "4s", (b"", b"ni1\0", b"n+2\0", b"\xff\xff\xff\xff")),
    "extension flag": (348, "4s", (b"\1\0\0\0", b"\xff\0\0\0")),
}


# Kinds of damage; one that occurs twice is twice as probable.
_HOW = ("flip", "flip", "flips", "cut short", "cut", "more", "zeros", "empty", "text")


def damage_bytes(path, rng):
    """Damage any file, and return the kind of damage."""
    content = bytearray(path.read_bytes())
    how = _HOW[rng.integers(len(_HOW))]
    path.write_bytes(_damaged(content, how, rng))
    return how


def _damaged(content, how, rng):
    """Return a bytearray with a kind of damage, as bytes."""
    if how == "flip":
        place = int(rng.integers(len(content)))
        content[place] ^= 1 << int(rng.integers(8))
    elif how == "flips":
        for place in rng.integers(0, len(content), 20):
            content[place] ^= int(rng.integers(1, 256))
    elif how == "cut short":
        del content[-int(rng.integers(1, 11)) :]
    elif how == "cut":
        del content[int(rng.integers(len(content))) :]
    elif how == "more":
        content += bytes(rng.integers(0, 256, 30, np.uint8))
    elif how == "zeros":
        start = int(rng.integers(len(content)))
        length = len(content[start : start + 50])
        content[start : start + 50] = bytes(length)
    elif how == "empty":
        content = bytearray()
    else:
        content = bytearray(b"This is text.\n")
    return bytes(content)


def damage_header(path, rng):
    """Put absurd values into the header of a NIfTI file, and return which."""
    packed = path.suffix == ".gz"
    content = path.read_bytes()
    content = bytearray(gzip.decompress(content) if packed else content)
    said = []
    for _ in range(1 if rng.random() < 0.7 else 2):
        name = list(_HEADER)[rng.integers(len(_HEADER))]
        offset, form, values = _HEADER[name]
        value = values[rng.integers(len(values))]
        struct.pack_into(form, content, offset, value)
        said.append(f"{name} = {value}")
    path.write_bytes(gzip.compress(content, mtime=0) if packed else bytes(content))
    return "header: " + ", ".join(said)


def claim_size(path, rng):
    """Make the header of a small file claim many voxels."""
    packed = path.suffix == ".gz"
    content = path.read_bytes()
    content = bytearray(gzip.decompress(content) if packed else content)
    sizes = ((1300, 1000, 1000), (32767, 32767, 32767), (2000, 2000, 1))
    sizes = sizes[rng.integers(len(sizes))]
    struct.pack_into("<hhhh", content, 40, 3, *sizes)
    path.write_bytes(gzip.compress(content, mtime=0) if packed else bytes(content))
    return f"claims {' x '.join(map(str, sizes))}"


_DEEP = "[" * 3000 + "]" * 3000
_ABOUTS = {
    "a number": {"dipy_nn_reg": 5},
    "nothing": {"dipy_nn_reg": {}},
    "a list": {"dipy_nn_reg": [1, 2]},
    "text": {"dipy_nn_reg": "itk"},
    "null": {"dipy_nn_reg": None},
}
_ENTRIES = {
    "format": ("x", None, 3, ["itk"], "fsl", "dipy"),
    "ndim": (-1, "3", 2, 3, 4, None, 2.5, 10**30),
    "moving_shape": (
        [10**30] * 3,
        [10**6] * 3,
        [5, 5],
        [],
        "abc",
        [1.5, 2, 3],
        [-1, 4, 4],
        [0, 0, 0],
        None,
        5,
    ),
    "moving_affine": ("x", [[1]], None, [[0] * 4] * 4, [[float("nan")] * 4] * 4, 7),
    "prealign": ("x", np.eye(3).tolist(), [[0] * 4] * 4, [[1e400] * 4] * 4, {}, 7),
}


def damage_extension(path, rng):
    """Change the header extension of a field of ours."""
    about = files.read_extension(path)
    how = rng.integers(5)
    if how == 0 or not about:
        name = list(_ABOUTS)[rng.integers(len(_ABOUTS))]
        content = json.dumps(_ABOUTS[name])
    elif how == 1:
        name, content = ("deep", _DEEP) if rng.random() < 0.5 else ("no JSON", "{")
    elif how == 2:
        name = list(_ENTRIES)[rng.integers(len(_ENTRIES))]
        about["dipy_nn_reg"].pop(name, None)
        name, content = f"without {name}", json.dumps(about)
    else:
        name = list(_ENTRIES)[rng.integers(len(_ENTRIES))]
        values = _ENTRIES[name]
        about["dipy_nn_reg"][name] = values[rng.integers(len(values))]
        content = json.dumps(about)
        name = f"{name} = {str(about['dipy_nn_reg'][name])[:40]}"
    files.add_extension(path, content.encode())
    return f"extension: {name}"


_TEXTS = {
    "words": "hello world\nfoo bar\n",
    "nothing": "",
    "blank lines": "\n \n\t\n",
    "NaN": "1,2,3\nnan,1,2\n",
    "inf": "1,2,3\ninf,1,2\n",
    "1e400": "1,2,3\n1e400,1,2\n",
    "two columns": "1,2\n3,4\n",
    "four columns": "1,2,3,4\n5,6,7,8\n",
    "ragged": "1,2,3\n4,5\n",
    "semicolons": "1;2;3\n4;5;6\n",
    "decimal commas": "1,5 2,5 3,5\n",
    "header of numbers": "0,1,2\n1,2,3\n4,5,6\n",
    "header of pandas": ",x,y,z\n0,1,2,3\n1,4,5,6\n",
    "byte order mark": "\ufeff1,2,3\n4,5,6\n",
    "header with mark": "\ufeffx,y,z\n1,2,3\n",
    "comments": "# c\n1 2 3 # end\n",
    "hexadecimal": "0x10,1,2\n",
    "underscores": "1_000,2,3\n",
    "complex": "1j,2,3\n",
    "quotes": '"1","2","3"\n',
    "carriage returns": "1,2,3\r4,5,6\r",
    "NULs": "1,2,3\0\n4,5,6\n",
    "one number": "5\n",
    "many digits": "1" * 5000 + ",2,3\n",
    "long line": "1," * 50000 + "2\n",
    "singular": "1 0 0 0\n0 0 0 0\n0 0 1 0\n0 0 0 1\n",
    "another last row": "1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 1 1\n",
    "3 x 3": "1 0 0\n0 1 0\n0 0 1\n",
    "3 x 4": "1 0 0 0\n0 1 0 0\n0 0 1 0\n",
    "ITK": "#Insight Transform File V1.0\nTransform: Affine\nParameters: 1 0 0\n",
    "arabic digits": "١,٢,٣\n",
}


def damage_text(path, rng):
    """Put odd content into a table of numbers."""
    if rng.random() < 0.2:
        return damage_bytes(path, rng)
    name = list(_TEXTS)[rng.integers(len(_TEXTS))]
    path.write_text(_TEXTS[name], encoding="utf-8")
    return f"text: {name}"


def damage_name(path, rng):
    """Give a file an odd name; it stays whole."""
    ending = "".join(path.suffixes)
    names = {
        "spaces": f"a b  c{ending}",
        "unicode": f"naïve 脳{ending}",
        "brackets": f"scan[1]{ending}",
        "star": f"a*b?{ending}",
        "newline": f"a\nb{ending}",
        "escape": f"a\x1b[31mb{ending}",
        "not UTF-8": os.fsdecode(b"\xe9t\xe9" + ending.encode()),
        "255 bytes": "x" * (255 - len(ending)) + ending,
        "leading dash": f"-x{ending}",
        "leading dot": f".x{ending}",
        "quotes": f"a'b\"c;d&e{ending}",
        "percent": f"50%41#?{ending}",
        "upper case": f"X{ending.upper()}",
        "no ending": "x",
        "double ending": f"x{ending}{ending}",
    }
    name = list(names)[rng.integers(len(names))]
    new = path.with_name(names[name])
    path.rename(new)
    return f"name: {name}", new


def damage_zip(path, rng, replace):
    """Rewrite the members of a zip file; ``replace`` takes a name and its content."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            for new_name, new in replace(name, content):
                file.writestr(new_name, new)
