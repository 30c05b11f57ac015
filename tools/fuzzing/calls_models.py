"""Valid calls of ``register``, of the models, and of their methods."""

import numpy as np

from dipy_nn_reg import AffineRegistration, DeformableRegistration
from dipy_nn_reg.pairwise import register as one_pair
from fuzzing import scenes
from fuzzing.call import (
    Argument,
    Call,
    affine,
    array_of_int,
    boolean,
    count,
    fixed,
    image,
    instance,
    integer,
    maybe,
    name_of,
    number,
    sequence,
    shape,
)

TRANSFORMS = ("velocity", "displacement")
NETWORKS = ("unet", "voxelmorph1", "encoder_decoder", "fcn")
LOSSES = ("ncc", "mse", "mi", "mind")
LEVELS = (2, 2)


def _one_pair(rng):
    """Return two images, perhaps of one slice, and affines that fit them."""
    ndim = int(rng.choice([2, 2, 3]))
    moving, static = scenes.pair(ndim)
    affines = {}
    if rng.random() < 0.5:
        size = 4 if ndim == 2 and rng.random() < 0.5 else ndim + 1
        if size == 4 and ndim == 2:
            moving, static = moving[..., None], static[..., None]
        grid = np.diag([*[2.0] * (size - 1), 1])
        affines = {"moving_affine": affine(grid), "static_affine": affine(grid.copy())}
    return ndim, {"moving": image(moving), "static": image(static), **affines}


def _annotations(rng, size):
    """Return labels of both images and a mask, each or none of them."""
    annotations = {}
    if rng.random() < 0.3:
        annotations = {
            "moving_labels": array_of_int(scenes.labels(rng, size)),
            "static_labels": array_of_int(scenes.labels(rng, size)),
            "label_weight": number(0.5),
        }
    if rng.random() < 0.3:
        mask = np.ones(size, np.int32)
        mask[:4] = 0
        annotations["mask"] = array_of_int(mask)
    return annotations


def register(rng, folder):
    ndim, images = _one_pair(rng)
    extra = _annotations(rng, images["static"].value.shape)
    if rng.random() < 0.15:
        extra["model"] = fixed(scenes.model(ndim))
    if rng.random() < 0.1:
        extra["optimize"] = boolean(True)
    return Call(
        one_pair.register,
        prealign=name_of(None if rng.random() < 0.8 else "rigid"),
        level_iters=sequence(LEVELS),
        **images,
        **extra,
        **maybe(
            rng,
            0.2,
            smoothness=number(0.5),
            voxel_size=number(2.0),
            num_channels=integer(1),
            penalty=name_of("gradient"),
            loss=name_of("mse"),
            transform=name_of("velocity"),
            field_stride=integer(1),
            spacing=Argument("integer", None),
        ),
    )


def _options_that_fit(rng, ndim):
    """Return options of a model that only fit together."""
    options = {}
    if rng.random() < 0.3:
        options = {"affine": instance(scenes.model(ndim, "affine"))}
    if rng.random() < 0.2:  # dirnet predicts control points only
        options = {"network": name_of("dirnet"), "transform": name_of("bspline")}
    return options


def deformable(rng, folder):
    ndim = int(rng.choice([2, 2, 3]))
    fits = _options_that_fit(rng, ndim)
    return Call(
        _described(DeformableRegistration),
        call_name="DeformableRegistration",
        input_shape=shape(scenes.PAIRS[ndim]),
        **{
            "network": name_of(rng.choice(NETWORKS).item()),
            "transform": name_of(rng.choice(TRANSFORMS).item()),
            **fits,
        },
        **maybe(
            rng,
            0.25,
            num_channels=integer(1),
            spacing=Argument("integer", None),
            field_stride=Argument("integer", None),
            loss=name_of(rng.choice(LOSSES).item()),
            penalty=name_of("gradient"),
            smoothness=number(0.1),
            label_weight=number(1.0),
            landmark_weight=number(0.01),
            optimizer=name_of("adam"),
            learning_rate=number(0.001),
            precision=name_of("float32"),
            seed=integer(0),
        ),
    )


def affine_model(rng, folder):
    return Call(
        _described(AffineRegistration),
        call_name="AffineRegistration",
        input_shape=shape(scenes.PAIRS[2]),
        network=name_of("voxelmorph1"),
        **maybe(
            rng,
            0.3,
            num_channels=integer(1),
            passes=integer(2),
            loss=name_of("mse"),
            optimizer=name_of("adam"),
            learning_rate=number(0.001),
            precision=name_of("float32"),
            seed=integer(0),
        ),
    )


def _described(build):
    """Return what a model is made of, in place of the model."""

    def run(**options):
        model = build(**options).model
        return [w.shape for w in model.get_weights()]

    return run


def _batch(rng, n=2):
    ndim = int(rng.choice([2, 2, 3]))
    moving, static = scenes.pair(ndim)
    moving = np.stack([np.roll(moving, i, axis=1) for i in range(n)])
    return ndim, {"moving": image(moving), "static": image(static)}


def predict(rng, folder):
    ndim, images = _batch(rng)
    return Call(
        scenes.model(ndim).predict,
        **images,
        **maybe(rng, 0.3, return_field=boolean(True)),
    )


def predict_field(rng, folder):
    ndim, images = _batch(rng)
    kind = rng.choice(["deformable", "affine"]).item()
    return Call(scenes.model(ndim, kind).predict_field, **images)


def predict_affine(rng, folder):
    ndim, images = _batch(rng)
    return Call(scenes.model(ndim, "affine").predict_affine, **images)


def predict_mapping(rng, folder):
    ndim, images = _one_pair(rng)
    kind = rng.choice(["deformable", "affine", "displacement"]).item()
    return Call(
        scenes.model(ndim, kind).predict_mapping,
        prealign=name_of(None if rng.random() < 0.8 else "rigid"),
        **images,
        **maybe(rng, 0.2, voxel_size=number(2.0)),
    )


def refine(rng, folder):
    ndim, images = _one_pair(rng)
    return Call(
        scenes.model(ndim).refine,
        level_iters=sequence(LEVELS),
        **images,
        **maybe(rng, 0.3, smoothness=number(0.5), optimize=boolean(True)),
    )


def evaluate(rng, folder):
    ndim, images = _batch(rng)
    return Call(scenes.model(ndim).evaluate, verbose=fixed(0), **images)


def _supervision(rng, size):
    """Return labels or landmarks of four moving images and one static one, or none."""
    if rng.random() < 0.3:
        maps = np.stack([scenes.labels(rng, size) for _ in range(4)])
        return {
            "moving_labels": array_of_int(maps),
            "static_labels": array_of_int(maps[0]),
        }
    if rng.random() < 0.2:
        spots = rng.integers(1, 8, (4, 3, len(size))) * 1.0
        return {
            "moving_landmarks": Argument("points", spots),
            "static_landmarks": Argument("points", spots[0]),
        }
    return {}


def fit(rng, folder):
    ndim, images = _batch(rng, n=4)
    size = images["static"].value.shape
    kind = "affine" if rng.random() < 0.2 else "deformable"
    extra = _supervision(rng, size)
    return Call(
        _trained(scenes.model(ndim, kind)),
        call_name="fit",
        epochs=count(1),
        batch_size=integer(2),
        **images,
        **extra,
        **maybe(
            rng,
            0.15,
            mirror=integer(0),
            augment=boolean(False),
            warm_up=count(0),
            mask=array_of_int(np.ones((1, *size), np.int32)),
            validation_data=sequence([images["moving"].value, None]),
            callbacks=sequence([]),
        ),
    )


def _trained(registration):
    """Return a function that trains a model and then puts it back as it was."""
    model = registration.model

    def run(**arguments):
        weights, state = model.get_weights(), model.state
        variables = [v.numpy() for v in model.optimizer.variables]
        try:
            history = registration.fit(**arguments, verbose=0)
            return {name: list(v) for name, v in history.history.items()}
        finally:
            model.set_weights(weights)
            model.state = state
            for variable, value in zip(model.optimizer.variables, variables):
                variable.assign(value)

    return run
