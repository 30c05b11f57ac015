"""Folders in BIDS: images of people, and the names of derivatives."""

import json
from pathlib import Path
import re

from dipy_nn_reg import __version__
from dipy_nn_reg.io.atomic import whole_file

DESCRIPTION = "dataset_description.json"
SUFFIX = "T1w"  # of the images, unless another one is named
# Version of BIDS whose names are used, that of derivatives of anatomical images.
_VERSION = "1.8.0"
_LABEL = re.compile(r"[A-Za-z0-9]+")


def is_dataset(path):
    """Return whether a folder is a dataset in BIDS."""
    return (Path(path) / DESCRIPTION).is_file()


def find_images(folder, *, suffix, participants=()):
    """Return the images of a suffix in a dataset.

    Parameters
    ----------
    folder : string or Path
    suffix : str
        Such as ``T1w``.
    participants : sequence of str, optional
        Labels of the people, with or without ``sub-``; by default all.

    Returns
    -------
    images : list of Path
        Within ``folder``, sorted, with one image or more of each person.

    Raises
    ------
    ImportError
        If the package ``bids2table`` is not installed.
    ValueError
        If there are no such images, or none of a person who is named.
    """
    try:
        import bids2table
    except ImportError as error:
        raise ImportError(
            'Expected the package bids2table: pip install "dipy_nn_reg[cohort]".'
        ) from error
    rows = bids2table.index_dataset(str(folder)).to_pylist()
    rows = [
        r for r in rows if r["suffix"] == suffix and r["ext"] in (".nii", ".nii.gz")
    ]
    wanted = {str(label).removeprefix("sub-") for label in participants}
    missing = sorted(wanted - {row["sub"] for row in rows})
    if missing or not rows:
        of_whom = f" of {', '.join(missing)}" if missing else ""
        raise ValueError(
            f"Expected images with the suffix {suffix!r}{of_whom}. Received "
            f"{str(folder)!r} without."
        )
    # The folder as the user wrote it: bids2table makes it absolute, and follows links.
    return sorted(
        Path(folder) / row["path"] for row in rows if not wanted or row["sub"] in wanted
    )


def check_space(space):
    """Raise ValueError unless a name of a space is one of letters and digits."""
    if not _LABEL.fullmatch(space):
        raise ValueError(
            f"Expected a space of letters and digits, such as 'MNI152NLin2009cAsym'. "
            f"Received {space!r}."
        )


def space_of(path):
    """Return the name of the space of an image, from the name of its file.

    Parameters
    ----------
    path : Path
        With an entity ``tpl-`` or ``space-``; otherwise all letters and digits of the
        name are used.

    Returns
    -------
    space : str
    """
    entity = re.search(r"(?:^|_)(?:tpl|space)-([A-Za-z0-9]+)", path.name)
    return entity[1] if entity else "".join(_LABEL.findall(path.name.split(".")[0]))


def outputs_of(image, root, out_dir, *, space, ending):
    """Return the derivatives of an image, named as fMRIPrep names them.

    Parameters
    ----------
    image, root : Path
        Image in a dataset, and the folder of the dataset.
    out_dir : Path
    space : str
        Name of the space of the static image.
    ending : str
        Ending of a file with a map.

    Returns
    -------
    outputs : dict of Path
    """
    stem, _, suffix = image.name.split(".nii")[0].rpartition("_")
    place = out_dir / image.relative_to(root).parent
    person = out_dir / image.relative_to(root).parts[0]
    mapped = f"{stem}_from-{{}}_to-{{}}_mode-image_xfm{ending}"
    shown = f"{stem}_space-{space}_desc-reg_{suffix}"
    return {
        "out_warped": place / f"{stem}_space-{space}_desc-preproc_{suffix}.nii.gz",
        "out_field": place / mapped.format(suffix, space),
        "out_inverse": place / mapped.format(space, suffix),
        "out_prealign": place / f"{stem}_from-{suffix}_to-{space}_desc-affine_xfm.txt",
        "out_overview": person / "figures" / f"{shown}.jpg",
        "out_report": person / "figures" / f"{shown}.html",
    }


def describe(folder):
    """Write the description of a dataset of derivatives, unless there is one.

    Parameters
    ----------
    folder : Path
    """
    path = folder / DESCRIPTION
    if path.exists():
        return
    description = {
        "Name": "Registrations of dipy_nn_reg",
        "BIDSVersion": _VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "dipy_nn_reg", "Version": __version__}],
    }
    with whole_file(path) as partial:
        partial.write_text(json.dumps(description, indent=2) + "\n")
