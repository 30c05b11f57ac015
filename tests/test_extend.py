"""The page on extensions: each change that it shows is made, and works."""

from pathlib import Path
import re
import shutil
import subprocess
import sys
from textwrap import dedent

import pytest

import dipy_nn_reg

PAGE = Path(__file__).parents[1] / "doc" / "extend.rst"
BLOCK = re.compile(
    r"\.\. code-block:: python\n   :caption: (?P<place>.+)\n\n(?P<code>(?:   .*\n|\n)+)"
)
START = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from dipy_nn_reg import DeformableRegistration, register

rng = np.random.default_rng(0)
static = gaussian_filter(rng.random((24, 26)), 2)
moving = np.roll(static, 1, axis=0)
"""
TRAIN = """
images = np.stack([moving, static])
model = DeformableRegistration(input_shape=(24, 26), seed=0, {option})
model.fit(images, epochs=1, batch_size=2, verbose=0)
model.save("model.keras")
again = DeformableRegistration.load("model.keras")
np.testing.assert_array_equal(
    again.predict(images, static), model.predict(images, static)
)
"""
CHECKS = {
    "loss, network and transform": START
    + TRAIN.format(option='loss="charbonnier"')
    + TRAIN.format(option='network="tiny"')
    + TRAIN.format(option='transform="tps_velocity"')
    + """
from dipy_nn_reg.checks.choices import check_choices

check_choices(loss="charbonnier", network="tiny", transform="tps_velocity")
_, outcome = register(moving, static, loss="charbonnier", prealign=None)
assert outcome.used == "optimized" and outcome.ncc_after > outcome.ncc_before
""",
    "format": START
    + """
from dipy_nn_reg.io.fields import load_mapping, save_mapping
from dipy_nn_reg.io.nifti_writing import write_image
from dipy_nn_reg.mapping import displacement_to_mapping

affine = np.array([[0, -2, 0, 5], [1.5, 0, 0, 7], [0, 0, 3, -2], [0, 0, 0, 1.0]])
field = rng.normal(0, 0.3, (7, 8, 9, 3)).astype("f4")
write_image("field.nii.gz", field, affine)
mapping = load_mapping("field.nii.gz", format="voxelmorph", prealign=np.eye(4))
expected = field @ affine[:3, :3].T
np.testing.assert_allclose(mapping.backward, expected, atol=1e-5)
save_mapping("again.nii.gz", mapping, format="voxelmorph")
again = load_mapping("again.nii.gz")
np.testing.assert_allclose(again.backward, expected, atol=1e-5)
""",
    "file": START
    + """
import sys
import nibabel as nib
from dipy_nn_reg.io.fields import load_mapping, save_mapping
from dipy_nn_reg.io.nifti_writing import write_image
from dipy_nn_reg.mapping import displacement_to_mapping
from dipy_nn_reg.workflows.cli import run

affine = np.array([[0, -2, 0, 5], [1.5, 0, 0, 7], [0, 0, 3, -2], [0, 0, 0, 1.0]])
field = rng.normal(0, 0.3, (7, 8, 9, 3)).astype("f4")
grids = {"static_affine": affine, "moving_affine": affine, "moving_shape": (9, 9, 9)}
mapping = displacement_to_mapping(field, prealign=np.diag([1.1, 1, 1, 1]), **grids)
save_mapping("field.npz", mapping, format="npz")
for format in ("npz", None):
    again = load_mapping("field.npz", format=format)
    np.testing.assert_allclose(again.backward, mapping.backward, atol=1e-5)
    np.testing.assert_array_equal(again.prealign, mapping.prealign)
    assert tuple(again.domain_shape) == (9, 9, 9)
save_mapping("field.nii", mapping)
for path, format in (("field.npz", "itk"), ("field.nii", "npz")):
    with pytest.raises(ValueError, match=path):
        load_mapping(path, format=format)
    with pytest.raises(ValueError, match=path):
        save_mapping(path, mapping, format=format)

values = gaussian_filter(rng.random((9, 9, 9)), 1).astype("f4")
write_image("moving.nii", values, affine)
write_image("static.nii", values[:7, :8], affine)
results = []
for ending in ("npz", "nii"):
    sys.argv = ["dipy_nn_reg_apply", "static.nii", "moving.nii", f"field.{ending}"]
    sys.argv += ["--out_file", f"{ending}.nii"]
    run()
    results.append(nib.load(f"{ending}.nii").get_fdata())
np.testing.assert_allclose(*results, atol=1e-5)
""",
    "file of a command": START
    + """
import sys
from dipy_nn_reg.io.fields import load_mapping
from dipy_nn_reg.io.nifti_writing import write_image
from dipy_nn_reg.workflows.cli import run

for name, image in (("static", static), ("moving", moving)):
    write_image(f"{name}.nii", image[..., None].astype("f4"), np.eye(4))
command = "dipy_nn_reg_register static.nii moving.nii --no_report --prealign none"
command += " --level_iters 5 --inverse --out_inverse inverse.npz --field_format npz"
sys.argv = command.split()
with pytest.raises(SystemExit, match="Expected out_field to end with '.npz'"):
    run()
sys.argv = [*command.split(), "--out_field", "field.npz"]
run()
for name in ("field", "inverse"):
    assert load_mapping(f"{name}.npz").backward.shape[:2] == (24, 26)
""",
    "command": START
    + """
import sys
from dipy_nn_reg.io.fields import load_mapping, save_mapping
from dipy_nn_reg.mapping import displacement_to_mapping
from dipy_nn_reg.workflows.cli import run

field = rng.normal(0, 0.3, (7, 8, 9, 3)).astype("f4")
mapping = displacement_to_mapping(field)
save_mapping("field.nii.gz", mapping)
sys.argv = ["dipy_nn_reg_convert", "field.nii.gz", "--format", "afni"]
sys.argv += ["--out_field", "afni.nii.gz"]
run()
again = load_mapping("afni.nii.gz", format="afni")
np.testing.assert_allclose(again.backward, mapping.backward, atol=1e-4)
""",
}


def blocks_of_the_page():
    """Return what the page puts where: pairs of a place and code."""
    found = BLOCK.finditer(PAGE.read_text())
    return [(match["place"], dedent(match["code"]).strip() + "\n") for match in found]


def apply(place, code, folder):
    """Write a file, or add a row to a table."""
    name, _, table = place.partition(": ")
    path = folder / name
    if not table:
        assert not path.exists()
        path.write_text(code)
        return
    text, rows = path.read_text(), []
    for line in code.splitlines():
        if line.startswith("from "):
            docstring_ends = text.index('"""', 3) + 3
            text = f"{text[:docstring_ends]}\n\n{line}{text[docstring_ends:]}"
        else:
            rows.append(f"    {line}" if line else "")
    assert text.count(f"\n{table} = {{\n") == 1
    path.write_text(
        text.replace(f"\n{table} = {{\n", f"\n{table} = {{\n" + "\n".join(rows) + "\n")
    )


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the package with all that the page adds."""
    folder = tmp_path_factory.mktemp("extended")
    package = Path(dipy_nn_reg.__file__).parent
    shutil.copytree(package, folder / package.name)
    for place, code in blocks_of_the_page():
        apply(place, code, folder)
    return folder


def test_the_page_adds_one_of_each_kind():
    places = [place for place, _ in blocks_of_the_page()]
    tables = [place.partition(": ")[2] for place in places if ": " in place]
    assert tables == ["LOSSES", "NETWORKS", "TRANSFORMS", "FORMATS", "FORMATS", "FLOWS"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.slow if "network" in kind else [])
        for kind in CHECKS
    ],
)
def test_an_addition_works(kind, extended, tmp_path):
    code = f"import sys; sys.path.insert(0, {str(extended)!r})\n{CHECKS[kind]}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
