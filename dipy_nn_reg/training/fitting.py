"""Training of a network: checks of options and data, then Keras's ``fit``."""

from functools import partial
from math import ceil
from typing import NamedTuple

from dipy_nn_reg.backend import devices_of_a_batch
from dipy_nn_reg.checks import (
    ANY,
    MIDDLE,
    check_flag,
    check_integer,
    check_number,
    is_any,
)
from dipy_nn_reg.losses.choice_checks import check_mask_is_taken
from dipy_nn_reg.memory import check_memory
from dipy_nn_reg.training.dataset import Changes, PairDataset
from dipy_nn_reg.training.divergence import StopAtDivergence
from dipy_nn_reg.training.memory import memory_to_train
from dipy_nn_reg.training.optimizers import add_cosine_rate
from dipy_nn_reg.training.state import (
    TrackState,
    describe,
    epochs_done,
    finished_state,
    make_generator,
)

# Default number of pairs in a step, by the number of axes of the images.
BATCH_SIZES = {2: 32, 3: 1}


def default_batch_size(ndim):
    """Return the default number of pairs in a step, which devices share evenly.

    Parameters
    ----------
    ndim : int
        Number of spatial axes.
    """
    devices = devices_of_a_batch()
    return ceil(BATCH_SIZES[ndim] / devices) * devices


class FitOptions(NamedTuple):
    """Options of a training, see :meth:`~dipy_nn_reg.registration.Registration.fit`."""

    epochs: int
    warm_up: int
    batch_size: int
    mirror: int | None
    augment: bool | float
    resume: bool

    def check(self, ndim):
        """Raise ValueError unless each option is in its range.

        Parameters
        ----------
        ndim : int
            Number of spatial axes.
        """
        check_integer("epochs", self.epochs, lowest=1)
        check_integer("warm_up", self.warm_up, lowest=0)
        check_integer("batch_size", self.batch_size, lowest=1)
        if self.mirror is not None:
            check_integer("mirror", self.mirror, lowest=0)
            if self.mirror >= ndim:
                raise ValueError(
                    f"Expected mirror to be one of the {ndim} axes of the images, from "
                    f"0. Received mirror={self.mirror}."
                )
        check_flag("resume", self.resume)
        if not isinstance(self.augment, bool):
            check_number("augment", self.augment, or_zero=True)


def check_annotations_fit(annotations, *, loss, augment=False):
    """Raise ValueError unless annotations fit the loss and the augmentation.

    Parameters
    ----------
    annotations : Annotations
    loss : str or callable
    augment : bool or float, optional
    """
    check_mask_is_taken(loss, annotations)
    if augment and annotations.static_landmarks is not None:
        raise ValueError(
            f"Expected augment=False with landmarks. Received augment={augment!r}."
        )


def fit(model, data, validation, options, *, callbacks, verbose):
    """Train a network on checked data, or resume a training.

    Parameters
    ----------
    model : RegistrationModel
    data : dict
        As of :func:`~dipy_nn_reg.training.data_checks.check_training_data`.
    validation : dict or None
    options : FitOptions
    callbacks, verbose
        As for :meth:`~dipy_nn_reg.registration.Registration.fit`.

    Returns
    -------
    history : keras.callbacks.History
    """
    draw = partial(PairDataset, batch_size=int(options.batch_size))  # not of 8 bits
    if validation is not None:
        validation = draw(**validation, smoothness=_if_any(model, MIDDLE))
    _check_shares(data, validation, int(options.batch_size))
    setup = describe(data, options)
    done = epochs_done(model.state, setup) if options.resume else 0
    rng = make_generator(model.state)
    draw = partial(draw, **data, smoothness=_if_any(model, ANY), rng=rng)
    changes = Changes(options.mirror, options.augment)
    drawn_from = model.state["random"] if options.resume else None
    pairs = draw(changes=changes, first_drawn_from=drawn_from)
    _check_memory(model, pairs, validation)
    _forget_other_labels(model, pairs, validation)
    learning_rate = model.options["learning_rate"]
    train = partial(model.fit, shuffle=False, verbose=verbose)  # the dataset shuffles
    if not options.resume:
        model.state = finished_state(rng, model.state["trained"])
        if learning_rate is not None:  # an earlier fit has left another one
            model.optimizer.learning_rate = learning_rate
        if options.warm_up:
            small = draw(changes=changes._replace(shrunk_by=2))
            _warm_up(model, train, small, options.warm_up)
    callbacks = add_cosine_rate(callbacks, learning_rate, epochs_done=done)
    return train(
        pairs,
        initial_epoch=done,
        epochs=options.epochs,
        validation_data=validation,
        callbacks=[TrackState(pairs, setup), StopAtDivergence(), *callbacks],
    )


def _if_any(model, smoothness):
    """Return a smoothness for a model that is trained for any, None for another one."""
    return smoothness if is_any(model.options["smoothness"]) else None


def _forget_other_labels(model, pairs, validation):
    """Let a model be traced anew if the numbers of labels are not those before.

    Keras would trace it for any number of labels, which the layers do not allow.
    """
    both = (pairs, validation)
    numbers = tuple(0 if one is None else one.labels_at_once for one in both)
    if model.labels_at_once not in (None, numbers):
        model.make_train_function(force=True)
        model.make_test_function(force=True)
    model.labels_at_once = numbers


def _check_shares(data, validation, batch_size):
    """Raise ValueError unless several devices can share each batch evenly."""
    devices = devices_of_a_batch()
    images = len(data["moving"])
    if min(batch_size, images) % devices:
        raise ValueError(
            f"Expected batches that {devices} devices share evenly. Received "
            f"batch_size={batch_size} and {images} images."
        )
    if validation is not None and (n := len(validation.moving)) % devices:
        raise ValueError(
            f"Expected a number of pairs for validation that {devices} devices share "
            f"evenly. Received {n} pairs."
        )


def _warm_up(model, train, pairs, epochs):
    """Train on pairs that are shrunk, then prepare for images of their own size."""
    callbacks = [StopAtDivergence("warm-up epoch")]
    callbacks += add_cosine_rate(None, model.options["learning_rate"])
    train(pairs, epochs=epochs, callbacks=callbacks)
    model.make_train_function(force=True)


def _check_memory(model, pairs, validation):
    """Log the memory that a step needs, and raise MemoryError if it is not there."""
    shape = (pairs.batch_size, *pairs.moving.shape[1:])
    labels = pairs.labels_at_once
    if validation is not None:
        labels = max(labels, validation.labels_at_once)
    check_memory(
        memory_to_train(model, shape, labels),
        what=f"Training on {pairs.batch_size} pairs at a time of {shape[1:-1]}",
        advice="A smaller batch_size, a larger field_stride, a loss other than "
        "'mi' or 'mind', or images of larger voxels need less.",
    )
