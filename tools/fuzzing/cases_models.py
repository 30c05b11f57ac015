"""Cases of loading damaged, forged and absurd models, and of saving models."""

import json

import numpy as np

from dipy_nn_reg import AffineRegistration, DeformableRegistration
from fuzzing import damage, scenes
from fuzzing.call import Call, Case, path
from fuzzing.judge import MARKER
from fuzzing.mutate import mutate

_KINDS = ("deformable", "affine")
_OPTIONS = {
    "loss": (-1, "x", None, 3.5, [], "os.system", {"partial": "ncc", "options": {}}),
    "penalty": ("x", None, 7, {"gradient": "x"}, {"x": 1}, []),
    "smoothness": ("x", -1, 1e300, None, [1], float("nan")),
    "field_stride": (-1, 0, 3, "2", 10**9, None),
    "label_weight": (None, "x", -1),
    "input_shape": ([10**6] * 2, [0, 0], [-1, 5], "ab", None, [28], [16] * 4, [1.5, 2]),
    "num_channels": (3000000, 0, -1, "1", None, 2, 1.5),
    "network": ("x", None, 5, "os.system", [], "unet"),
    "transform": ("x", None, "affine", "tps", 3),
    "spacing": (0, -1, "x", 10**9, 4),
    "passes": (0, -1, 10**7, "x", None),
    "precision": ("x", None, "float64", "bfloat16"),
    "seed": ("x", -1, 1.5, 10**30),
    "learning_rate": ("x", -1, None, 1e300),
    "affine": ("x", 5, {"class_name": "Dense", "config": {"units": 3}}),
    "name": (5, None, "a/b", "../x"),
}


def load(rng, folder):
    """Return a case of loading a model from a file that was changed."""
    ndim = int(rng.choice([2, 2, 3]))
    kind = _KINDS[rng.integers(2)]
    file = folder / "model.keras"
    file.write_bytes(_saved(ndim, kind))
    how = _damage(file, rng, folder)
    loader = DeformableRegistration if kind == "deformable" else AffineRegistration
    if rng.random() < 0.1:
        loader = AffineRegistration if kind == "deformable" else DeformableRegistration

    def run(path):
        registration = loader.load(path)
        size = registration.options["input_shape"]
        moving, static = scenes.pair(len(size))
        return registration.predict_field(moving[None], static)

    unchanged = how in ("flip", "flips", "cut short", "cut", "zeros")
    return Case(
        area="save and load",
        function=f"{loader.__name__}.load",
        mutation=how,
        run=run,
        arguments={"path": file},
        read_equal=_field_of(ndim, kind) if unchanged else None,
    )


_CACHE = {}


def _saved(ndim, kind):
    """Return the bytes of a saved model."""
    key = "bytes", ndim, kind
    if key not in _CACHE:
        from pathlib import Path
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            scenes.model(ndim, kind).save(path)
            _CACHE[key] = path.read_bytes()
    return _CACHE[key]


def _field_of(ndim, kind):
    key = "field", ndim, kind
    if key not in _CACHE:
        moving, static = scenes.pair(ndim)
        _CACHE[key] = scenes.model(ndim, kind).predict_field(moving[None], static)
    return _CACHE[key]


def _damage(path, rng, folder):
    how = rng.random()
    if how < 0.4:
        return damage.damage_bytes(path, rng)
    if how < 0.75:
        return _change_option(path, rng)
    return _forge(path, rng, folder)


def _change_option(path, rng):
    name = list(_OPTIONS)[rng.integers(len(_OPTIONS))]
    value = _OPTIONS[name][rng.integers(len(_OPTIONS[name]))]

    def replace(member, content):
        if member == "config.json":
            config = json.loads(content)
            config["config"][name] = value
            content = json.dumps(config)
        return [(member, content)]

    damage.damage_zip(path, rng, replace)
    return f"config: {name} = {str(value)[:40]}"


# Members of the file of a model that replace its own; None removes the member.
_MEMBERS = {
    "no metadata": ("metadata.json", None),
    "no weights": ("model.weights.h5", None),
    "weights of text": ("model.weights.h5", b"text"),
    "config of text": ("config.json", b"text"),
    "config of a list": ("config.json", b"[]"),
    "config is deep": ("config.json", b"[" * 5000 + b"]" * 5000),
    "path upwards": ("../outside.txt", b"x"),
    "long member": ("config.json", b" " * 10**8),
}


def _forgeries(command):
    """Return changes of a configuration, by name, some of which hide a command."""
    system = {
        "module": "os",
        "class_name": "function",
        "config": "system",
        "registered_name": "system",
    }
    layer = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {
            "name": "l",
            "function": {**system, "config": "system"},
            "arguments": {"command": command},
        },
    }
    return {
        "os.system as loss": lambda c: c["config"].update(loss=system),
        "os.system in a partial": lambda c: c["config"].update(
            loss={"partial": system, "options": {"command": command}}
        ),
        "Lambda as network": lambda c: c["config"].update(network=layer),
        "os.system as class": lambda c: c.update(module="os", class_name="system"),
        "no config": lambda c: c.clear(),
        "another class": lambda c: c.update(
            module="keras", class_name="Sequential", registered_name="Sequential"
        ),
        "unknown options": lambda c: c["config"].update(unknown=5),
        "option missing": lambda c: c["config"].pop("loss"),
        "compile config": lambda c: c.update(compile_config={"optimizer": "x"}),
    }


def _forge(path, rng, folder):
    """Hide a call that would write a marker in a model, or damage its members."""
    forged = _forgeries(f"touch {folder / MARKER}")
    names = [*forged, *_MEMBERS]
    name = names[rng.integers(len(names))]

    def replace(member, content):
        if name in forged and member == "config.json":
            config = json.loads(content)
            forged[name](config)
            return [(member, json.dumps(config))]
        if name in _MEMBERS and member == _MEMBERS[name][0]:
            new = _MEMBERS[name][1]
            return [] if new is None else [(member, new)]
        if name == "path upwards" and member == "metadata.json":
            return [(member, content), _MEMBERS[name]]
        return [(member, content)]

    damage.damage_zip(path, rng, replace)
    return f"forged: {name}"


def load_weights(rng, folder):
    """Return a case of loading weights from a damaged file."""
    ndim = 2
    registration = scenes.model(ndim)
    file = folder / "model.weights.h5"
    if "weights" not in _CACHE:
        registration.save_weights(file)
        _CACHE["weights"] = file.read_bytes()
    file.write_bytes(_CACHE["weights"])
    if rng.random() < 0.2:
        how, file = damage.damage_name(file, rng)
    else:
        how = damage.damage_bytes(file, rng)

    return Case(
        area="save and load",
        function="load_weights",
        mutation=how,
        run=_weights_loader(registration),
        arguments={"path": file},
    )


def _weights_loader(registration):
    """Return a function that loads weights and then puts the model back as it was."""

    def run(path):
        before = registration.model.get_weights()
        try:
            registration.load_weights(path)
        except Exception:
            after = registration.model.get_weights()
            same = all(np.array_equal(a, b) for a, b in zip(before, after))
            if not same:
                raise KeyError("weights of a file that was refused") from None
            raise
        finally:
            loaded = registration.model.get_weights()
            registration.model.set_weights(before)
        return [w for w in loaded if not np.issubdtype(w.dtype, np.floating)]

    return run


def save(rng, folder):
    """Return a case of saving a model, or its weights."""
    registration = scenes.model(2)
    name, ending = [("save", ".keras"), ("save_weights", ".weights.h5")][
        rng.integers(2)
    ]

    def run(path):
        getattr(registration, name)(path)

    call = Call(
        run,
        call_name=name,
        path=path(folder / f"out{ending}"),
        written=(f"out{ending}",),
    )
    return mutate(call, "save and load", rng, folder, strict=True)
