"""Keras model of a registration network, as it is trained and saved."""

from functools import partial

import keras
from keras import ops
import numpy as np

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.backend import layers_in
from dipy_nn_reg.losses.images import ncc
from dipy_nn_reg.losses.objective import Objective, ObjectiveOptions
from dipy_nn_reg.losses.penalties import folded
from dipy_nn_reg.networks import READ_IN_FULL, connect
from dipy_nn_reg.tracing import check_not_forked
from dipy_nn_reg.training.config import from_config, to_config
from dipy_nn_reg.training.options import check_options
from dipy_nn_reg.training.precision import keep_coarse_layers_in_float32
from dipy_nn_reg.training.state import check_state, finished_state, get_seeds
from dipy_nn_reg.transform.kinds import (
    TRANSFORMS,
    connect_affine,
    connect_field,
    values_needed,
)
from dipy_nn_reg.transform.layers import (
    ApplyAffine,
    Background,
    ComposeDisplacements,
    RescaleIntensity,
    Warp,
)
from dipy_nn_reg.transform.pyramid import coarse_shape, shrink

# Annotation without which a metric is not reported, by the name of the metric.
SUPERVISED_TRACKERS = {
    "label_overlap": "static_labels",
    "landmark_error": "static_landmarks",
}


@keras.saving.register_keras_serializable(package="dipy_nn_reg")
class RegistrationModel(keras.Model):
    """Model from two images to the field, the displacement and the warped image.

    The images are rescaled to the range from 0 to 1, so that the range of a user's
    images does not matter. The loss compares them in that range and needs no ground
    truth: it is the dissimilarity after warping plus the weighted penalties, and the
    terms of labels and landmarks, if there are any.

    Parameters
    ----------
    name : str, optional
    **options
        All options of :class:`~dipy_nn_reg.model.DeformableRegistration` that can be
        written to a file.

    Attributes
    ----------
    state : dict
        See :mod:`dipy_nn_reg.training.state`.
    """

    def __init__(self, *, name="registration", **options):
        check_not_forked()
        ndim = len(options["input_shape"])
        shape = (*[None] * ndim, options["num_channels"])
        images = {
            n: keras.Input(shape, name=n, dtype="float32") for n in ("moving", "static")
        }
        if (affine := options["affine"]) is not None:
            options = {**options, "affine": _frozen_copy(affine)}
        objective = ObjectiveOptions.of(**options)
        with layers_in("float32"):
            outputs = _connect(images, options)
            if objective.needs_both_directions:
                swapped = {"moving": images["static"], "static": images["moving"]}
                outputs["backward"] = keras.Model(images, outputs)(swapped)
            super().__init__(inputs=images, outputs=outputs, name=name)
        self.options = options
        self.state = finished_state(np.random.default_rng(options["seed"]))
        self._objective = Objective(objective)
        # Numbers of labels in a batch of the last training and its validation.
        self.labels_at_once = None
        # Names of the annotations and mode of the last step, for get_metrics_result.
        self._supervised_by, self._training = (), True
        self.ncc = keras.metrics.Mean(name="ncc", dtype="float32")
        self.penalty = keras.metrics.Mean(name="penalty", dtype="float32")
        self.overlap = keras.metrics.Mean(name="label_overlap", dtype="float32")
        self.distance = keras.metrics.Mean(name="landmark_error", dtype="float32")
        self.folding = keras.metrics.Mean(name="folding", dtype="float32")

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Return the mean loss of a batch, and update the metrics.

        ``y`` holds the annotations of a batch of the dataset.
        """
        y = {} if y is None else y
        # A graph sets these when it is traced, just before it reads its own metrics.
        # Between epochs they may be those of the other mode: Keras then reports the
        # metrics that the graph returned.
        self._supervised_by, self._training = tuple(y), training
        terms = self._objective(y_pred, Annotations(**y))
        self.ncc.update_state(1 - ncc(y_pred["static"], y_pred["warped"]))
        for tracker in (self.penalty, self.overlap, self.distance):
            if tracker.name in terms:
                tracker.update_state(terms[tracker.name])
        if not training:
            folds = ops.cast(folded(y_pred["displacement"]), "float32")
            voxels = tuple(range(1, len(folds.shape)))
            # One value per pair, since the last batch may hold fewer pairs.
            self.folding.update_state(100 * ops.mean(folds, axis=voxels))
        return ops.mean(terms["loss"])

    def get_metrics_result(self):
        """Return the metrics, without those of annotations or a mode not in use."""
        results = super().get_metrics_result()
        absent = {
            tracker
            for tracker, annotation in SUPERVISED_TRACKERS.items()
            if annotation not in self._supervised_by
        }
        if self._training:  # folds are counted in validation alone
            absent.add("folding")
        return {name: r for name, r in results.items() if name not in absent}

    def get_config(self):
        state = {**self.state, "seeds": get_seeds(self)}
        return {**to_config(self.options), "name": self.name, "state": state}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        state = config.pop("state", None)
        if state is not None:  # models of earlier versions have none
            check_state(state)
        options = from_config(config, custom_objects)
        if "symmetric" not in options:  # a model of an earlier version
            options |= {"symmetric": False, "passes": _passes_before(options)}
        name = options.pop("name", "registration")
        check_options(options)
        model = cls(name=name, **options)
        model.state = state or model.state
        return model


def _passes_before(options):
    """Return the passes of a model of an earlier version: one, unless it is affine."""
    is_affine = options.get("transform") == "affine"
    return options.get("passes") if is_affine else 1


def _frozen_copy(model):
    """Return a frozen copy of a model; the model of the user does not change."""
    options = dict(model.options)
    if isinstance(options["network"], keras.Model):
        options["network"] = keras.models.clone_model(options["network"])
    copy = RegistrationModel(name="affine", **options)
    copy.set_weights(model.get_weights())
    copy.trainable = False
    return copy


def _connect(images, options):
    """Return the outputs of all layers that the loss needs."""
    transform, stride = options["transform"], options["field_stride"]
    moving, static = (RescaleIntensity()(images[n]) for n in ("moving", "static"))
    background = Background()(moving)
    first = None if options["affine"] is None else options["affine"](images)
    aligned = moving if first is None else first["warped"]
    inputs = [aligned, static]
    if options["network"] not in READ_IN_FULL:
        inputs = [shrink(image, stride) for image in inputs]
    values = _connect_network(images, inputs, options)
    predict = keras.Model([aligned, static], values[0])
    warp = partial(Warp(image_is_constant=True), moving, fill=background)
    outputs = {"static": static}
    if TRANSFORMS[transform].affine:
        matrix, displacement = connect_affine(
            predict, moving, static, background, options["passes"]
        )
        outputs |= {"matrix": matrix, "field": displacement}
        outputs["displacement"] = displacement
    else:
        outputs |= _connect_passes(values[0], predict, static, warp, first, options)
    outputs["warped"] = warp(outputs["displacement"])
    if rest := values[1:]:
        outputs["coarser"] = _connect_coarser(rest, *inputs, background, transform)
    return outputs


def _connect_passes(values, predict, static, warp, first, options):
    """Return the outputs of a field: the sum and the composition of all passes.

    Each pass after the first one sees the moving image as those before have warped it.
    """
    connect = partial(
        *(connect_field, options["transform"]),
        reference=static,
        spacing=options["spacing"],
        stride=options["field_stride"],
    )
    place = partial(ApplyAffine(), first["matrix"]) if first else _as_it_is
    field, deformation = connect(values)
    for _ in range(options["passes"] - 1):
        more, step = connect(predict([warp(place(deformation)), static]))
        field, deformation = field + more, ComposeDisplacements()(deformation, step)
    outputs = {"field": field, "displacement": place(deformation)}
    if first is None:
        return outputs
    return {**outputs, "matrix": first["matrix"], "deformation": deformation}


def _as_it_is(displacement):
    return displacement


def _connect_network(images, inputs, options):
    """Return the values that the network predicts, in float32."""
    rng = np.random.default_rng(options["seed"])
    shape, spacing = options["input_shape"], options["spacing"]
    if options["network"] in READ_IN_FULL:
        spacing *= options["field_stride"]
    with layers_in(options["precision"]):
        values = connect(
            options["network"],
            *inputs,
            shape=coarse_shape(shape, options["field_stride"]),
            values=values_needed(options["transform"], len(shape)),
            spacing=spacing,
            seed=lambda: int(rng.integers(2**31)),
        )
    if options["precision"] != "float32":
        keep_coarse_layers_in_float32(images, inputs[1], values)
    values = [ops.cast(v, "float32") for v in values]
    return _antisymmetric(inputs, values) if options["symmetric"] else values


def _antisymmetric(inputs, values):
    """Return half of f(moving, static) - f(static, moving) for each output of f.

    Exchanging the images negates them. Both terms are calls of one model, so that they
    round alike.
    """
    network = keras.Model(inputs, values)
    terms = (keras.tree.flatten(network(images)) for images in (inputs, inputs[::-1]))
    return [0.5 * (one - other) for one, other in zip(*terms)]


def _connect_coarser(values, moving, static, background, transform):
    """Return outputs at a half, a quarter and so on of the network's resolution."""
    levels = []
    for field in values:
        moving, static = shrink(moving, 2), shrink(static, 2)
        field, displacement = connect_field(transform, field, static, spacing=1)
        levels.append(
            {
                "static": static,
                "field": field,
                "displacement": displacement,
                "warped": Warp(image_is_constant=True)(
                    moving, displacement, background
                ),
            }
        )
    return levels
