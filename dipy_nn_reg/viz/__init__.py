"""Figures of registrations, drawn by matplotlib from arrays.

Each ``plot_`` function returns a figure, which it neither shows nor closes.
"""

from dipy_nn_reg.viz.fields import plot_field, plot_jacobian
from dipy_nn_reg.viz.images import plot_images
from dipy_nn_reg.viz.measures import plot_dice, plot_histograms
from dipy_nn_reg.viz.panels import draw_grid
from dipy_nn_reg.viz.rows import plot_registration
from dipy_nn_reg.viz.training import plot_history

__all__ = [
    "draw_grid",
    "plot_dice",
    "plot_field",
    "plot_histograms",
    "plot_history",
    "plot_images",
    "plot_jacobian",
    "plot_registration",
]
