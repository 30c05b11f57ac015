"""Valid calls of functions that measure NumPy arrays."""

from dipy_nn_reg import intensities, metrics
from dipy_nn_reg.mapping import measures as map_measures
from dipy_nn_reg.metrics import labels
from dipy_nn_reg.quality import measures
from fuzzing import scenes
from fuzzing.call import (
    Call,
    array_of_int,
    boolean,
    field_of,
    fixed,
    image,
    maybe,
    points,
    sequence,
)
from fuzzing.call import mapping as map_of


def _within(low, high):
    """Return a check of numbers that accepts NaN."""
    return lambda result: not (result < low or result > high)


def ncc(rng, folder):
    size = scenes.any_shape(rng)
    return Call(
        metrics.ncc,
        static=image(scenes.blob(rng, size)),
        warped=image(scenes.blob(rng, size)),
        is_right=_within(-1.001, 1.001),
        nan="through",
    )


def dice(rng, folder):
    size = scenes.any_shape(rng)
    return Call(
        metrics.dice,
        static=image(scenes.blob(rng, size)),
        warped=image(scenes.blob(rng, size)),
        is_right=_within(0, 1),
        nan="through",
    )


def jacobian_determinant(rng, folder):
    u = scenes.field(rng, scenes.any_shape(rng, thin=False))
    return Call(metrics.jacobian_determinant, displacement=field_of(u), nan="through")


def folding(rng, folder):
    u = scenes.field(rng, scenes.any_shape(rng, thin=False), largest=3)
    return Call(
        metrics.folding,
        displacement=field_of(u),
        is_right=_within(0, 100),
        **maybe(rng, strict=boolean(bool(rng.integers(2)))),
    )


def sd_log_jacobian(rng, folder):
    u = scenes.field(rng, (12, 13, 11)[: rng.integers(2, 4)])
    return Call(
        metrics.sd_log_jacobian,
        displacement=field_of(u),
        is_right=_within(0, 100),
        nan="through",
    )


def target_registration_error(rng, folder):
    ndim = rng.integers(2, 4)
    one, other = rng.integers(-50, 50, (2, 6, ndim)) / 4
    return Call(
        metrics.target_registration_error,
        static_points=points(one),
        warped_points=points(other),
        nan="through",
    )


def to_unit_range(rng, folder):
    return Call(
        metrics.to_unit_range,
        image=image(scenes.blob(rng, scenes.any_shape(rng))),
        is_right=lambda r: bool(r.min() >= 0 and r.max() <= 1),
    )


def estimate_background(rng, folder):
    array = scenes.blob(rng, scenes.any_shape(rng))
    return Call(intensities.estimate_background, image=image(array), nan="through")


def replace_nan(rng, folder):
    array = scenes.blob(rng, scenes.any_shape(rng))
    return Call(
        intensities.replace_nan, image=image(array), name=fixed("it"), nan="through"
    )


def _two_maps(rng):
    size = scenes.any_shape(rng)
    return {
        "static": array_of_int(scenes.labels(rng, size)),
        "warped": array_of_int(scenes.labels(rng, size)),
    }


def dice_of_labels(rng, folder):
    return Call(
        labels.dice_of_labels,
        nan="documented",
        **_two_maps(rng),
        **maybe(rng, labels=sequence([1, 2])),
    )


def hausdorff95_of_labels(rng, folder):
    maps = _two_maps(rng)
    ndim = maps["static"].value.ndim
    return Call(
        labels.hausdorff95_of_labels,
        nan="documented",
        **maps,
        **maybe(rng, labels=sequence([1, 3]), spacing=sequence([1.5] * ndim)),
    )


def measure_field(rng, folder):
    size = scenes.any_shape(rng, thin=False)
    return Call(
        map_measures.measure_field,
        mapping=map_of(scenes.mapping(rng, size)),
        nan="documented",
        **maybe(rng, roughness=boolean(False)),
    )


def misplaced(rng, folder):
    size = scenes.any_shape(rng)
    return Call(
        measures.misplaced,
        static=image(scenes.blob(rng, size)),
        warped=image(scenes.blob(rng, size)),
        is_right=_within(0, 1),
        nan="documented",
    )


def apply_map_and_measure(rng, folder):
    size = scenes.any_shape(rng, thin=False)

    def measured(**arguments):
        return measures.measure(measures.apply_map(**arguments))

    maps = {}
    if rng.random() < 0.5:
        maps = {
            f"{name}_labels": array_of_int(scenes.labels(rng, size))
            for name in ("moving", "static")
        }
    return Call(
        measured,
        call_name="measure",
        mapping=map_of(scenes.mapping(rng, size)),
        moving=image(scenes.blob(rng, size)),
        static=image(scenes.blob(rng, size)),
        nan="documented",
        **maps,
    )
