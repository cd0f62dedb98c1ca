"""The command line of contrib/lab."""

import argparse
import json
import sys

from . import client, world
from .errors import LabError

_ABOUT = """A small real network in namespaces, with jitwg on it: person, broker, gw, gw2, jump, jump2, db,
other.Needs root. Exit codes: exec passes its command's on; otherwise 0 done, 1 failed, 2 usage."""

_INIT = "PID 1 of each host (default: $JITWG_LAB_INIT, else systemd where the machine runs it)"


def _parser():
    parser = argparse.ArgumentParser(
        prog="lab", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="default", help="which lab (any number may be up)")
    build = "build directory (default: build/release, else build/dev)"
    parser.add_argument("--build", metavar="DIR", help=build)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="make the lab and start everything")
    # Also accepted here, where one types it first.
    up.add_argument("--build", metavar="DIR", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    up.add_argument("--without-daemons", action="store_true", help="no jitwg programs, plain sshd")
    up.add_argument("--init", metavar="lab|systemd", help=_INIT)
    up.add_argument("--keep", action="store_true", help="if it fails, leave the rest to look at")

    run = commands.add_parser("exec", help="run a command on a host")
    run.add_argument("--as", dest="user", default="root", metavar="PERSON", help="default: root")
    run.add_argument("host", metavar="HOST")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD…")

    for name, text in (("start", "start"), ("stop", "SIGTERM to"), ("kill", "SIGKILL to")):
        control = commands.add_parser(name, help=f"{text} one program of a host")
        control.add_argument("host", metavar="HOST")
        control.add_argument("program", metavar="PROGRAM")

    for name, text in (("cut", "cut a host off the network"), ("mend", "undo a cut")):
        link = commands.add_parser(name, help=text)
        link.add_argument("host", metavar="HOST")

    commands.add_parser("down", help="end everything and leave nothing behind")
    status = commands.add_parser("status", help="what is alive")
    status.add_argument("--json", action="store_true")
    return parser


def _print_status(status):
    print(f"lab {status['name']}, realm {status['realm']}, build {status['build']}")
    for host, about in status["hosts"].items():
        print(f"{host}: " + (f"init {about['init']}" if about["alive"] else "dead"))
        for name, program in about["programs"].items():
            state = f"alive, pid {program['pid']} inside" if program["alive"] else "not running"
            print(f"  {name}: {state}" + (f" ({program['ended']})" if program["ended"] else ""))


def _run(options):
    lab = world.check_name(options.name)
    if options.command == "exec":
        argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
        return client.run(lab, options.host, argv, options.user)
    if options.command in ("start", "stop", "kill"):
        client.ask(lab, options.host, op=options.command, program=options.program)
        return 0
    if options.command in ("cut", "mend"):
        host = world.check_host(options.host).name
        state = "down" if options.command == "cut" else "up"
        client.ask(lab, world.SWITCHES, op="link", of=host, state=state)
        return 0
    from . import down  # here, because `exec` has no time for it

    if options.command == "up":
        from .up import up

        up(lab, options.build, not options.without_daemons, options.keep, options.init)
    elif options.command == "down":
        down.down(lab)
    else:
        status = down.status(lab)
        print(json.dumps(status)) if options.json else _print_status(status)
        return 0 if all(host["alive"] for host in status["hosts"].values()) else 1
    return 0


def main(arguments):
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "exec" and options.argv in ([], ["--"]):
        parser.error("exec: which command?")
    try:
        return _run(options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
