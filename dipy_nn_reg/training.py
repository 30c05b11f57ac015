"""The Keras model that is trained."""

import keras
from keras import ops
import numpy as np

from dipy_nn_reg.layers import IntegrateVelocity, RescaleIntensity, Warp
from dipy_nn_reg.losses import LOSSES, PENALTIES, ncc
from dipy_nn_reg.networks import NETWORKS

TRANSFORMS = ("displacement", "velocity")


@keras.saving.register_keras_serializable(package="dipy_nn_reg")
class RegistrationModel(keras.Model):
    """Two images in; the field, the displacement and the warped image out.

    The images are brought to the range from 0 to 1, so that the range of a user's
    images does not matter. The loss compares them in that range and needs no truth:
    it is the dissimilarity after warping plus ``smoothness`` times the penalty on
    the field that the network predicts.

    Parameters
    ----------
    name : str, optional
    **options
        Those of :class:`~dipy_nn_reg.model.DeformableRegistration` that can be
        written to a file; all of them.
    """

    def __init__(self, *, name="registration", **options):
        ndim = len(options["input_shape"])
        shape = (*[None] * ndim, options["num_channels"])
        images = {n: keras.Input(shape, name=n) for n in ("moving", "static")}
        moving = RescaleIntensity()(images["moving"])
        static = RescaleIntensity()(images["static"])
        rng = np.random.default_rng(options["seed"])
        field = NETWORKS[options["network"]](
            moving, static, values=ndim, seed=lambda: int(rng.integers(2**31))
        )
        is_velocity = options["transform"] == "velocity"
        displacement = IntegrateVelocity()(field) if is_velocity else field
        super().__init__(
            inputs=images,
            outputs={
                "static": static,
                "field": field,
                "displacement": displacement,
                "warped": Warp()(moving, displacement),
            },
            name=name,
        )
        self.options = options
        self.similarity = keras.metrics.Mean(name="similarity")
        self.penalty = keras.metrics.Mean(name="penalty")

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Return the mean loss of a batch; track correlation and penalty."""
        static, warped = y_pred["static"], y_pred["warped"]
        dissimilarity = LOSSES[self.options["loss"]](static, warped)
        penalty = PENALTIES[self.options["penalty"]](y_pred["field"])
        self.similarity.update_state(1 - ncc(static, warped))
        self.penalty.update_state(penalty)
        return ops.mean(dissimilarity + self.options["smoothness"] * penalty)

    def get_config(self):
        return {**self.options, "name": self.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)
