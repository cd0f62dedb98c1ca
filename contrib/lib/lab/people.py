"""Unix users of a host, and what a person has in their home."""

from . import world
from .files import empty_folder, make_folder, write

# What the brief of a workstation needs: bring tunnels up and down, nothing else as root. wg-quick
# asks for the second form itself when a person calls it.
_SUDOERS = """Defaults env_reset
Defaults use_pty
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
%people ALL=(root) NOPASSWD: /usr/bin/wg-quick, /bin/bash -- /usr/bin/wg-quick *, \\
    /usr/bin/bash -- /usr/bin/wg-quick *
"""
_PEOPLE_GID = 2000


def _machine_entries(path, taken, column):
    """The machine's own system entries; neither its people nor what the lab defines itself."""
    kept = []
    with open(path) as file:
        for line in file:
            fields = line.rstrip("\n").split(":")
            if len(fields) <= column or fields[0] in taken:
                continue
            if column and not (int(fields[column]) < 1000 or int(fields[column]) == 65534):
                continue
            kept.append(line.rstrip("\n"))
    return kept


def install_users(role):
    """/etc/passwd, group and shadow."""
    people = world.PEOPLE if role in world.PEOPLE_ROLES else {}
    system = world.SYSTEM_USERS.get(role, {})
    taken = {*people, *system, "people"}
    passwd = _machine_entries("/etc/passwd", taken, 2)
    group = _machine_entries("/etc/group", taken, 2)
    known = {line.split(":")[0] for line in passwd}
    shadow = [s for s in _machine_entries("/etc/shadow", taken, 0) if s.split(":")[0] in known]
    for name, uid in system.items():
        passwd.append(f"{name}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin")
        group.append(f"{name}:x:{uid}:")
        shadow.append(f"{name}:*:19000:0:99999:7:::")
    for name, uid in people.items():
        passwd.append(f"{name}:x:{uid}:{uid}:{name}:/home/{name}:/bin/bash")
        group.append(f"{name}:x:{uid}:")
        shadow.append(f"{name}:*:19000:0:99999:7:::")
    group.append(f"people:x:{_PEOPLE_GID}:{','.join(people)}")
    write("/etc/passwd", "\n".join(passwd) + "\n")
    write("/etc/group", "\n".join(group) + "\n")
    write("/etc/shadow", "\n".join(shadow) + "\n", 0o640, 0, 42)
    for name, uid in people.items():
        make_folder(f"/home/{name}", 0o700, uid)


def install_workstation(keys):
    """Identity keys, the jitwg client's configuration and sudo, on `person`."""
    write("/etc/sudoers", _SUDOERS, 0o440)
    empty_folder("/etc/sudoers.d")
    for name, uid in world.PEOPLE.items():
        home = f"/home/{name}"
        key = keys.people[name]
        config = (
            f"broker = {world.BROKER_URL}\nbroker-pin = {keys.tls.pin}\nrealm = {keys.realm}\n"
            f"ca = {keys.ca.public}\nperson = {name}\n"
        )
        for folder in (".ssh", ".config", ".config/jitwg"):
            make_folder(f"{home}/{folder}", 0o700, uid)
        write(f"{home}/.ssh/id_ed25519", key.private, 0o600, uid)
        write(f"{home}/.ssh/id_ed25519.pub", f"{key.public} {name}@person\n", 0o644, uid)
        write(f"{home}/.ssh/config", "Include ~/.config/jitwg/ssh_config\n", 0o600, uid)
        write(f"{home}/.config/jitwg/config", config, 0o600, uid)
        make_folder(f"/run/user/{uid}", 0o700, uid)
