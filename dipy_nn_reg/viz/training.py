"""The course of a training."""

import matplotlib.pyplot as plt


def plot_history(history):
    """Draw the loss and the other measures of a training over its epochs.

    Parameters
    ----------
    history : dict of list of float
        ``fit(...).history``; names that start with ``val_`` are drawn dashed, beside
        those that they validate.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    if not history:
        raise ValueError(f"Expected a measure or more. Received history={history!r}.")
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
