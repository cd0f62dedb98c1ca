"""How the lab speaks to the person who typed the command."""

import sys


class LabError(Exception):
    """Something the user can act on. Printed as one sentence; the exit code is 1."""


def say(text):
    print(f"lab: {text}", file=sys.stderr, flush=True)
