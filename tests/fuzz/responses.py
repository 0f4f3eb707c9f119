"""Load answers that no source should give, for as long as asked: `make fuzz FUZZ_SECONDS=3600`.

Ends with 1 and the smallest example where a load ends in an exception that is not the pipeline's own.
"""

import argparse
import collections
import logging
import random
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import hypothesis

from tests.fuzz.fuzzing import CASES, check


def main():
    """Try cases, round after round, each with another seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of the first round")
    options = parser.parse_args()
    logging.disable()
    warnings.simplefilter("ignore")
    deadline = time.monotonic() + options.seconds
    tried = collections.Counter()
    rounds = 0

    def one_round(seed):
        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=100, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
        )
        @hypothesis.given(case=CASES)
        def holds(case):
            tried[case["shape"]] += 1
            check(case)

        holds()

    while time.monotonic() < deadline:
        try:
            one_round(options.seed + rounds)
        except BaseException:
            sys.stderr.write(f"failed in the round with seed {options.seed + rounds}\n")
            raise
        rounds += 1
    count = sum(tried.values())
    sys.stdout.write(f"{count} loads of {len(tried)} APIs in {rounds} rounds from seed {options.seed}: all well\n")


if __name__ == "__main__":
    main()
