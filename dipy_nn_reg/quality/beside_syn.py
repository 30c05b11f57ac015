"""Comparison of a trained model with DIPY's SyN on the same 2D pairs."""

from time import perf_counter

from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
from dipy.align.metrics import CCMetric, SSDMetric
import numpy as np

from dipy_nn_reg import metrics
from dipy_nn_reg.checks import check_contrast, check_integer, check_name, check_real
from dipy_nn_reg.io.tables import format_rows
from dipy_nn_reg.progress import progress_bar

# Metrics of SyN. DIPY requires images larger than 2 * radius + 1 voxels, at the
# coarsest level too, which has 7 voxels for images of 28 and three levels.
SYN_METRICS = {"SSD": lambda: SSDMetric(2), "CC": lambda: CCMetric(2, radius=2)}
# Iterations of SyN at each level, from coarse to fine.
SYN_LEVEL_ITERS = (200, 100, 50)
# Measures in the columns of a table.
COLUMNS = ("ncc", "dice", "folding", "strict_folding", "seconds")


def compare_with_syn(registration, moving, static, *, syn_pairs):
    """Return mean measures of 2D pairs before and after a model and SyN.

    Parameters
    ----------
    registration : DeformableRegistration
        A trained model.
    moving : ndarray, shape (n, rows, columns)
    static : ndarray, shape (rows, columns)
    syn_pairs : int
        Number of pairs, from the first one, on which all methods are compared.

    Returns
    -------
    table : dict of dict of float
        A row for each method, and one for the model on all n pairs, with the means of
        :func:`measure` and ``seconds`` per pair. The model registers all pairs in one
        call. Its second call is timed, since the first one compiles.

    Raises
    ------
    ValueError
        If ``syn_pairs`` is not a positive integer, or as :func:`register_with_syn`.
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
    all_pairs = _mean_row(static, warped, field)
    table[f"dipy_nn_reg, all {len(moving)} pairs"] = {**all_pairs, **seconds}
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
        Duration of the registration.

    Raises
    ------
    ValueError
        If the metric is unknown, or if the arrays are not two images of one size, with
        contrast and finite values, without which DIPY would crash.
    """
    check_name("metric", metric, SYN_METRICS)
    moving, static = _check_image("moving", moving), _check_image("static", static)
    if moving.ndim != 2 or moving.shape != static.shape:
        raise ValueError(
            f"Expected two images of one size, of two axes. Received moving.shape="
            f"{moving.shape} and static.shape={static.shape}."
        )
    start = perf_counter()
    syn = SymmetricDiffeomorphicRegistration(
        SYN_METRICS[metric](), level_iters=list(SYN_LEVEL_ITERS)
    )
    syn.verbosity = 0
    mapping = syn.optimize(static, moving)
    warped = mapping.transform(moving)
    seconds = perf_counter() - start
    # DIPY's map reads the moving image through its backward field, which is in voxels
    # if there are no affines.
    return warped, np.asarray(mapping.backward), seconds


def measure(static, warped, displacement):
    """Return the measures of one registration.

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
        :func:`~dipy_nn_reg.metrics.measure_pair`.

    Raises
    ------
    ValueError
        As :func:`~dipy_nn_reg.metrics.measure_pair`.
    """
    row = metrics.measure_pair(static, warped, displacement)
    ncc = row.pop("ncc_after")
    return {"ncc": ncc, "dice": metrics.dice(static, warped), **row}


def format_table(table):
    """Return a table of :func:`compare_with_syn` as lines of text."""
    return format_rows(table_rows(table), ["method", *COLUMNS])


def table_rows(table):
    """Return the rows of a table of :func:`compare_with_syn`, each with its method."""
    return [{"method": method, **row} for method, row in table.items()]


def _check_image(name, image):
    """Return a copy of an image, or raise ValueError if SyN cannot register it."""
    image = np.array(check_real(name, image))  # DIPY writes into its input
    low, high = float(image.min()), float(image.max())
    # The range has to be finite in float32, in which DIPY compares images.
    with np.errstate(over="ignore", invalid="ignore"):
        is_finite = np.isfinite(np.float32(high) - np.float32(low))
    if not is_finite:
        raise ValueError(
            f"Expected finite values in {name}. Received NaN or infinite ones."
        )
    if low == high:
        raise ValueError(
            f"Expected {name} with contrast. Received only values of {low}."
        )
    check_contrast(image[None, ..., None], name=name)
    return image


def _mean_row(static, warped, displacement):
    rows = [measure(static, *pair) for pair in zip(warped, displacement)]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
