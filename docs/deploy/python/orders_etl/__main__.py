"""`python -m orders_etl`: the binary in place of this process."""

from __future__ import annotations

import os
import sys

from orders_etl import find_binary

if __name__ == "__main__":
    binary = find_binary()
    os.execv(binary, [binary, *sys.argv[1:]])
