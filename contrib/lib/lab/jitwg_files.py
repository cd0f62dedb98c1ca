"""What jitwg's own programs find in /etc/jitwg and /var/lib/jitwg on each host."""

from . import world
from .files import empty_folder, make_folder, write

_POLICY_MARKS = ("realm", "gw1_wireguard_key", "gw1_node_key", "jump1_host_key", "jump1_node_key")


def render_policy(template, keys):
    values = (
        keys.realm,
        keys.wireguard_public,
        keys.gateway_node.public,
        keys.jump_host.public,
        keys.jump_node.public,
    )
    for mark, value in zip(_POLICY_MARKS, values, strict=True):
        template = template.replace(f"@{mark}@", value)
    return template


def _conf(name, daemon, **keys):
    lines = [f"state-dir = /var/lib/jitwg/{daemon}", f"runtime-dir = {world.RUNTIME_DIR}"]
    lines += [f"{key.replace('_', '-')} = {value}" for key, value in keys.items()]
    write(f"/etc/jitwg/{name}.conf", "\n".join(lines) + "\n")


def _install_gateway_host(keys, policy_template):
    uids = world.SYSTEM_USERS["gw"]
    for daemon, user in (("broker", "jitwg"), ("signer", "jitwg-ca"), ("gateway", "jitwg-gw")):
        make_folder(f"/var/lib/jitwg/{daemon}", 0o700, uids[user])
    make_folder("/run/wireguard", 0o755, uids["jitwg-gw"])

    write("/etc/jitwg/policy.toml", render_policy(policy_template, keys))
    signers = [f'{name} namespaces="jitwg" {key.public}\n' for name, key in keys.people.items()]
    write("/etc/jitwg/allowed_signers", "".join(signers))
    write("/etc/jitwg/ca", keys.ca.private, 0o600, uids["jitwg-ca"])
    _conf(
        "signer",
        "signer",
        policy="/etc/jitwg/policy.toml",
        allowed_signers="/etc/jitwg/allowed_signers",
        ca_key="/etc/jitwg/ca",
    )
    _conf("broker", "broker", signer=f"{world.RUNTIME_DIR}/signer.sock")
    write("/etc/jitwg/node_key", keys.gateway_node.private, 0o600, uids["jitwg-gw"])
    write("/etc/jitwg/wg.key", keys.wireguard_private + "\n", 0o600, uids["jitwg-gw"])
    _conf(
        "gateway",
        "gateway",
        broker=f"unix:{world.BROKER_SOCKET.path}",
        node="gw1",
        node_key="/etc/jitwg/node_key",
        ca="/etc/jitwg/ca.pub",
        realm=keys.realm,
        interface="jitwg0",
        wireguard_key="/etc/jitwg/wg.key",
        listen_port=world.ENDPOINT.split(":")[1],
        pool=world.POOL,
    )


def _install_jump_host(keys):
    make_folder("/var/lib/jitwg/hostd", 0o700)
    write("/etc/jitwg/node_key", keys.jump_node.private, 0o600)
    write("/etc/jitwg/managed", "uids 0,1000-59999\n")
    _conf(
        "hostd",
        "hostd",
        broker=f"unix:{world.BROKER_SOCKET.path}",
        node="jump1",
        node_key="/etc/jitwg/node_key",
        ca="/etc/jitwg/ca.pub",
        realm=keys.realm,
        managed="/etc/jitwg/managed",
        cgroup_root="/sys/fs/cgroup",
        grace="2s",
    )


def install(host, keys, policy_template):
    empty_folder("/etc/jitwg")  # the machine may run a jitwg of its own
    if host in ("gw", "jump"):
        write("/etc/jitwg/ca.pub", f"{keys.ca.public} jitwg CA\n")
    if host == "gw":
        _install_gateway_host(keys, policy_template)
    elif host == "jump":
        _install_jump_host(keys)
