"""Reader of options of the command line."""

import ast


def parse_options(text):
    """Return options written as in a call: "loss='mse', smoothness=0.04"."""
    call = ast.parse(f"f({text})", mode="eval").body
    return {k.arg: ast.literal_eval(k.value) for k in call.keywords}
