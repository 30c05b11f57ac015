"""Cases made of valid calls: other forms of values, hostile values, misspelt names."""

from fuzzing.call import Case
from fuzzing.dress import dress
from fuzzing.hostile import hostile

# Fractions of the cases. The others are calls with misspelt names of arguments.
VALID, DRESSED, HOSTILE = 0.04, 0.42, 0.48


def mutate(call, area, rng, folder, *, strict):
    """Return a case made of a valid call.

    Parameters
    ----------
    call : Call
    area : str
    rng : numpy.random.Generator
    folder : Path
        Folder of the case.
    strict : bool
        Whether arrays of 2^32 voxels are among the hostile values.
    """
    plain = {name: a.value for name, a in call.arguments.items()}
    about = {
        "area": area,
        "function": call.name,
        "run": call.run,
        "nan": call.nan,
        "written": call.written,
        "is_right": call.is_right,
        "changes": call.changes,
    }
    kinds = {n: a.kind for n, a in call.arguments.items() if a.kind != "fixed"}
    how = rng.random()
    if how < VALID or not kinds:
        return Case(
            **about, mutation="none", arguments=plain, plain=dict(plain), must_work=True
        )
    chosen = rng.permutation(list(kinds))[: 1 if rng.random() < 0.75 else 2]
    if how < VALID + DRESSED:
        return _dressed(about, call, plain, kinds, chosen, rng, folder)
    if how < VALID + DRESSED + HOSTILE:
        return _hostile(about, plain, kinds, chosen, rng, folder, strict)
    return _misspelt(about, plain, chosen[0], rng)


def _dressed(about, call, plain, kinds, chosen, rng, folder):
    arguments, names, must_work = dict(plain), [], True
    for name in chosen:
        how, plain[name], arguments[name], usual = dress(
            kinds[name], plain[name], rng, folder
        )
        names.append(f"{name}: {how or 'none'}")
        # Functions on tensors need not accept arrays.
        must_work = must_work and (usual or how is None) and kinds[name] != "tensor"
    return Case(
        **about,
        mutation="; ".join(names),
        arguments=arguments,
        plain=plain,
        must_work=must_work,
    )


def _hostile(about, plain, kinds, chosen, rng, folder, strict):
    names = []
    for name in chosen:
        how, plain[name] = hostile(kinds[name], plain[name], rng, folder, absurd=strict)
        names.append(f"{name}: {how}")
    return Case(**about, mutation="; ".join(names), arguments=plain)


def _misspelt(about, plain, name, rng):
    how = rng.integers(3)
    if how == 0:
        plain[f"{name}s"] = plain.pop(name)
    elif how == 1:
        plain[f"_{name}"] = 1
    else:
        del plain[name]
    how = ("misspelt", "and another one", "left out")[how]
    return Case(**about, mutation=f"{name}: {how}", arguments=plain, misspelt=True)
