"""Checks of a training's options and data before anything is computed."""

from dipy_nn_reg.checks import check_integer, check_number
from dipy_nn_reg.losses.choices import takes_mask


def check_fit_options(*, epochs, warm_up, batch_size, mirror, augment, ndim):
    """Raise ValueError unless options of a training are in their range.

    Parameters
    ----------
    epochs, warm_up, batch_size, mirror, augment
        As for :meth:`~dipy_nn_reg.registration.Registration.fit`.
    ndim : int
        Number of spatial axes.
    """
    check_integer("epochs", epochs, lowest=1)
    check_integer("warm_up", warm_up, lowest=0)
    check_integer("batch_size", batch_size, lowest=1)
    if mirror is not None:
        check_integer("mirror", mirror, lowest=0)
        if mirror >= ndim:
            raise ValueError(
                f"Expected mirror to be an axis of the images, of which there are "
                f"{ndim}. Received mirror={mirror}."
            )
    if not isinstance(augment, bool):
        check_number("augment", augment, or_zero=True)


def check_annotations_fit(annotations, *, loss, augment=False):
    """Raise ValueError unless what is beside the images can be trained.

    Parameters
    ----------
    annotations : dict
        As :func:`~dipy_nn_reg.training.annotations.check_annotations` returns it.
    loss : str or callable
    augment : bool or float, optional
    """
    if "mask" in annotations and not takes_mask(loss):
        raise ValueError(
            f"Expected a loss that takes a mask, loss(static, warped, *, mask). "
            f"Received loss={loss!r} and a mask."
        )
    if augment and "static_landmarks" in annotations:
        raise ValueError(
            f"Expected augment=False with landmarks. Received augment={augment!r}."
        )
