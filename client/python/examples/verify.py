#!/usr/bin/python3
"""Verify keys. Reads them from a pipe or a terminal, one a line, and prints the verdict, account and mode of each.

    ./verify.py ipc:///run/fob/verify.sock charges.create < keys.txt
"""

import sys

import fob


def main(address: str, operation: str) -> int:
    with fob.Client(address, fail_fast=True) as client:
        for line in sys.stdin:
            try:
                v = client.verify(line.rstrip("\n"), operation=operation)
            except fob.FobError as e:  # there is no answer: HTTP 503, never "let it through"
                print(e, file=sys.stderr)
                return 2
            if v.allows:
                print(v.verdict, v.account, v.environment, v.kind)
            else:
                print(v.verdict, v.detail)
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: verify.py ADDRESS OPERATION < keys")
    sys.exit(main(*sys.argv[1:]))
