"""Table of the outcomes by area, and a check of them."""

import csv

from fuzzing.areas import AREAS, is_strict
from fuzzing.judge import FOREIGN, GOOD, OUTCOMES

# Largest fraction of the cases of low-level functions with errors in the words of
# another library.
MAX_FOREIGN = 0.02


def count_by_area(results):
    """Return rows: area, number of cases, and number of cases of each outcome."""
    names = [*AREAS, *{r["area"] for r in results if r["area"] not in AREAS}]
    rows = []
    for area in names:
        outcomes = [r["outcome"] for r in results if r["area"] == area]
        if outcomes:
            rows.append({"area": area, "cases": len(outcomes), **_count(outcomes)})
    if rows:
        total = _count([r["outcome"] for r in results])
        rows.append({"area": "all", "cases": len(results), **total})
    return rows


def _count(outcomes):
    return {outcome: outcomes.count(outcome) for outcome in OUTCOMES}


def failures(results):
    """Return the results that are faults; a few of them are tolerated."""
    return [r for r in results if r["outcome"] not in GOOD]


def holds(results):
    """Return sentences on what is wrong; an empty list if nothing is."""
    faults = [r for r in failures(results) if not _is_tolerable(r)]
    broken = [f"{len(faults)} cases have a fault."] if faults else []
    low = [r for r in results if not is_strict(r["area"])]
    foreign = [r for r in low if r["outcome"] in FOREIGN]
    if len(foreign) > MAX_FOREIGN * len(low):
        percentage = 100 * len(foreign) / len(low)
        broken.append(
            f"{percentage:.2f} % of the {len(low)} cases of low-level functions end "
            "with an error in the words of another library; "
            f"{100 * MAX_FOREIGN:g} % may."
        )
    return broken


def _is_tolerable(result):
    return result["outcome"] in FOREIGN and not is_strict(result["area"])


def write_table(rows, path):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ["area", "cases", *OUTCOMES], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def format_table(rows):
    """Return the table as text, without the outcomes that did not occur."""
    shown = [o for o in OUTCOMES if rows and rows[-1][o]]
    lines = [["area", "cases", *shown]]
    lines += [[r["area"], r["cases"], *(r[o] for o in shown)] for r in rows]
    lines = [[str(cell) for cell in line] for line in lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        )
        for line in lines
    )


def describe(result):
    """Return one line on a case."""
    return (
        f"{result['case']:>6}  {result['area']}: {result['function']} "
        f"({result['mutation']}): {result['outcome']}: {result['note']}"
    )
