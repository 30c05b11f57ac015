"""Global settings of Keras, which concern only layers of the user's own."""

import subprocess
import sys

import numpy as np
import numpy.testing as npt
import pytest

START = """
import sys
import keras, numpy as np
SETTINGS = {settings!r}
if "policy" in SETTINGS:
    keras.config.set_dtype_policy(SETTINGS["policy"])
if "floatx" in SETTINGS:
    keras.config.set_floatx(SETTINGS["floatx"])
if "layout" in SETTINGS:
    keras.config.set_image_data_format(SETTINGS["layout"])
def settings():
    return (keras.config.dtype_policy().name, keras.config.floatx(),
            keras.config.image_data_format())
before = settings()
from dipy_nn_reg import AffineRegistration, DeformableRegistration, register
from dipy_nn_reg import transform
from dipy_nn_reg.losses import choices, penalties
rng = np.random.default_rng(0)
images = rng.random((4, 13, 12), dtype="f4")
for axis in (1, 2):
    for _ in range(2):
        images = (images + np.roll(images, 1, axis)) / 2
results = {{}}
"""
PAIRS = """
for name, options in {{
    "mi": dict(loss="mi", mask=(images[1] > 0.5).astype(int)),
    "mind": dict(loss="mind", transform="bspline_velocity"),
    "lncc": dict(),
}}.items():
    mapping, _ = register(
        images[0], images[1], prealign=None, level_iters=(2, 3), **options
    )
    results[name] = np.stack([mapping.forward, mapping.backward])
"""
MODELS = """
affine = AffineRegistration(input_shape=(13, 12), seed=0)
affine.fit(images, epochs=1, batch_size=2, verbose=0)
results["matrix"] = affine.predict_affine(images, images[0])
model = DeformableRegistration(input_shape=(13, 12), affine=affine, seed=0)
history = model.fit(images, epochs=1, batch_size=2, augment=True, verbose=0)
results["warped"], results["field"] = model.predict(
    images, images[0], return_field=True
)
results["alone"] = model.predict_field(images, images[0])
mapping, _ = register(
    images[0], images[1], prealign=None, model=model, level_iters=(2,)
)
results["model"] = mapping.forward
results["mapping"] = model.predict_mapping(images[0], images[1]).forward
results["evaluated"] = np.array(
    list(model.evaluate(images, images[0], verbose=0).values())
)
"""
FUNCTIONS = """
field = rng.normal(size=(1, 13, 12, 2)).astype("f4")
image, other = images[:1, ..., None], images[1:2, ..., None]
results["sampled"] = transform.sample(image[0, ..., 0], field[0] + 5)
results["nearest"] = transform.warp(image, field, interpolation="nearest")
results["composed"] = transform.compose(field, field)
results["integrated"] = transform.integrate(field)
for name, (loss, *_) in choices.LOSSES.items():
    results["loss " + name] = loss(*map(keras.ops.convert_to_tensor, (image, other)))
for name in ("gradient", "tv", "bending", "folding"):
    penalty = getattr(penalties, name)
    results["penalty " + name] = penalty(keras.ops.convert_to_tensor(field))
"""
END = """
assert settings() == before, (settings(), before)
np.savez({path!r}, **{{n: keras.ops.convert_to_numpy(a) for n, a in results.items()}})
"""
ALL = PAIRS + MODELS + FUNCTIONS


@pytest.fixture(scope="module")
def compute(tmp_path_factory):
    """Return a function that runs code under some settings and returns its results."""

    def run(code, **settings):
        path = str(tmp_path_factory.mktemp("settings") / "results.npz")
        code = (START + code + END).format(settings=settings, path=path)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        with np.load(path) as file:
            return dict(file)

    return run


@pytest.fixture(scope="module")
def defaults(compute):
    """Return the results of all the code under the default settings."""
    return compute(ALL)


SETTINGS = [
    {"policy": "float64", "floatx": "float64"},
    {"policy": "mixed_bfloat16", "floatx": "float16", "layout": "channels_first"},
]


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_settings_of_keras_change_nothing(settings, compute, defaults):
    assert_same(compute(ALL, **settings), defaults)


def assert_same(results, expected):
    assert results.keys() == expected.keys()
    for name, values in results.items():
        assert values.dtype == expected[name].dtype, name
        npt.assert_array_equal(values, expected[name], err_msg=name)
