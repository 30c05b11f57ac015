"""Registration of one pair on one grid, by this package and by others.

A method takes the moving and the static image, float32 of one shape, the size of a
voxel in mm and a trained model (or None). It returns the displacement and its
inverse, in voxels.
"""

from functools import partial

import numpy as np

from dipy_nn_reg.mapping.inversion import invert_displacement
from dipy_nn_reg.mapping.maps import mapping_to_displacement


def affine(moving, static, size, model):
    still = np.zeros((*static.shape, static.ndim), np.float32)
    return still, still


def dipy_syn(moving, static, size, model):
    return mapping_to_displacement(map_by_syn(moving, static))


def map_by_syn(moving, static, *, level_iters=(10, 10, 5), **grids):
    """Return the map of DIPY's SyN, by correlation."""
    from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
    from dipy.align.metrics import CCMetric

    syn = SymmetricDiffeomorphicRegistration(CCMetric(3), level_iters=list(level_iters))
    syn.verbosity = 0
    return syn.optimize(static, moving, **grids)


def ants_syn(moving, static, size, model, *, metric="mattes", sampling=32, **options):
    import ants

    images = [ants.from_numpy(i, spacing=[size] * i.ndim) for i in (static, moving)]
    # ``sampling`` is the number of bins for "mattes", the radius in voxels for "CC".
    done = ants.registration(
        *images,
        "SyNOnly",
        initial_transform="Identity",
        syn_metric=metric,
        syn_sampling=sampling,
        **options,
    )
    fields = done["fwdtransforms"][0], done["invtransforms"][-1]
    return tuple(ants.image_read(field).numpy() / size for field in fields)


def demons(moving, static, size, model, *, sigma=1.0):
    import SimpleITK as sitk

    static, moving = (sitk.GetImageFromArray(image) for image in (static, moving))
    field = None
    for shrink in (4, 2, 1):
        images = [_shrink(sitk, image, shrink) for image in (static, moving)]
        filter_ = sitk.DiffeomorphicDemonsRegistrationFilter()
        filter_.SetNumberOfIterations(50)
        filter_.SetStandardDeviations(sigma)
        if field is None:
            field = filter_.Execute(*images)
        else:
            field = sitk.Resample(field, images[0], sitk.Transform(), sitk.sitkLinear)
            field = filter_.Execute(*images, field)
    # SimpleITK has the axes in reverse order.
    displacement = sitk.GetArrayFromImage(field)[..., ::-1].astype(np.float32)
    return displacement, invert_displacement(displacement)


def _shrink(sitk, image, factor):
    if factor == 1:
        return image
    smooth = sitk.SmoothingRecursiveGaussian(image, factor / 2)
    return sitk.Shrink(smooth, [factor] * image.GetDimension())


def model(moving, static, size, model):
    prediction = model.predictor.predict_on_grid(moving[..., None], static[..., None])
    parts = prediction.parts
    return parts.displacement, parts.invert()


def ours(moving, static, size, model):
    from dipy_nn_reg import register

    mapping, _ = register(moving, static, model=model, prealign=None)
    return mapping_to_displacement(mapping)


METHODS = {
    "affine": affine,
    "DIPY SyN (CC)": dipy_syn,
    "ANTs SyN (MI)": ants_syn,
    "ANTs SyN (CC)": partial(ants_syn, metric="CC", sampling=2),
    "diffeomorphic demons (SimpleITK)": demons,
    "trained model": model,
    "trained with labels": model,
    "trained model, refined": ours,
    "trained with labels, refined": ours,
    "register": ours,
}
NEED_MODEL = (
    "trained model",
    "trained with labels",
    "trained model, refined",
    "trained with labels, refined",
)
COMPILED = (*NEED_MODEL, "register")
