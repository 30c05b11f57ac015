"""Header extensions of fields: those of this package and of other programs."""

import json

import nibabel as nib
import numpy as np
import pytest

from dipy_nn_reg.io.fields import load_mapping


def extended(path, content):
    """Write a field in the format of ITK with a header extension."""
    image = nib.Nifti1Image(np.zeros((5, 6, 7, 1, 3), np.float32), np.eye(4))
    image.header.set_intent("vector")
    content = content if isinstance(content, bytes) else content.encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", content))
    nib.save(image, path)
    return path


ABOUT = {
    "format": "itk",
    "ndim": 3,
    "moving_shape": [5, 6, 7],
    "moving_affine": np.eye(4).tolist(),
    "prealign": np.eye(4).tolist(),
}


@pytest.mark.parametrize(
    "change",
    [
        {"format": "elastix"},
        {"format": 5},
        {"format": "fsl"},
        {"format": "dipy"},
        *[{"ndim": n} for n in (-1, "3", 2, 3.0, True, None, 10**30)],
        *[
            {"moving_shape": s}
            for s in (
                [10**30] * 3,
                [10**6] * 3,
                [5, 6],
                [5, 6, 0],
                [5, 6, -7],
                [5, 6, 7.5],
                [5, 6, True],
                "567",
                None,
                5,
            )
        ],
        *[
            {name: a}
            for name in ("moving_affine", "prealign")
            for a in (
                np.eye(3).tolist(),
                np.zeros((4, 4)).tolist(),
                [[1, 2], [3]],
                "x",
                None,
                [[np.nan] * 4] * 4,
                [[10**400] * 4] * 4,
                {"a": 1},
            )
        ],
        *[{"moving_zooms": z} for z in ([0, 1, 1], [1], "x", [np.inf] * 3)],
        *[{"repeated": r} for r in (True, 1, "yes")],
    ],
    ids=str,
)
def test_invalid_values_in_an_extension_are_refused(change, tmp_path):
    content = json.dumps({"dipy_nn_reg": ABOUT | change})
    with pytest.raises(ValueError, match=r"^Expected.*field.nii"):
        load_mapping(extended(tmp_path / "field.nii", content))


@pytest.mark.parametrize(
    "content",
    [
        '{"dipy_nn_reg": 5}',
        '{"dipy_nn_reg": {}}',
        ' { "dipy_nn_reg" : null}',
        '{"dipy_nn_reg": [1, 2]}',
        '{"dipy_nn_reg": {',
        '{"dipy_nn_reg": ' + "[" * 10**5,
        b'{"dipy_nn_reg": "\xff\xfe"}',
        *[
            json.dumps({"dipy_nn_reg": {k: v for k, v in ABOUT.items() if k != name}})
            for name in ABOUT
        ],
    ],
    ids=lambda content: repr(content[:30]),
)
def test_damaged_extensions_of_this_package_are_refused(content, tmp_path):
    with pytest.raises(ValueError, match="header extension as dipy_nn_reg writes it"):
        load_mapping(extended(tmp_path / "field.nii", content))


@pytest.mark.parametrize("content", ["no JSON", "5", "[" * 10**5, b"\xff", "{}", ""])
def test_extensions_of_other_programs_are_ignored(content, tmp_path):
    mapping = load_mapping(extended(tmp_path / "field.nii", content))
    assert tuple(mapping.domain_shape) == (5, 6, 7)


def test_a_format_that_contradicts_the_file_is_refused(tmp_path):
    path = extended(tmp_path / "field.nii", json.dumps({"dipy_nn_reg": ABOUT}))
    with pytest.raises(ValueError, match="format 'afni'.*says that it is.*'itk'"):
        load_mapping(path, format="afni")
