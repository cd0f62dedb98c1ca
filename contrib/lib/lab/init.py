"""The first process of a host: makes the host around itself, then is its PID 1 or lets systemd be.

When PID 1 ends, for whatever reason, the kernel ends everything else in the host.
"""

import os

from . import hosts, kernel, network, packets, rootfs, units, world
from .agent import Agent
from .children import close_inherited
from .programs import Program, make_listener


def _run(host, ready):
    """The lab as PID 1 itself: small and quick."""
    agent = Agent(host, packets.listen(world.CONTROL_SOCKET))
    for spec in (world.JOURNALD, *hosts.programs(host).values()):
        listeners = [make_listener(listen) for listen in spec.listen]
        agent.programs[spec.name] = Program(spec, listeners, agent)
    agent.programs[world.JOURNALD.name].start(ready)
    agent.run()


def main(plan, host, up):
    """Never returns. `up`: the channel of up._spawn."""
    kernel.set_process_name(f"lab-{host.name}")
    os.umask(0o022)
    os.setsid()
    close_inherited({up.fileno()})
    if up.recv(64) != b"wired":
        os._exit(1)
    rootfs.build(plan.root, plan.binaries)
    network.configure(host)
    hosts.install(plan, host)

    def ready(failure):
        up.send(f"error: {failure}".encode() if failure else b"ready")
        up.close()

    if plan.systemd and units.runs_on(host):
        units.install(host, hosts.programs(host).values(), plan.systemd)
        ready("")
        units.boot()
    else:
        rootfs.leave_cgroup_root()
        _run(host, ready)
