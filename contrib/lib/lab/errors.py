"""One error type: a clear sentence for the person who typed the command."""


class LabError(Exception):
    """Something the user can act on. Printed as one sentence; the exit code is 1."""
