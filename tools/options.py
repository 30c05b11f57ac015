"""How the tools read options."""

import ast


def parse_options(text):
    """Read options written as in a call: "loss='mse', smoothness=0.04"."""
    call = ast.parse(f"f({text})", mode="eval").body
    return {k.arg: ast.literal_eval(k.value) for k in call.keywords}
