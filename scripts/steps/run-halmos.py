"""Runs halmos with BLOCKHASH mended: halmos 0.3.3 hands its own bit vectors to z3 there, which takes only z3's."""

import sys

import halmos.sevm
from halmos.__main__ import main

blockhash = halmos.sevm.f_blockhash
halmos.sevm.f_blockhash = lambda number: blockhash(number.as_z3())

if __name__ == "__main__":
    sys.exit(main())
