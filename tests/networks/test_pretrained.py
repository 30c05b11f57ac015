import numpy as np
import pytest

from dipy_nn_reg import DeformableRegistration, metrics
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.losses.images import lncc
from dipy_nn_reg.networks import pretrained
from dipy_nn_reg.networks.pretrained import FILES, pretrained_weights

SHAPES = {2: (48, 56), 3: (48, 56, 52)}


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def model(request):
    return DeformableRegistration.pretrained(ndim=request.param)


@pytest.fixture
def borrowed(model):
    """Return the model, which gets its weights back after the test."""
    weights = model.model.get_weights()
    yield model
    model.model.set_weights(weights)


def test_images_that_it_has_never_seen_are_registered(model):
    shape = SHAPES[model.ndim]
    people = [make_phantoms(2, shape=shape, contrast=c, seed=4) for c in ("t2", "t1")]
    (moving, moving_labels), (static, static_labels) = people
    displacement = model.predict_field(moving, np.roll(static, 1, axis=0))
    gains = []
    for u, labels, others in zip(
        displacement, moving_labels, np.roll(static_labels, 1, axis=0)
    ):
        assert metrics.folding(u) == 0
        before, after = (
            np.nanmean(list(metrics.dice_of_labels(others, warped).values()))
            for warped in (labels, read_nearest(labels, u))
        )
        gains.append(after - before)
    assert np.mean(gains) > 0.1


def read_nearest(labels, displacement):
    """Return labels at displaced voxels, by NumPy alone."""
    positions = np.indices(labels.shape) + np.moveaxis(displacement, -1, 0)
    highest = np.reshape(labels.shape, (-1, *[1] * labels.ndim)) - 1
    return labels[tuple(np.clip(np.rint(positions), 0, highest).astype(int))]


def test_a_higher_smoothness_gives_smoother_fields(borrowed):
    ndim = borrowed.ndim
    images, _ = make_phantoms(2, shape=SHAPES[ndim], seed=2)
    rough = []
    for smoothness in (0, 0.5, 1):
        borrowed.model.set_weights(pretrained_weights(ndim, smoothness))
        u = borrowed.predict_field(images[:1], images[1:])[0]
        rough.append(metrics.sd_log_jacobian(u))
    assert rough == sorted(rough, reverse=True)


@pytest.mark.backends
def test_options_of_a_training_reach_the_model():
    options = {"learning_rate": 0.001, "label_weight": 3.0, "seed": 2}
    model = DeformableRegistration.pretrained(ndim=2, **options)
    assert {name: model.options[name] for name in options} == options
    assert model.options["smoothness"] == 0.3 and model.options["loss"].func is lncc
    other = DeformableRegistration.pretrained(ndim=2, penalty="tv")
    plain = DeformableRegistration(loss=model.options["loss"], penalty="tv")
    assert other.options["loss"].func is lncc
    assert other.options["smoothness"] == plain.options["smoothness"]
    # A weight of the penalty that suits another loss is chosen.
    other = DeformableRegistration.pretrained(ndim=2, loss="ncc")
    plain = DeformableRegistration(loss="ncc")
    assert other.options["loss"] == "ncc"
    assert other.options["smoothness"] == plain.options["smoothness"]


def test_weights_are_float32_and_all_finite():
    for ndim in FILES:
        for weights in pretrained_weights(ndim):
            assert weights.dtype == np.float32 and np.isfinite(weights).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ndim": 4}, "ndim to be one of.*ndim=4"),
        ({"ndim": 3, "smoothness": 1.5}, "smoothness.*<= 1.*1.5"),
        ({"ndim": 3, "smoothness": -0.1}, "smoothness.*-0.1"),
        ({"ndim": 3, "smoothness": None}, "smoothness.*None"),
        ({"network": "unet"}, "each option of the pretrained model.*'network'"),
        ({"transform": "displacement"}, "each option of the pretrained.*'transform'"),
        ({"loss": "nothing"}, "loss.*'nothing'"),
        ({"penalty": 3}, "penalty.*3"),
        ({"learning_rate": -1}, "learning_rate.*-1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        DeformableRegistration.pretrained(**options)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 damaged"])
def test_a_damaged_file_is_one_clear_line(content, tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    if content is not None:
        (tmp_path / "weights" / FILES[3]).write_bytes(content)
    monkeypatch.setattr(pretrained, "files", lambda package: tmp_path)
    pretrained._read.cache_clear()
    with pytest.raises(ValueError, match="Expected the weights.*cannot be read"):
        pretrained_weights(3)
