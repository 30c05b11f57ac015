r"""Test the whole public interface with bad input, and list the outcomes.

    python tools/fuzz.py --cases 10000 --seed 0 --out doc/fuzz.csv
    python tools/fuzz.py --case 4711

Functions, readers and commands are called with other forms of the same values, with
hostile values, misspelt options and damaged files. The outcome must be a right result,
or an error of ours, which says what was expected. All other outcomes are listed, and
the tool then ends with status 1. A case depends only on its number and the seed:
``--case`` runs one in this process, and shows where its error arose.
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
    _write_results(options, rows, results)
    broken = table.holds(results)
    if broken:
        raise SystemExit("\n".join(broken))


def _write_results(options, rows, results):
    """Print the times and write the table and the log, if the options ask for them."""
    from fuzzing import table

    if options.times:
        _show_times(results)
    if options.out:
        table.write_table(rows, options.out)
    if options.log:
        lines = [json.dumps(result) for result in results]
        options.log.write_text("\n".join(lines) + "\n")


class _Progress:
    """Counter of finished cases, printed to the standard error."""

    def __init__(self):
        self.done, self.start = 0, perf_counter()

    def __call__(self, result):
        self.done += 1
        if self.done % 500 == 0:
            seconds = perf_counter() - self.start
            print(f"{self.done} cases, {seconds:.0f} s", file=sys.stderr, flush=True)


def _run_one(options):
    """Run one case in this process, and print its result and traceback."""
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
    parser.add_argument("--cases", type=int, default=1000, help="number of cases")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run only this case, in this process")
    parser.add_argument("--areas", nargs="+", help="only these areas")
    parser.add_argument("--workers", type=int, default=2, help="number of processes")
    parser.add_argument("--limit", type=float, default=60, help="seconds of a case")
    parser.add_argument("--out", type=Path, help="CSV file of the table to write")
    parser.add_argument("--log", type=Path, help="file of all results to write")
    parser.add_argument("--times", action="store_true", help="print the times of areas")
    parser.add_argument(
        "--module", default="fuzzing.areas", help="module that makes the cases"
    )
    parser.add_argument("--worker", action="store_true", help="for the tool's own use")
    return parser.parse_args()


if __name__ == "__main__":
    main()
