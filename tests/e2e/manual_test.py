"""--help and manual page of each daemon speak of the same options."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("JITWG_BUILD", ROOT / "build" / "release"))
DAEMONS = ["jitwgd", "jitwg-signer", "jitwg-gateway", "jitwg-hostd"]


def run(*words):
    return subprocess.run([str(w) for w in words], capture_output=True, text=True)


@pytest.mark.parametrize("daemon", DAEMONS)
def test_every_option_of_help_stands_in_the_manual_and_back(daemon):
    helped = run(BUILD / "bin" / daemon, "--help")
    assert helped.returncode == 0 and helped.stdout.startswith(f"usage: {daemon}")
    page = (ROOT / "contrib" / "man" / f"{daemon}.8").read_text()
    in_help = set(re.findall(r"^  --([a-z-]+)", helped.stdout, re.MULTILINE))
    in_page = set(re.findall(r"Fl -([a-z-]+)", page))
    assert {"help", "version", "config"} <= in_help
    assert in_help == in_page


@pytest.mark.parametrize("daemon", DAEMONS)
def test_version_and_mistakes_on_the_command_line(daemon):
    version = run(BUILD / "bin" / daemon, "--version")
    assert version.returncode == 0 and re.fullmatch(rf"{daemon} \d+\.\d+\.\d+\n", version.stdout)
    for words in (["--no-such-option"], ["no-such-word"], ["--config", "/nonexistent"]):
        done = run(BUILD / "bin" / daemon, *words)
        assert done.returncode == 2 and done.stderr.startswith(f"{daemon}: ") and "Traceback" not in done.stderr, words
