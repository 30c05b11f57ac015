"""Valid calls of functions on tensors, and of those built on them."""

from dipy_nn_reg import losses, transform
from dipy_nn_reg.data import phantoms
from dipy_nn_reg.losses import penalties
from fuzzing import scenes
from fuzzing.call import (
    Call,
    boolean,
    field_of,
    image,
    integer,
    maybe,
    name_of,
    shape,
    tensor,
)

LOSSES = {"mse": {}, "ncc": {}, "lncc": {"window": 3}, "mi": {"bins": 8}, "mind": {}}
LOSSES["robust_lncc"] = {"window": 3}
PENALTIES = ("gradient", "tv", "bending", "folding", "folded")


def identity_grid(rng, folder):
    return Call(transform.identity_grid, shape=shape(scenes.any_shape(rng)))


def _image_and_field(rng):
    size = scenes.any_shape(rng, few=True)
    array, u = scenes.blob(rng, size), scenes.field(rng, size)
    if rng.random() < 0.4:
        array, u = array[None, ..., None], u[None]
    return array, u


def _options(rng):
    return maybe(
        rng,
        interpolation=name_of(rng.choice(["linear", "nearest"]).item()),
        border=name_of(rng.choice(["zero", "repeat"]).item()),
    )


def sample(rng, folder):
    array, positions = _image_and_field(rng)
    return Call(
        transform.sample,
        image=image(array),
        positions=field_of(positions + 2),
        nan="through",
        **_options(rng),
    )


def warp(rng, folder):
    array, u = _image_and_field(rng)
    return Call(
        transform.warp,
        image=image(array),
        displacement=field_of(u),
        nan="through",
        **_options(rng),
        **maybe(rng, image_is_constant=boolean(True)),
    )


def compose(rng, folder):
    _, u = _image_and_field(rng)
    return Call(
        transform.compose, first=field_of(u), second=field_of(u / 2), nan="through"
    )


def integrate(rng, folder):
    _, u = _image_and_field(rng)
    return Call(
        transform.integrate,
        velocity=field_of(u),
        nan="through",
        **maybe(rng, steps=integer(3)),
    )


def _batch(rng):
    size = scenes.any_shape(rng, few=True)
    return scenes.blob(rng, size)[None, ..., None]


def loss(rng, folder):
    """Return a call of one of the losses, on arrays that are converted to tensors."""
    name = list(LOSSES)[rng.integers(len(LOSSES))]
    static = _batch(rng)
    if name == "lncc" and 2 in static.shape:  # which holds no window
        static = scenes.blob(rng, scenes.FEW_FLAT[0])[None, ..., None]
    mask = tensor((static > 0.3).astype("float32"))
    options = {n: integer(value) for n, value in LOSSES[name].items()}
    return Call(
        getattr(losses, name),
        static=tensor(static),
        warped=tensor(static[:, ::-1]),
        nan="through",
        **maybe(rng, mask=mask),
        **options,
    )


def penalty(rng, folder):
    """Return a call of one of the penalties."""
    name = PENALTIES[rng.integers(len(PENALTIES))]
    size = scenes.any_shape(rng, few=True)
    if name == "bending" and min(size) < 3:
        size = scenes.FEW_DEEP[0]
    u = scenes.field(rng, size)[None]
    argument = "displacement" if name.startswith("fold") else "field"
    return Call(getattr(penalties, name), nan="through", **{argument: tensor(u)})


def inverse_consistency(rng, folder):
    u = scenes.field(rng, scenes.any_shape(rng, few=True))[None]
    return Call(
        penalties.inverse_consistency,
        forward=tensor(u),
        backward=tensor(-u),
        nan="through",
    )


def make_phantoms(rng, folder):
    size = ((24, 24), (25, 31))[rng.integers(2)]
    return Call(
        phantoms.make_phantoms,
        n=integer(1),
        shape=shape(size),
        seed=integer(3),
        **maybe(rng, contrast=name_of(rng.choice(["t1", "t2"]).item())),
    )
