"""Cases of the readers and writers of files."""

import nibabel as nib
import numpy as np

from dipy_nn_reg import data
from dipy_nn_reg.io import fields, nifti, nifti_writing, point_tables, points
from fuzzing import damage, files, scenes
from fuzzing.call import Call, Case, affine, image, maybe, name_of, path
from fuzzing.call import mapping as map_of
from fuzzing.mutate import mutate

ENDINGS = (".nii.gz", ".nii.gz", ".nii", ".mgz", ".img")
READERS = {
    "read_image": nifti.read_image,
    "read_labels": nifti.read_labels,
    "load_mapping": fields.load_mapping,
    "read_affine": points.read_affine,
    "read_points": point_tables.read_points,
    "load_mnist": data.load_mnist,
}


def read_image(rng, folder):
    """Return a case of a damaged image, series or label map."""
    ending = ENDINGS[rng.integers(len(ENDINGS))]
    ndim = int(rng.integers(2, 4))
    if rng.random() < 0.3:
        file = files.write_labels(folder / f"labels{ending}", rng, ndim)
        read, name, options = nifti.read_labels, "read_labels", {}
    else:
        array = scenes.blob(rng, scenes.PAIRS[ndim])
        types = ("f4", "f4", "i2", "u1", "f8" if ending != ".mgz" else "f4")
        array = (100 * array).astype(types[rng.integers(len(types))])
        if rng.random() < 0.2 and ndim == 3:
            array = np.stack([array, array], -1)
        file = files.write_image(folder / f"image{ending}", array)
        read, name = nifti.read_image, "read_image"
        options = {"series": array.ndim == 4 or rng.random() < 0.5}
        options["vectors"] = rng.random() < 0.2
    return _damaged("nifti", name, read, options, file, rng, is_nifti=ending != ".mgz")


def load_mapping(rng, folder):
    """Return a case of a damaged field, which is then used."""
    ndim = int(rng.integers(2, 4))
    format = files.FIELD_FORMATS[rng.integers(4)]
    ending = ENDINGS[rng.integers(3)]
    file = files.write_field(folder / f"field{ending}", rng, ndim, format=format)
    options = {}
    if rng.random() < 0.3:
        options = {"format": format}
    if rng.random() < 0.3:
        options["moving_shape"] = (20, 18, 1)[: 3 if ndim == 2 else ndim]
        options["moving_affine"] = np.diag([2.0, 2, 2, 1])
    if rng.random() < 0.4:
        how = damage.damage_extension(file, rng)
        return _reader("field_files", "load_mapping", _used, options, file, how)
    if rng.random() < 0.2:
        how = _spoil_values(file, rng)
        return _reader("field_files", "load_mapping", _used, options, file, how)
    return _damaged("field_files", "load_mapping", _used, options, file, rng)


def _used(path, **options):
    """Read a field and apply it to an image and to points."""
    made = fields.load_mapping(path, **options)
    shape = tuple(int(n) for n in made.domain_shape)
    if np.prod([float(n) for n in shape]) > 1e6:
        return made
    warped = made.transform(np.ones(shape, np.float32))
    return made, warped, made.transform_points(np.ones((2, made.dim)))


def _spoil_values(path, rng):
    file = nib.load(path)
    values = np.array(file.dataobj)  # not mapped: it is written anew
    new = (np.nan, np.inf, 1e30, -1e38)[rng.integers(4)]
    values.flat[rng.integers(values.size)] = new
    nib.save(nib.Nifti1Image(values, file.affine, file.header), path)
    return f"a value of {new}"


def _damaged(area, name, read, options, file, rng, *, is_nifti=True):
    how = rng.random()
    if how < 0.15:
        said, file = damage.damage_name(file, rng)
        return _reader(area, name, read, options, file, said)
    if is_nifti and how < 0.5 and file.suffix != ".img":
        said = damage.damage_header(file, rng)
        return _reader(area, name, read, options, file, said)
    if is_nifti and how < 0.55 and file.suffix != ".img":
        said = damage.claim_size(file, rng)
        return _reader(area, name, read, options, file, said)
    packed = file.suffix in (".gz", ".mgz")
    expected = read(file, **options) if packed else None
    said = damage.damage_bytes(file, rng)
    # A file with a checksum is either read correctly or refused. Bytes after its end do
    # not count.
    return _reader(area, name, read, options, file, said, expected)


def _reader(area, name, read, options, file, how, expected=None):
    return Case(
        area=area,
        function=name,
        mutation=f"{''.join(file.suffixes)}: {how}",
        run=lambda path: _without_paths(read(path, **options)),
        arguments={"path": file},
        read_equal=None if expected is None else _without_paths(expected),
    )


def _without_paths(found):
    """Return a result without the parts that do not depend on the voxels."""
    if isinstance(found, nifti.Image):
        return {"data": found.data, "affine": found.affine}
    return found


def read_table(rng, folder):
    """Return a case of a text file with points or an affine."""
    if rng.random() < 0.5:
        file, name = files.write_affine(folder / "affine.txt", rng), "read_affine"
    else:
        ending = (".csv", ".txt")[rng.integers(2)]
        file, name = files.write_table(folder / f"points{ending}", rng), "read_points"
    if rng.random() < 0.2:
        how, file = damage.damage_name(file, rng)
    else:
        how = damage.damage_text(file, rng)
    return _reader("workflows.inputs", name, READERS[name], {}, file, how)


def read_streamlines(rng, folder):
    """Return a case of a damaged tractogram."""
    static, _ = files.write_pair(folder, 3)
    ending = (".trk", ".tck", ".trx")[rng.integers(3)]
    file = files.write_tractogram(folder / f"bundle{ending}", rng, static)
    if rng.random() < 0.2:
        how, file = damage.damage_name(file, rng)
    else:
        how = damage.damage_bytes(file, rng)

    def read(path):
        found = points.read_streamlines(path, static)
        return np.asarray(found.streamlines.get_data())

    return _reader("workflows.inputs", "read_streamlines", read, {}, file, how)


def load_mnist(rng, folder):
    """Return a case of a folder of digits, one file of which is damaged."""
    place = files.write_mnist(folder / "digits", rng)
    chosen = sorted(place.iterdir())[rng.integers(4)]
    how = damage.damage_bytes(chosen, rng)
    return _reader("data", "load_mnist", data.load_mnist, {}, place, how)


def read_path(rng, folder):
    """Return a case of a reader whose argument is not the path of a file."""
    name = list(READERS)[rng.integers(len(READERS))]
    call = Call(
        READERS[name], call_name=name, path=path(_valid_file(name, rng, folder))
    )
    if name == "load_mnist":
        call.run = lambda path: data.load_mnist(path)
    elif "read_" in name and name not in ("read_affine", "read_points"):
        call.run = lambda path: _without_paths(READERS[name](path))
    return mutate(call, READERS[name].__module__[12:], rng, folder, strict=True)


def _valid_file(name, rng, folder):
    if name == "load_mapping":
        return files.write_field(folder / "field.nii.gz", rng, 3)
    if name == "read_affine":
        return files.write_affine(folder / "affine.txt", rng)
    if name == "read_points":
        return files.write_table(folder / "points.csv", rng)
    if name == "load_mnist":
        return files.write_mnist(folder / "digits", rng)
    return files.write_labels(folder / "labels.nii.gz", rng, 3)


def write_image(rng, folder):
    """Return a case of the writer of images."""
    size = scenes.any_shape(rng, ndim=3)
    array = scenes.blob(rng, size)

    def write(path, **arguments):
        nifti_writing.write_image(path, **arguments)
        return np.asanyarray(nib.load(path).dataobj)

    call = Call(
        write,
        call_name="write_image",
        path=path(folder / ("out.nii.gz" if rng.random() < 0.7 else "out.nii")),
        data=image(array),
        affine=affine(scenes.affine(rng, 3)),
        written=("out.nii.gz", "out.nii", *files.SPECIAL),
        nan="through",
    )
    return mutate(call, "nifti", rng, folder, strict=False)


def save_mapping(rng, folder):
    """Return a case of the writer of fields, whose file is then read."""
    size = scenes.any_shape(rng, thin=False)

    def save(path, **arguments):
        fields.save_mapping(path, **arguments)
        return fields.load_mapping(path)

    call = Call(
        save,
        call_name="save_mapping",
        path=path(folder / "out.nii.gz"),
        mapping=map_of(scenes.mapping(rng, size)),
        written=("out.nii.gz", *files.SPECIAL),
        **maybe(rng, format=name_of(files.FIELD_FORMATS[rng.integers(4)])),
    )
    return mutate(call, "field_files", rng, folder, strict=True)
