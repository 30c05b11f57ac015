"""Public classes and their options; their methods are in registration.py."""

from dipy_nn_reg.losses.choice_checks import default_smoothness, join_losses
from dipy_nn_reg.mapping.affines import with_last_row
from dipy_nn_reg.networks import check_network, choose_transform
from dipy_nn_reg.networks.pretrained import (
    SMOOTHNESS,
    pretrained_weights,
    training_options,
)
from dipy_nn_reg.registration import Registration
from dipy_nn_reg.training.options import check_image_options
from dipy_nn_reg.transform.kinds import TRANSFORMS, choose_field_stride, choose_spacing

# Default weights of labels and landmarks, for a loss between 0 and 1: landmarks ten
# voxels apart then add 1, as labels without overlap do.
LABEL_WEIGHT, LANDMARK_WEIGHT = 1.0, 0.01
# Passes of an affine network. On slices of brains each one halves the error.
AFFINE_PASSES = 3


class DeformableRegistration(Registration):
    """Learn to register images without ground truth, in 2D and 3D.

    A network predicts a field from a moving and a static image. The field warps the
    moving image, and training makes the warped image similar to the static one. The
    model is built and compiled on construction, as in
    ``dipy.nn.model.SingleLayerPerceptron``.

    Parameters
    ----------
    input_shape : tuple of int, optional
        Spatial shape of the images. Its length selects 2D or 3D; images of other sizes
        are accepted too.
    num_channels : int, optional
        Number of channels of each image.
    network : str, keras.Model or callable, optional
        Network that predicts the field: "unet", "pyramid", "voxelmorph1",
        "voxelmorph2", "encoder_decoder", "fcn" or "dirnet", see
        :mod:`dipy_nn_reg.networks`; or a network of your own, which is called with the
        moving and the static image. A Keras model is trained itself, not a copy of it.
    transform : str, optional
        Prediction of the network. A field at each voxel: a stationary "velocity",
        which is integrated so that folds are rare, or the "displacement" itself.
        Control points of a cubic B-spline, which is the velocity ("bspline_velocity")
        or the displacement ("bspline"), or of a thin-plate spline, "tps". Or the
        parameters of an "affine" map, see :class:`AffineRegistration`. By default
        "velocity", or "bspline_velocity" for a network that predicts control points.
    spacing : int, optional
        Voxels from one control point to the next. By default at most 4 for B-splines,
        a quarter of the longest axis, rounded up to a power of 2, for thin-plate ones.
    field_stride : int, optional
        1, 2 or 4: distance in voxels, along each axis, between the points at which the
        network reads the images and predicts the field, which is then interpolated. By
        default 2 in 3D for a velocity or displacement, which is several times as fast
        and takes less memory; 1 in 2D and for a network of your own. The penalty is
        that of the coarse field.
    symmetric : bool, optional
        Predict half of f(moving, static) - f(static, moving), where f is the network:
        exchanging images on one grid gives the inverse, up to interpolation. For a
        velocity, one pass and no first stage; it takes twice the time.
    passes : int, optional
        Number of predictions, each for the image that those before it have warped. All
        fields are composed; the penalty is that of their sum.
    loss : str, callable or sequence of these, optional
        Dissimilarity of the static and the warped image: "ncc", "mse", "lncc", "mi",
        "mind" or "robust_lncc", see :mod:`dipy_nn_reg.losses`; or a function of
        ``(static, warped)``, such as ``functools.partial(lncc, window=5)``. To be used
        with a mask, it must take a ``mask`` as well. To be saved, a function of your
        own must be registered by ``keras.saving.register_keras_serializable``. A
        sequence has one for each channel.
    channel_weights : sequence of float, optional
        Weight of the loss of each channel; by default they are equal.
    penalty : str, callable or dict of float, optional
        "gradient", "tv" or "bending" of the field, "folding" of the displacement, or
        "inverse_consistency", for which both directions are registered, see
        :mod:`dipy_nn_reg.losses.penalties`; a function of the field; or a weight for
        each of several names.
    smoothness : float or "any", optional
        Weight of the penalty, 0 or more. The default depends on the loss and the
        penalty, if they are given by name; it is 0 for affine maps. "any", for the
        pyramid: drawn for each pair, and later chosen for :meth:`predict`, from 0 to 1.
    label_weight, landmark_weight : float, optional
        Weights of one minus the soft Dice overlap of labels, and of the squared
        distance of landmarks in voxels, if :meth:`fit` is called with any.
    affine : AffineRegistration, optional
        First stage, which has been trained. The field is predicted for the moving image
        after the affine, and both are composed, so that the image is interpolated once.
        The first stage is copied and does not change.
    optimizer : str or keras.optimizers.Optimizer, optional
        With a name, the learning rate rises and falls during each fit, unless a
        callback of Keras changes it. An optimizer object is used as it is.
    learning_rate : float, optional
        Highest learning rate of an optimizer given by name; by default 0.004 in 2D and
        0.0015 in 3D.
    precision : {"float32", "bfloat16", "auto"}, optional
        Precision in which the network computes, except for its last layer; weights,
        fields, sampling and losses are float32. With "auto", bfloat16 on machines that
        are faster with it, which is determined again when a model is loaded.
    seed : int, optional
        Seed of the weights and of the order of the images: the same seed gives the
        same result on the same machine.

    Attributes
    ----------
    model : keras.Model
        Model from ``{"moving": ..., "static": ...}`` to the field, the displacement
        and the warped image; also from ``"smoothness"``, if that can be chosen.

    Raises
    ------
    ValueError
        If an option is not one of those listed, or if options do not fit each other
        or the size of the images.

    Examples
    --------
    >>> registration = DeformableRegistration(input_shape=(28, 28), seed=0)
    >>> image = np.random.default_rng(0).random((1, 28, 28), dtype=np.float32)
    >>> warped = registration.predict(image, image)
    >>> bool(np.all(warped == image))  # no motion before training
    True
    """

    def __init__(
        self,
        *,
        input_shape=(28, 28),
        num_channels=1,
        network="unet",
        transform=None,
        spacing=None,
        field_stride=None,
        symmetric=False,
        passes=1,
        loss="ncc",
        channel_weights=None,
        penalty="gradient",
        smoothness=None,
        label_weight=LABEL_WEIGHT,
        landmark_weight=LANDMARK_WEIGHT,
        affine=None,
        optimizer="adam",
        learning_rate=None,
        precision="float32",
        seed=None,
    ):
        check_image_options(input_shape, num_channels)
        transform = choose_transform(network, transform)
        spacing = choose_spacing(transform, input_shape, spacing)
        field_stride = choose_field_stride(
            transform, network, len(input_shape), field_stride
        )
        loss = join_losses(loss, channel_weights, num_channels)
        if smoothness is None:
            smoothness = default_smoothness(loss, penalty, transform)
        super().__init__(
            optimizer=optimizer,
            input_shape=input_shape,
            num_channels=num_channels,
            network=network,
            transform=transform,
            spacing=spacing,
            field_stride=field_stride,
            symmetric=symmetric,
            loss=loss,
            penalty=penalty,
            smoothness=smoothness,
            label_weight=label_weight,
            landmark_weight=landmark_weight,
            affine=getattr(affine, "model", affine),
            passes=passes,
            learning_rate=learning_rate,
            precision=precision,
            seed=seed,
        )

    @classmethod
    def pretrained(cls, *, ndim=3, smoothness=SMOOTHNESS, **options):
        """Return a model that was trained on made shapes, and registers any images.

        It predicts at once, for aligned images. :meth:`fit` goes on from it.

        Parameters
        ----------
        ndim : int, optional
            Number of spatial axes of the images, which have one channel.
        smoothness : float, optional
            Of the predicted fields, from 0, the roughest ones, to 1.
        **options
            ``passes``, by default 4 in 2D and 1 in 3D; ``symmetric``; for :meth:`fit`,
            ``loss``, by default ``lncc`` in windows of 5 voxels, ``penalty``,
            ``label_weight``, ``landmark_weight``, ``optimizer``, ``learning_rate``,
            ``precision`` and ``seed``.

        Returns
        -------
        registration : DeformableRegistration

        Raises
        ------
        ValueError
            If there is no such model or option, or if its file is damaged.
        """
        weights = pretrained_weights(ndim, smoothness)
        options = training_options(ndim, options)
        registration = cls(input_shape=(64,) * ndim, network="pyramid", **options)
        registration.model.set_weights(weights)
        return registration

    @classmethod
    def _class_for(cls, transform):
        return AffineRegistration if TRANSFORMS[transform].affine else cls


class AffineRegistration(Registration):
    """Learn to align images by affine maps without ground truth, in 2D and 3D.

    A network predicts the 6 (in 3D: 12) parameters of an affine map about the centre
    of the image from a moving and a static image; before training they are those of
    the identity. It is trained, used and saved as :class:`DeformableRegistration`.

    Parameters
    ----------
    input_shape, num_channels, network, loss, optimizer, learning_rate, precision, seed
        As for :class:`DeformableRegistration`.
    passes : int, optional
        Number of predictions. Each one after the first is made for the image that the
        previous maps have warped, and all maps are composed.

    Attributes
    ----------
    model : keras.Model

    Raises
    ------
    ValueError
        If an option is not one of those listed.
    """

    def __init__(
        self,
        *,
        input_shape=(28, 28),
        num_channels=1,
        network="unet",
        passes=AFFINE_PASSES,
        loss="ncc",
        optimizer="adam",
        learning_rate=None,
        precision="float32",
        seed=None,
    ):
        check_image_options(input_shape, num_channels)
        check_network(network, "affine")
        super().__init__(
            optimizer=optimizer,
            input_shape=input_shape,
            num_channels=num_channels,
            network=network,
            transform="affine",
            spacing=None,
            field_stride=1,
            symmetric=False,
            loss=join_losses(loss, None, num_channels),
            penalty="gradient",
            smoothness=0.0,
            label_weight=LABEL_WEIGHT,
            landmark_weight=LANDMARK_WEIGHT,
            affine=None,
            passes=passes,
            learning_rate=learning_rate,
            precision=precision,
            seed=seed,
        )

    @classmethod
    def _class_for(cls, transform):
        return cls if TRANSFORMS[transform].affine else DeformableRegistration

    def predict_affine(self, moving, static):
        """Predict affine maps from voxels of the static to those of the moving image.

        Parameters
        ----------
        moving, static : ndarray
            As for :meth:`predict`.

        Returns
        -------
        affine : ndarray, shape (n, ndim + 1, ndim + 1)
            Float32, in voxels: ``affine @ [*x, 1]`` is the position at which the moving
            image is read for voxel x of the static grid.

        Raises
        ------
        ValueError
            As :meth:`predict`.
        """
        return with_last_row(self.predictor.predict("matrix", moving, static))
