"""Figure of the history of a training."""

import matplotlib.pyplot as plt
import numpy as np

from dipy_nn_reg.checks import check_real


def plot_history(history):
    """Draw the loss and the other measures of a training over the epochs.

    Parameters
    ----------
    history : dict of list of float
        As in ``fit(...).history``. Names that start with ``val_`` are measures of the
        validation, drawn dashed beside those of the training.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the history is empty or not a dict of numbers for each epoch.
    """
    _check(history)
    names = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    figure, axes = plt.subplots(
        1,
        len(names),
        figsize=(3.2 * len(names), 2.6),
        squeeze=False,
        layout="constrained",
    )
    for ax, name in zip(axes[0], names):
        for key, style in ((name, "-o"), (f"val_{name}", "--s")):
            if key in history:
                label = "training" if key == name else "validation"
                epochs = range(1, len(history[key]) + 1)
                ax.plot(epochs, history[key], style, markersize=3, label=label)
        ax.set(title=name, xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
    return figure


def _check(history):
    """Raise ValueError unless this is a dict of one-dimensional sequences."""
    is_dict = isinstance(history, dict) and all(isinstance(n, str) for n in history)
    if not is_dict or not history:
        raise ValueError(
            f"Expected history to be a dict of a measure or more. Received "
            f"history={history!r}."
        )
    for name, values in history.items():
        if check_real(f"history[{name!r}]", values).ndim != 1:
            raise ValueError(
                f"Expected a number for each epoch in history[{name!r}]. "
                f"Received shape {np.shape(values)}."
            )
