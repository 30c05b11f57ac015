"""Areas of the public interface, and the percentage of the cases that each gets."""

from importlib import import_module
from pkgutil import walk_packages
from typing import NamedTuple

import numpy as np

import dipy_nn_reg
from fuzzing import (
    calls_measures,
    calls_models,
    calls_pages,
    calls_tensors,
    calls_worlds,
    cases_commands,
    cases_files,
    cases_models,
)
from fuzzing.mutate import mutate


class Area(NamedTuple):
    """A part of the public interface.

    Attributes
    ----------
    share : float
        Percentage of all cases.
    strict : bool
        Whether only a right result, or an error of ours, is acceptable.
    makers : tuple of callable
        Functions of the modules ``calls_...``, which return a call, or of the modules
        ``cases_...``, which return a case.
    """

    share: float
    strict: bool
    makers: tuple


_A, _W, _T = calls_measures, calls_worlds, calls_tensors
_P, _M = calls_pages, calls_models
CALLS = {
    "register": Area(1.5, True, (_M.register,)),
    "constructors": Area(1.5, True, (_M.deformable, _M.deformable, _M.affine_model)),
    "fit": Area(1.0, True, (_M.fit,)),
    "predict": Area(
        2.5,
        True,
        (
            _M.predict,
            _M.predict_field,
            _M.predict_affine,
            _M.predict_mapping,
            _M.evaluate,
            _M.refine,
        ),
    ),
    "report": Area(2.0, False, (_P.write_report, _P.write_cohort)),
    "viz": Area(
        5.0,
        False,
        (
            _P.plot_images,
            _P.plot_fields,
            _P.plot_histograms,
            _P.plot_dice,
            _P.plot_registration,
            _P.plot_history,
            _P.draw_grid,
        ),
    ),
    "compare": Area(
        0.8, False, (_P.compare_measure, _P.register_with_syn, _P.compare_with_syn)
    ),
    "data": Area(1.5, False, (_P.load_mnist,)),
    "transform": Area(
        8.0, False, (_T.identity_grid, _T.sample, _T.warp, _T.compose, _T.integrate)
    ),
    "losses": Area(6.0, False, (_T.loss,)),
    "penalties": Area(6.0, False, (_T.penalty, _T.penalty, _T.inverse_consistency)),
    "phantoms": Area(1.5, False, (_T.make_phantoms,)),
    "metrics": Area(
        9.0,
        False,
        (
            _A.ncc,
            _A.dice,
            _A.jacobian_determinant,
            _A.folding,
            _A.sd_log_jacobian,
            _A.target_registration_error,
            _A.to_unit_range,
        ),
    ),
    "label_metrics": Area(4.0, False, (_A.dice_of_labels, _A.hausdorff95_of_labels)),
    "map_metrics": Area(1.5, False, (_A.measure_field,)),
    "mapping": Area(
        8.0,
        False,
        (
            _W.displacement_to_mapping,
            _W.displacement_to_mapping,
            _W.invert_displacement,
            _W.mapping_to_displacement,
            _W.invert_mapping,
            _W.lift_mapping,
            _W.check_affine,
        ),
    ),
    "resampling": Area(
        6.0,
        False,
        (
            _W.to_moving,
            _W.to_static,
            _W.resample,
            _W.read_on_grid,
            _W.grid_of_voxel_size,
            _W.inverse_error,
        ),
    ),
    "prealign": Area(1.0, False, (_W.estimate_prealign, _W.check_prealign)),
    "diffusion": Area(2.0, False, (_W.rotate_bvecs,)),
    "splines": Area(3.0, False, (_W.thin_plate_spline,)),
    "intensities": Area(2.0, False, (_A.estimate_background, _A.replace_nan)),
    "quality": Area(2.0, False, (_A.misplaced, _A.apply_map_and_measure)),
}
_F = cases_files
CASES = {
    "nifti": Area(8.0, True, (*[_F.read_image] * 3, _F.write_image)),
    "field_files": Area(6.0, True, (*[_F.load_mapping] * 3, _F.save_mapping)),
    "workflows.inputs": Area(5.0, True, (*[_F.read_table] * 2, _F.read_streamlines)),
    "readers of paths": Area(2.0, True, (_F.read_path,)),
    "damaged digits": Area(1.5, True, (_F.load_mnist,)),
    "save and load": Area(
        2.5, True, (cases_models.load, cases_models.load_weights, cases_models.save)
    ),
    "commands": Area(3.0, True, (cases_commands.command,)),
    "commands, as processes": Area(0.2, True, (cases_commands.process,)),
}
AREAS = {**CALLS, **CASES}


def is_strict(area):
    """Return whether only a right result or an error of ours is acceptable."""
    return AREAS[area].strict if area in AREAS else True


def prepare():
    """Import everything that changes a process when it is imported."""
    for name in ("dipy.align.imaffine", "dipy.align.transforms", "dipy.io.streamline"):
        import_module(name)
    for module in walk_packages(dipy_nn_reg.__path__, "dipy_nn_reg."):
        import_module(module.name)
    import matplotlib.pyplot as plt
    import tensorflow as tf

    tf.constant(1)
    plt.close(plt.figure())


def make_case(seed, number, folder, *, only=None):
    """Make a case from its number and the seed alone.

    Parameters
    ----------
    seed, number : int
    folder : Path
        Empty folder of the case.
    only : list of str, optional
        Names of the areas to choose from; by default all.

    Returns
    -------
    case : Case
    """
    rng = np.random.default_rng([seed, number])
    names = list(only or AREAS)
    shares = np.array([AREAS[name].share for name in names])
    area = names[rng.choice(len(names), p=shares / shares.sum())]
    makers = AREAS[area].makers
    make = makers[rng.integers(len(makers))]
    if area in CASES:
        case = make(rng, folder)
        case.area = area
        return case
    call = make(rng, folder)
    return mutate(call, area, rng, folder, strict=AREAS[area].strict)
