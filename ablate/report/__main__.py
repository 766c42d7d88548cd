"""`python -m ablate.report results/NAME …`: tables and figure of finished sweeps, from their records."""

import argparse
import sys
from pathlib import Path

from ablate.errors import UserError
from ablate.report import write_report
from ablate.report.search import write_search


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ablate.report", description=__doc__)
    parser.add_argument("sweep", nargs="+", type=Path, help="a folder below results/")
    status = 0
    for sweep in parser.parse_args().sweep:
        try:
            write_report(sweep)
            if (sweep / "search.json").is_file():
                write_search(sweep)
        except UserError as error:
            print(f"ablate: {error}", file=sys.stderr)
            status = 2
    return status


if __name__ == "__main__":
    raise SystemExit(main())
