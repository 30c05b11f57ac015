"""HTML pages: checks of their paths, templates, and numbers as text."""

from datetime import datetime
from importlib.metadata import version
import platform

from jinja2 import Environment, PackageLoader, StrictUndefined
import numpy as np

from dipy_nn_reg.checks import check_path
from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.text import readable

# Packages whose versions are shown on a page.
PACKAGES = ("dipy_nn_reg", "dipy", "numpy")
# Name of each measure as shown on a page, and its number of decimals.
ROWS = {
    "ncc": ("Correlation of the images (NCC)", 3),
    "nmi": ("Normalised mutual information", 3),
    "misplaced": ("Misplaced structure, fraction", 2),
    "dice": ("Overlap of labels (mean Dice)", 3),
    "lost_labels": ("Static labels that the moving map does not have", 0),
    "bundle_dice": ("Overlap of bundles (Dice of their voxels)", 3),
    "bundle_weighted_dice": ("Overlap of bundles, weighted by streamlines", 3),
    "bundle_distance_mm": ("Distance of streamlines to the closest one, mm", 2),
    "covered": ("Static image within the moving one, fraction", 3),
    "shown": ("Moving image within the static one, fraction", 3),
    "information": ("Information of the affine (nats)", 2),
    "rival": ("Information of another alignment, fraction of this", 2),
    "folding": ("Folding, % of the voxels", 5),
    "sd_log_jacobian": ("SDlogJ, as in Learn2Reg", 3),
    "mean_displacement_mm": ("Displacement, mean over the grid, mm", 2),
    "largest_displacement_mm": ("Displacement, largest, mm", 2),
    "inverse_error_mm": ("There and back, mean error over the grid, mm", 3),
    "inverse_error_object_mm": ("There and back, mean error in the object, mm", 3),
}


def check_page(path):
    """Raise an error unless a page can be written to a path.

    Parameters
    ----------
    path : string or Path

    Raises
    ------
    ValueError
        If the path does not end with ``.html`` or is a folder.
    FileNotFoundError
        If the folder of the page does not exist.
    """
    path = check_path("path", path)
    if path.suffix != ".html":
        raise ValueError(
            f"Expected a path that ends with .html. Received path={str(path)!r}."
        )
    if path.is_dir():
        raise ValueError(
            f"Expected the path of a file. Received path={str(path)!r}, a folder."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"Expected a path in a folder that exists. Received path={str(path)!r}."
        )


def write_page(path, template, *, details=None, **values):
    """Write a page from a template, whole or not at all.

    Parameters
    ----------
    path : string or Path
    template : str
        File name of the template.
    details : dict of str, optional
        Entries of the list at the end of the page, besides the time and the versions.
    **values
        Variables of the template.

    Raises
    ------
    ValueError
        If ``details`` is not a dict.
    """
    if not isinstance(details or {}, dict):
        raise ValueError(
            f"Expected details to be a dict. Received details={details!r}."
        )
    environment = Environment(
        loader=PackageLoader("dipy_nn_reg.quality"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    values["details"] = {
        **(details or {}),
        "Made": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "Versions": _versions(),
    }
    page = environment.get_template(template).render(**values)
    with whole_file(path) as partial:
        partial.write_text(readable(page), encoding="utf-8")


def format_number(value, key):
    """Return a value as text, with the decimals of its measure; "" for None.

    Parameters
    ----------
    value : float or None
    key : str
        Name of the measure in :data:`ROWS`.
    """
    if value is None:
        return ""
    return f"{value:.{ROWS[key][1]}f}" if np.isfinite(value) else "not a number"


def _versions():
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"{versions}, Python {platform.python_version()}"
