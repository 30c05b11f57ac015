"""What the tools that make tables have in common."""

import ast
import csv

from dipy_nn_reg.files import whole_file


def parse_options(text):
    """Read options written as in a call: "loss='mse', smoothness=0.04"."""
    call = ast.parse(f"f({text})", mode="eval").body
    return {k.arg: ast.literal_eval(k.value) for k in call.keywords}


def write_table(rows, path):
    """Write rows, the last of which has all columns, to a CSV file."""
    with whole_file(path) as partial, open(partial, "w") as file:
        writer = csv.DictWriter(file, list(rows[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
