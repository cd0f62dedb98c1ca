"""Builds and runs the tests, and counts them aloud. Called by contrib/test."""

import atexit
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "build" / "test-results"
AT_MOST_AGAIN = 5  # more is no matter of what ran beside
VM_MEMORY_KIB = 5 << 20  # the machine's own, and qemu's


def is_failed(case):
    return case.find("failure") is not None or case.find("error") is not None


def address_of(case):
    """As pytest takes it on its command line."""
    return f"tests/{case.get('classname').replace('.', '/')}.py::{case.get('name')}"


def failed_in(junit):
    return list(dict.fromkeys(address_of(case) for case in ElementTree.parse(junit).iter("testcase") if is_failed(case)))


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add_junit(self, path, name, but=()):
        """Counts a JUnit file (GoogleTest and pytest both write it), but not these tests. A missing file is a failure."""
        if not path.exists():
            self.failed += 1
            print(f"FAILED: {name} left no result", flush=True)
            return
        for case in ElementTree.parse(path).iter("testcase"):
            skipped = case.find("skipped")
            if is_failed(case):
                self.failed += address_of(case) not in but
            elif skipped is not None or case.get("result") == "skipped":
                self.skip(case.get("name"), skipped.get("message") if skipped is not None else "no reason given")
            else:
                self.passed += 1

    def skip(self, what, why):
        self.skipped += 1
        print(f"SKIPPED: {what}: {why}", flush=True)

    def fail(self, what):
        self.failed += 1
        print(f"FAILED: {what}", flush=True)


def step(title):
    print(f"== {time.strftime('%H:%M:%S')} {title}", flush=True)


def _be_idle():
    """Only what others leave of the processors, be they of another autogroup (sched(7))."""
    os.setsid()
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    if os.path.exists("/proc/self/autogroup"):
        Path("/proc/self/autogroup").write_text("19")


class Build:
    """A preset, configured and built from the moment this is made; done() waits, and counts a failure.
    idle: with what the tests that run meanwhile leave of the processors, and nothing more."""

    def __init__(self, preset, *options, target="all", idle=False):
        self._preset = preset
        command = f"cmake --preset {preset} {' '.join(options)} && cmake --build --preset {preset} --target {target}"
        self._log = open(RESULTS / f"build-{preset}.log", "w+")
        self._process = subprocess.Popen(
            ["sh", "-c", command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
            text=True, preexec_fn=_be_idle if idle else None,
        )  # fmt: skip
        if idle:
            atexit.register(self._end)  # Ctrl-C does not reach it

    def _end(self):
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)

    def done(self, tally):
        step(f"build {self._preset}")
        if self._process.wait() == 0:
            return True
        self._log.seek(0)
        print(self._log.read()[-8000:], flush=True)
        tally.fail(f"build {self._preset} ended with {self._process.returncode}")
        return False


def run_unit(preset, tally):
    step(f"unit tests ({preset})")
    environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=1", UBSAN_OPTIONS="print_stacktrace=1")

    def run(binary):
        result = RESULTS / f"{preset}-{binary.name}.xml"
        done = subprocess.run(
            [binary, f"--gtest_output=xml:{result}", "--gtest_brief=1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        )  # fmt: skip
        return binary.name, result, done

    programs = sorted((ROOT / "build" / preset / "tests").glob("*_test"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, result, done in pool.map(run, programs):
            if done.returncode != 0:
                print(done.stdout[-8000:], flush=True)
                # A crash writes no file, or one that knows of no failure.
                if not result.exists() or 'failures="0"' in result.read_text()[:400]:
                    tally.fail(f"{preset}/{name} ended with {done.returncode}")
                    continue
            tally.add_junit(result, name)


def pytest(paths, name, arguments):
    step(f"pytest {' '.join(paths)}")
    result = RESULTS / f"{name}.xml"
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", JITWG_BUILD=str(ROOT / "build" / "release"))
    done = subprocess.run(
        ["/usr/bin/python3", "-m", "pytest", "-q", "-rs", "--tb=short", f"--junitxml={result}", *arguments, *paths],
        cwd=ROOT, env=environment,
    )  # fmt: skip
    return result, done.returncode


def run_pytest(paths, name, tally, arguments=()):
    result, exit_code = pytest(paths, name, arguments)
    before = tally.failed
    tally.add_junit(result, name)
    if exit_code not in (0, 5) and tally.failed == before:
        tally.fail(f"pytest {name} ended with {exit_code}")


def run_side_by_side(paths, name, tally):
    """Some files at once, but what is marked `alone`. A few that fail so have the last word by themselves, and that is said."""
    workers = (os.cpu_count() or 1) + 1  # they wait more than they work
    result, exit_code = pytest(paths, name, ["-m", "not alone", "-n", str(workers), "--dist", "loadfile"])
    failed = failed_in(result) if exit_code == 1 and result.exists() else []
    again = failed if len(failed) <= AT_MOST_AGAIN else []
    tally.add_junit(result, name, but=again)
    if exit_code != 0 and not failed:
        tally.fail(f"pytest {name} ended with {exit_code}")
    for each in again:
        print(f"AGAIN: {each} failed beside other tests: by itself now", flush=True)
    run_pytest(["tests/e2e"], f"{name}-alone", tally, ["-m", "alone"])
    if again:
        run_pytest(again, f"{name}-again", tally)


def why_no_machine():
    """Why tests/vm/run cannot run a machine here, or None."""
    qemu = shutil.which("qemu-system-x86_64")
    if platform.machine() != "x86_64" or not qemu:
        return f"no qemu-system-x86_64 on {platform.machine()}"
    done = subprocess.run([qemu, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        return f"qemu does not run: {(done.stderr or done.stdout).strip()[:200]}"
    available = next(line for line in open("/proc/meminfo") if line.startswith("MemAvailable:"))
    if int(available.split()[1]) < VM_MEMORY_KIB:
        return f"the machine needs {VM_MEMORY_KIB >> 20} GiB of free memory"
    return None


def run_vm(tally):
    """The tests that want a real systemd and a kernel with WireGuard, in an emulated machine."""
    step("tests in the emulated machine")
    if why := why_no_machine():
        tally.skip("tests/vm", why)
        return
    out = RESULTS / "vm"
    tests = "exec /usr/bin/python3 -m pytest -q -rs --tb=short --junitxml=$JITWG_VM_OUT/vm.xml tests/vm"
    done = subprocess.run(
        ["tests/vm/run", "--timeout", "1800", "--out", str(out), "--", "sh", "-c", tests], cwd=ROOT, stdin=subprocess.DEVNULL
    )
    before = tally.failed
    tally.add_junit(out / "vm.xml", "tests/vm")
    if done.returncode != 0 and tally.failed == before:
        tally.fail(f"tests/vm/run ended with {done.returncode}")
    step("contrib/demo in the emulated machine")
    demo = ["tests/vm/run", "--timeout", "1200", "--", "contrib/demo", "--build", "build/release"]
    done = subprocess.run(demo, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode == 0:
        tally.passed += 1
    else:
        print(done.stdout[-8000:], flush=True)
        tally.fail(f"contrib/demo in the emulated machine ended with {done.returncode}")


def main(arguments):
    what = arguments[0] if arguments else "all"
    if what not in ("all", "unit", "e2e", "vm"):
        print("usage: contrib/test [unit | e2e [PYTEST ARGUMENT…] | vm]", file=sys.stderr)
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    for old in RESULTS.glob("**/*.xml"):
        old.unlink()
    tally = Tally()
    step(f"builds, and tests: {what}")
    programs = what == "unit" or Build("release", "-DJITWG_TEST_HELPERS=ON").done(tally)
    if programs and what in ("all", "e2e"):
        paths = ["tests/layout", "tests/e2e"]
        if arguments[1:]:
            run_pytest(paths, "e2e", tally, arguments[1:])
        else:
            run_side_by_side(paths, "e2e", tally)
    # Beside the emulated machine, which needs little more than one processor; end-to-end tests took twice as long beside it.
    unit = Build("asan", target="unit-tests", idle=what == "all") if what in ("all", "unit") else None
    if programs and what in ("all", "vm"):
        run_vm(tally)
    if unit and unit.done(tally):
        run_unit("asan", tally)
    step("done")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped", flush=True)
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
