import matplotlib.pyplot as plt
import numpy.testing as npt
import pytest

from dipy_nn_reg.viz import plot_history


def test_each_measure_is_drawn_beside_its_validation():
    history = {"loss": [3, 2], "val_loss": [4, 3], "ncc": [0, 1]}
    figure = plot_history({**history, "val_folding": [0, 0]})
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["loss", "ncc", "folding"]
    assert [len(ax.lines) for ax in figure.axes] == [2, 1, 1]
    npt.assert_array_equal(figure.axes[0].lines[1].get_ydata(), [4, 3])


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({}, "a dict of a measure or more. Received history={}"),
        ([3, 2], "a dict of a measure or more"),
        ({1: [3, 2]}, "a dict of a measure or more"),
        ({"loss": [[3, 2]]}, "a number for each epoch in history\\['loss'\\]"),
        ({"loss": ["3"]}, "real numbers in history\\['loss'\\]"),
    ],
)
def test_invalid_histories_are_refused(history, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        plot_history(history)
    assert not plt.get_fignums()
