"""Keras model of a registration network, as it is trained and saved."""

import keras
from keras import ops
import numpy as np

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.backend import layers_in
from dipy_nn_reg.checks import is_any
from dipy_nn_reg.losses.images import ncc
from dipy_nn_reg.losses.objective import Objective, ObjectiveOptions
from dipy_nn_reg.losses.penalties import folded
from dipy_nn_reg.tracing import check_not_forked
from dipy_nn_reg.training.config import from_config, to_config
from dipy_nn_reg.training.connections import connect_outputs
from dipy_nn_reg.training.options import check_options
from dipy_nn_reg.training.state import check_state, finished_state, get_seeds

# Annotation without which a metric is not reported, by the name of the metric.
SUPERVISED_TRACKERS = {
    "label_overlap": "static_labels",
    "landmark_error": "static_landmarks",
}


@keras.saving.register_keras_serializable(package="dipy_nn_reg")
class RegistrationModel(keras.Model):
    """Model from two images to the field, the displacement and the warped image.

    A model that is trained for any smoothness reads that of each pair as well. The
    images are rescaled to the range from 0 to 1, so that the range of a user's
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
        inputs = _inputs(options)
        if (affine := options["affine"]) is not None:
            options = {**options, "affine": _frozen_copy(affine)}
        objective = ObjectiveOptions.of(**options)
        with layers_in("float32"):
            outputs = connect_outputs(inputs, options)
            if objective.needs_both_directions:
                swapped = {"moving": inputs["static"], "static": inputs["moving"]}
                outputs["backward"] = keras.Model(inputs, outputs)(inputs | swapped)
            super().__init__(inputs=inputs, outputs=outputs, name=name)
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


def _inputs(options):
    """Return two images, and a smoothness if the model is trained for any."""
    shape = (*[None] * len(options["input_shape"]), options["num_channels"])
    shapes = {"moving": shape, "static": shape}
    if is_any(options["smoothness"]):
        shapes["smoothness"] = (1,)
    return {n: keras.Input(s, name=n, dtype="float32") for n, s in shapes.items()}


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
