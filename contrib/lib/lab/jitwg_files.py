"""What jitwg's own programs find in /etc/jitwg and /var/lib/jitwg on each host."""

from . import world
from .files import empty_folder, make_folder, write


def render_policy(template, keys):
    values = {"realm": keys.realm}
    for node, key in keys.nodes.items():
        values[f"{node}_node_key"] = key.public
    for node, key in keys.hosts.items():
        values[f"{node}_host_key"] = key.public
    for node, (_, public) in keys.wireguard.items():
        values[f"{node}_wireguard_key"] = public
    for mark, value in values.items():
        template = template.replace(f"@{mark}@", value)
    return template


def _conf(name, daemon, **keys):
    lines = [f"state-dir = /var/lib/jitwg/{daemon}", f"runtime-dir = {world.RUNTIME_DIR}"]
    for key, value in keys.items():
        several = value if isinstance(value, tuple) else (value,)
        lines += [f"{key.replace('_', '-')} = {each}" for each in several]
    write(f"/etc/jitwg/{name}.conf", "\n".join(lines) + "\n")


def _install_broker(keys, policy_template):
    uids = world.SYSTEM_USERS["broker"]
    make_folder("/var/lib/jitwg/broker", 0o700, uids["jitwg"])
    make_folder("/var/lib/jitwg/signer", 0o700, uids["jitwg-ca"])
    write("/var/lib/jitwg/signer/ledger", "", 0o600, uids["jitwg-ca"])
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
    write("/etc/jitwg/broker_tls.key", keys.tls.private, 0o600, uids["jitwg"])
    write("/etc/jitwg/broker_tls.crt", keys.tls.certificate)
    _conf("broker", "broker", signer=f"{world.RUNTIME_DIR}/signer.sock")


def _install_node(keys, node, daemon, uid, **more):
    make_folder(f"/var/lib/jitwg/{daemon}", 0o700, uid)
    write("/etc/jitwg/node_key", keys.nodes[node].private, 0o600, uid)
    _conf(
        daemon,
        daemon,
        broker=world.BROKER_URL,
        broker_pin=keys.tls.pin,
        node=node,
        node_key="/etc/jitwg/node_key",
        ca="/etc/jitwg/ca.pub",
        realm=keys.realm,
        **more,
    )


def _install_gateway(keys, node):
    uid = world.SYSTEM_USERS["gateway"]["jitwg-gw"]
    make_folder("/run/wireguard", 0o755, uid)
    write("/etc/jitwg/wg.key", keys.wireguard[node][0] + "\n", 0o600, uid)
    _install_node(
        keys,
        node,
        "gateway",
        uid,
        interface="jitwg0",
        wireguard_key="/etc/jitwg/wg.key",
        listen_port=world.WIREGUARD_PORT,
        pool=world.POOLS[node],
    )


def _install_jump_host(keys, node):
    write("/etc/jitwg/managed", "uids 0,1000-59999\n")
    _install_node(
        keys,
        node,
        "hostd",
        0,
        managed="/etc/jitwg/managed",
        cgroup_root="/sys/fs/cgroup",
        grace="2s",
    )


def install(host, keys, policy_template):
    empty_folder("/etc/jitwg")  # the machine may run a jitwg of its own
    if host.role in ("broker", "gateway", "jumphost"):
        write("/etc/jitwg/ca.pub", f"{keys.ca.public} jitwg CA\n")
    if host.role == "broker":
        _install_broker(keys, policy_template)
    elif host.role == "gateway":
        _install_gateway(keys, host.node)
    elif host.role == "jumphost":
        _install_jump_host(keys, host.node)
