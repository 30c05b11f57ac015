"""Valid calls of functions that draw figures, write pages and compare methods."""

import numpy as np

from dipy_nn_reg import cohort_report, data, report, viz
from dipy_nn_reg.quality import beside_syn
from fuzzing import scenes
from fuzzing.call import (
    Call,
    affine,
    array_of_int,
    field_of,
    fixed,
    image,
    integer,
    maybe,
    name_of,
    options,
    path,
    sequence,
)
from fuzzing.call import mapping as map_of
from fuzzing.files import SPECIAL, write_mnist


def _closed(plot):
    """Return a function that draws a figure and closes it."""

    def run(**arguments):
        import matplotlib.pyplot as plt

        try:
            figure = plot(**arguments)
            if figure is not None:
                figure.canvas.draw()
        finally:
            plt.close("all")

    run.__name__ = plot.__name__
    return run


def plot_images(rng, folder):
    size = scenes.any_shape(rng, thin=False)
    return Call(
        _closed(viz.plot_images),
        **{n: image(scenes.blob(rng, size)) for n in ("static", "moving", "warped")},
        **(maybe(rng, affine=affine(scenes.affine(rng, 3))) if len(size) == 3 else {}),
    )


def plot_fields(rng, folder):
    size = scenes.any_shape(rng, thin=False)
    plot = viz.plot_field if rng.random() < 0.5 else viz.plot_jacobian
    return Call(
        _closed(plot),
        displacement=field_of(scenes.field(rng, size)),
        **(maybe(rng, affine=affine(scenes.affine(rng, 3))) if len(size) == 3 else {}),
    )


def plot_histograms(rng, folder):
    size = scenes.any_shape(rng, thin=False)
    return Call(
        _closed(viz.plot_histograms),
        static=image(scenes.blob(rng, size)),
        warped=image(scenes.blob(rng, size)),
        displacement=field_of(scenes.field(rng, size)),
    )


def plot_dice(rng, folder):
    return Call(
        _closed(viz.plot_dice),
        before=options({1: 0.5, 2: 0.6}),
        after=options({1: 0.7, 2: float("nan")}),
        **maybe(rng, names=options({1: "one"}), most=integer(5)),
    )


def plot_registration(rng, folder):
    size = scenes.any_shape(rng, ndim=2, thin=False)
    array = scenes.blob(rng, size)[None]
    return Call(
        _closed(viz.plot_registration),
        moving=image(array),
        static=image(array[0]),
        warped=image(array),
        displacement=field_of(scenes.field(rng, size)[None]),
        **maybe(rng, spacing=integer(2)),
    )


def plot_history(rng, folder):
    return Call(
        _closed(viz.plot_history),
        history=options({"loss": [1.0, 0.5], "val_loss": [1.0, 0.6]}),
    )


def draw_grid(rng, folder):
    def on_axes(displacement, spacing=1):
        import matplotlib.pyplot as plt

        viz.draw_grid(plt.figure().gca(), displacement, spacing=spacing)

    return Call(
        _closed(on_axes),
        call_name="draw_grid",
        displacement=field_of(scenes.field(rng, (9, 8))),
        **maybe(rng, spacing=integer(2)),
    )


def write_report(rng, folder):
    size = ((9, 8), (16, 17), (12, 13, 11))[rng.integers(3)]
    extra = {}
    if rng.random() < 0.4:
        extra = {
            f"{name}_labels": array_of_int(scenes.labels(rng, size))
            for name in ("moving", "static")
        }
    return Call(
        report,
        path=path(folder / "page.html"),
        mapping=map_of(scenes.mapping(rng, size)),
        moving=image(scenes.blob(rng, size)),
        static=image(scenes.blob(rng, size)),
        written=("page.html", *SPECIAL),
        nan="documented",
        **extra,
        **maybe(
            rng,
            title=name_of("A title"),
            details=options({"File": "x"}),
            label_names=options({1: "one"}),
        ),
    )


def write_cohort(rng, folder):
    subject = {
        "name": "one",
        "page": "one.html",
        "verdict": "Good",
        "misplaced_after": 0.1,
        "ncc_after": 0.9,
        "folding": 0.0,
    }
    return Call(
        cohort_report,
        path=path(folder / "cohort.html"),
        subjects=sequence([subject, {**subject, "verdict": "Folded"}]),
        written=("cohort.html", *SPECIAL),
        **maybe(rng, title=name_of("A title"), details=options({"File": "x"})),
    )


def compare_measure(rng, folder):
    size = scenes.any_shape(rng, thin=False)
    return Call(
        beside_syn.measure,
        static=image(scenes.blob(rng, size)),
        warped=image(scenes.blob(rng, size)),
        displacement=field_of(scenes.field(rng, size)),
        nan="through",
    )


def register_with_syn(rng, folder):
    moving, static = scenes.pair(2)

    def without_time(**arguments):
        return beside_syn.register_with_syn(**arguments)[:2]

    return Call(
        without_time,
        call_name="register_with_syn",
        moving=image(np.pad(moving, 6)),
        static=image(np.pad(static, 6)),
        metric=name_of(rng.choice(["SSD", "CC"]).item()),
    )


def load_mnist(rng, folder):
    write_mnist(folder / "digits", rng)
    return Call(
        data.load_mnist,
        folder=path(folder / "digits"),
        **maybe(rng, digit=integer(3)),
    )


def compare_with_syn(rng, folder):
    moving, static = scenes.pair(2)
    moving, static = np.pad(moving, 6), np.pad(static, 6)

    def compare(**arguments):
        return beside_syn.compare_with_syn(scenes.model(2), **arguments)

    return Call(
        compare,
        call_name="compare_with_syn",
        moving=image(moving[None]),
        static=image(static),
        syn_pairs=fixed(1),
    )
