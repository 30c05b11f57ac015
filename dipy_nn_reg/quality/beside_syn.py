"""Measure a trained model beside DIPY's SyN, on the same pairs and in the same way."""

from time import perf_counter

from dipy.align import VerbosityLevels
from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
from dipy.align.metrics import CCMetric, SSDMetric
import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.checks import check_contrast, check_integer, check_name, check_real
from dipy_nn_reg.io.tables import format_rows
from dipy_nn_reg.progress import progress_bar

# DIPY asks for images larger than 2 * radius + 1 voxels, at the coarsest level too:
# that is 7 voxels for images of 28 and three levels.
SYN_METRICS = {"SSD": lambda: SSDMetric(2), "CC": lambda: CCMetric(2, radius=2)}
SYN_LEVEL_ITERS = (200, 100, 50)
COLUMNS = ("ncc", "dice", "folding", "strict_folding", "seconds")


def compare_with_syn(registration, moving, static, *, syn_pairs):
    """Average the measures of 2D pairs before, after ours and after SyN.

    Parameters
    ----------
    registration : DeformableRegistration
        A trained model.
    moving : ndarray, shape (n, rows, columns)
    static : ndarray, shape (rows, columns)
    syn_pairs : int
        How many of the pairs, from the first one, all methods are compared on.

    Returns
    -------
    table : dict of dict of float
        A row for each method, and one of our model on all n pairs: the means of
        :func:`measure`, and ``seconds`` a pair. The model registers all pairs in one
        call, timed when called again, since the first call compiles.

    Raises
    ------
    ValueError
        If ``syn_pairs`` is not a number of pairs, and as :func:`register_with_syn`.
    """
    check_integer("syn_pairs", syn_pairs, lowest=1)
    field = registration.predict_field(moving, static)
    registration.predict(moving, static)
    start = perf_counter()
    warped = registration.predict(moving, static)
    seconds = {"seconds": (perf_counter() - start) / len(moving)}

    sample = moving[:syn_pairs]
    table = {
        "before": _mean_row(static, sample, np.zeros((*sample.shape, 2))),
        "dipy_nn_reg": {**_mean_row(static, warped[:syn_pairs], field), **seconds},
    }
    for metric in SYN_METRICS:
        results = [
            register_with_syn(image, static, metric=metric)
            for image in progress_bar(sample, desc=f"SyN ({metric})")
        ]
        syn_warped, displacement, syn_seconds = zip(*results)
        row = _mean_row(static, syn_warped, displacement)
        table[f"SyN ({metric})"] = {**row, "seconds": float(np.mean(syn_seconds))}
    everything = _mean_row(static, warped, field)
    table[f"dipy_nn_reg, all {len(moving)} pairs"] = {**everything, **seconds}
    return table


def register_with_syn(moving, static, *, metric):
    """Register two small 2D images with DIPY's SyN.

    Parameters
    ----------
    moving, static : ndarray, shape (rows, columns)
    metric : {"SSD", "CC"}

    Returns
    -------
    warped : ndarray, shape (rows, columns)
    displacement : ndarray, shape (rows, columns, 2)
        In voxels.
    seconds : float

    Raises
    ------
    ValueError
        If the metric is unknown, or if these are not two images of one size, with
        contrast and of finite numbers: of others DIPY would crash.
    """
    check_name("metric", metric, SYN_METRICS)
    moving, static = _finite("moving", moving), _finite("static", static)
    if moving.ndim != 2 or moving.shape != static.shape:
        raise ValueError(
            f"Expected two images of one size, of two axes. Received moving.shape="
            f"{moving.shape} and static.shape={static.shape}."
        )
    start = perf_counter()
    syn = SymmetricDiffeomorphicRegistration(
        SYN_METRICS[metric](), level_iters=list(SYN_LEVEL_ITERS)
    )
    syn.verbosity = VerbosityLevels.NONE
    mapping = syn.optimize(static, moving)
    warped = mapping.transform(moving)
    seconds = perf_counter() - start
    # DIPY's map reads the moving image through its backward field; without affines
    # that field is in voxels.
    return warped, np.asarray(mapping.backward), seconds


def measure(static, warped, displacement):
    """Measure one registration.

    Parameters
    ----------
    static, warped : ndarray, shape (*spatial,)
    displacement : ndarray, shape (*spatial, ndim)
        In voxels.

    Returns
    -------
    row : dict of float
        ``ncc`` and ``dice`` (threshold 0.5) of the static and the warped image;
        ``folding`` and ``strict_folding`` in percent of the voxels, see
        :func:`dipy_nn_reg.metrics.folding`.
    """
    return {
        "ncc": metrics.ncc(static, warped),
        "dice": metrics.dice(static, warped),
        "folding": metrics.folding(displacement),
        "strict_folding": metrics.folding(displacement, strict=True),
    }


def format_table(table):
    """Return a table of :func:`compare_with_syn` as lines of text."""
    return format_rows(table_rows(table), ["method", *COLUMNS])


def table_rows(table):
    """Return the rows of a table, each with its method."""
    return [{"method": method, **row} for method, row in table.items()]


def _finite(name, image):
    image = np.array(check_real(name, image))  # DIPY writes to what it reads
    low, high = float(image.min()), float(image.max())
    # In float32, in which DIPY compares them.
    with np.errstate(over="ignore", invalid="ignore"):
        is_finite = np.isfinite(np.float32(high) - np.float32(low))
    if not is_finite:
        raise ValueError(
            f"Expected finite values in {name}. Received NaN or infinite ones."
        )
    if low == high:
        raise ValueError(
            f"Expected {name} with contrast. Received an image whose values are all "
            f"{low}."
        )
    check_contrast(image, name=name)
    return image


def _mean_row(static, warped, displacement):
    rows = [measure(static, *pair) for pair in zip(warped, displacement)]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
