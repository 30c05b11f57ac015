r"""Try the whole public surface with bad input, and say what came of it.

    python tools/fuzz.py --cases 10000 --seed 0 --out doc/fuzz.csv
    python tools/fuzz.py --case 4711

Functions, readers and commands are called with the same values in another dress, with
hostile values, misspelt options and damaged files. What may come of it is a right
result, or an error of ours, which says what was expected. All else is listed, and ends
the tool with status 1. Each case is made from its number and the seed alone: ``--case``
runs one in this process, and shows where its error arose.
"""

from argparse import ArgumentParser
from importlib import import_module
import json
import os
from pathlib import Path
import sys
import tempfile
from time import perf_counter


def main():
    options = _parse_arguments()
    if options.worker:
        from fuzzing.worker import work

        return work(options.seed, options.module, options.areas)
    if options.case is not None:
        return _run_one(options)
    from fuzzing import table
    from fuzzing.supervisor import supervise

    start = perf_counter()
    results = supervise(
        range(options.first, options.first + options.cases),
        seed=options.seed,
        workers=options.workers,
        only=options.areas,
        module=options.module,
        most_seconds=options.limit,
        on_result=_Progress(),
    )
    seconds = perf_counter() - start
    for result in table.failures(results):
        print(table.describe(result))
    rows = table.count_by_area(results)
    print(table.format_table(rows))
    print(f"{len(results)} cases in {seconds:.0f} s, seed {options.seed}.")
    if options.times:
        _show_times(results)
    if options.out:
        table.write_table(rows, options.out)
    if options.log:
        lines = [json.dumps(result) for result in results]
        options.log.write_text("\n".join(lines) + "\n")
    broken = table.holds(results)
    if broken:
        raise SystemExit("\n".join(broken))


class _Progress:
    """Count of the cases that are done, on the standard error."""

    def __init__(self):
        self.done, self.start = 0, perf_counter()

    def __call__(self, result):
        self.done += 1
        if self.done % 500 == 0:
            seconds = perf_counter() - self.start
            print(f"{self.done} cases, {seconds:.0f} s", file=sys.stderr, flush=True)


def _run_one(options):
    """Run one case in this process and tell all of it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["MPLBACKEND"] = "Agg"
    from fuzzing.table import describe
    from fuzzing.worker import run_case

    cases = import_module(options.module)
    cases.prepare()
    with tempfile.TemporaryDirectory(prefix="fuzz_") as home:
        result = run_case(
            cases.make_case, options.seed, options.case, Path(home), options.areas
        )
        os.chdir("/")
    print(describe(result))
    print(result["trace"])


def _show_times(results):
    areas = {r["area"] for r in results}
    for area in sorted(areas):
        times = [r["seconds"] for r in results if r["area"] == area]
        mean = sum(times) / len(times)
        print(f"{area}: {mean:.3f} s a case, at most {max(times):.1f} s, {len(times)}")


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run this one alone, in this process")
    parser.add_argument("--areas", nargs="+", help="of these areas alone")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--limit", type=float, default=60, help="seconds for a case")
    parser.add_argument("--out", type=Path, help="where the table is written, as CSV")
    parser.add_argument("--log", type=Path, help="where all results are written")
    parser.add_argument("--times", action="store_true", help="show the time of areas")
    parser.add_argument(
        "--module", default="fuzzing.areas", help="that makes the cases"
    )
    parser.add_argument("--worker", action="store_true", help="for the tool's own use")
    return parser.parse_args()


if __name__ == "__main__":
    main()
