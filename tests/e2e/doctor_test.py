"""Each program's doctor: nothing to complain of on a healthy host, and one broken thing is exactly one finding, with its line."""

import base64
import hashlib
import json

import pytest

# What this machine may rightly lack: systemd in the lab, WireGuard in its kernel, an account for emergencies.
RIGHTLY = {"unit", "wireguard", "rescue"}


def doctor(lab, host, program):
    """(exit code, findings that are not ok by name)"""
    person = "alice" if program == "jitwg" else None
    done = lab.exec(host, program, "doctor", "--json", as_=person, check=False)
    found = json.loads(done.stdout)
    assert all(set(f) == {"check", "level", "text", "remedy"} for f in found)
    assert done.returncode == any(f["level"] == "problem" for f in found), done
    worse = {f["check"]: f for f in found if f["level"] != "ok" and f["check"] not in RIGHTLY}
    assert all(f["remedy"] for f in worse.values()), worse
    return done.returncode, worse


def sh(lab, host, command):
    return lab.exec(host, "sh", "-c", command)


HOSTS = {"jitwg-gateway": "gw", "jitwg-hostd": "jump", "jitwg-signer": "broker", "jitwgd": "broker", "jitwg": "person"}

# (program, what breaks, what mends, finding, its level, a piece of its remedy)
BREAKAGE = [
    ("jitwg-gateway", "sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1",
     "ip_forward", "problem", "/etc/sysctl.d/jitwg.conf: net.ipv4.ip_forward = 1"),
    ("jitwg-gateway", "sysctl -qw net.ipv4.conf.mgmt0.rp_filter=1 net.ipv4.conf.all.rp_filter=0",
     "sysctl -qw net.ipv4.conf.mgmt0.rp_filter=2 net.ipv4.conf.all.rp_filter=2",
     "rp_filter", "warning", "/etc/sysctl.d/jitwg.conf: net.ipv4.conf.mgmt0.rp_filter = 2"),
    ("jitwg-gateway", "ip link set jitwg0 mtu 1500", "ip link set jitwg0 mtu 1420", "mtu", "warning", "ip link set jitwg0 mtu 1420"),
    ("jitwg-gateway", "ip route del 10.90.0.0/16 dev jitwg0", "ip route add 10.90.0.0/16 dev jitwg0",
     "return_route", "problem", "ip route add 10.90.0.0/16 dev jitwg0"),
    ("jitwg-gateway", "nft add table ip filter && nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
     "nft delete table ip filter", "foreign_chains", "problem", 'nft insert rule ip filter FORWARD iifname "jitwg0" accept'),
    ("jitwg-gateway", "chmod 640 /etc/jitwg/node_key", "chmod 600 /etc/jitwg/node_key", "node_key", "problem", "chmod 0600 /etc/jitwg/node_key"),
    ("jitwg-gateway", "chown root /etc/jitwg/wg.key", "chown jitwg-gw /etc/jitwg/wg.key",
     "wireguard_key", "problem", "chown jitwg-gw /etc/jitwg/wg.key"),
    ("jitwg-gateway", "chmod g+w /etc/jitwg", "chmod g-w /etc/jitwg", "configuration", "problem", "chmod go-w /etc/jitwg"),
    ("jitwg-gateway", "chmod 755 /var/lib/jitwg/gateway", "chmod 700 /var/lib/jitwg/gateway",
     "state_dir", "problem", "chmod 0700 /var/lib/jitwg/gateway"),
    ("jitwg-gateway", "echo '{' > /var/lib/jitwg/gateway/grants/x.json", "rm /var/lib/jitwg/gateway/grants/x.json",
     "grants", "warning", "rm /var/lib/jitwg/gateway/grants/x.json"),
    ("jitwg-gateway", "sed -i 's/^realm = /&no-/' /etc/jitwg/gateway.conf", "sed -i 's/^realm = no-/realm = /' /etc/jitwg/gateway.conf",
     "realm", "problem", "/etc/jitwg/gateway.conf: realm = lab-"),
    ("jitwg-hostd", "printf 'Match User alice\\n  AuthorizedKeysFile .ssh/authorized_keys\\n' > /etc/ssh/sshd_config.d/00-a.conf", "rm /etc/ssh/sshd_config.d/00-a.conf",
     "sshd", "problem", "/etc/ssh/sshd_config.d/00-jitwg.conf: AuthorizedKeysFile none (now set by /etc/ssh/sshd_config.d/00-a.conf:2)"),
    ("jitwg-hostd", "cp -p /etc/ssh/sshd_config /root && sed -i '1i Match User alice\\n  PasswordAuthentication yes\\nMatch all' /etc/ssh/sshd_config",
     "cp -p /root/sshd_config /etc/ssh", "sshd", "problem", "PasswordAuthentication no (now set by /etc/ssh/sshd_config:2)"),
    ("jitwg-hostd", "printf 'Match Address 203.0.113.0/24\\n  PasswordAuthentication yes\\n' > /etc/ssh/sshd_config.d/00-a.conf", "rm /etc/ssh/sshd_config.d/00-a.conf",
     "sshd", "problem", "PasswordAuthentication no (now set by /etc/ssh/sshd_config.d/00-a.conf:2)"),
    ("jitwg-hostd", "echo 'AcceptEnv LD_*' > /etc/ssh/sshd_config.d/a.conf", "rm /etc/ssh/sshd_config.d/a.conf", "sshd_environment", "warning", "no AcceptEnv LD_*"),
    ("jitwg-hostd", "printf 'Match User alice\\nForceCommand /bin/true\\n' > /etc/ssh/sshd_config.d/zz.conf", "rm /etc/ssh/sshd_config.d/zz.conf",
     "sshd_command", "warning", "no ForceCommand /bin/true"),
    ("jitwg-hostd", "cp -p /etc/pam.d/sshd /root/pam && echo 'session required pam_env.so user_readenv=1' >> /etc/pam.d/sshd", "cp -p /root/pam /etc/pam.d/sshd",
     "pam_environment", "warning", "jitwg-hostd setup --apply"),
    ("jitwg-hostd", "sed -i 's/^UnusedConn/#&/' /etc/ssh/sshd_config.d/00-jitwg.conf", "sed -i 's/^#UnusedConn/UnusedConn/' /etc/ssh/sshd_config.d/00-jitwg.conf",
     "sshd", "problem", "/etc/ssh/sshd_config.d/00-jitwg.conf: UnusedConnectionTimeout 15;"),
    ("jitwg-hostd", "echo 'Nonsense yes' > /etc/ssh/sshd_config.d/zz.conf", "rm /etc/ssh/sshd_config.d/zz.conf", "sshd", "problem", "sshd -t"),
    ("jitwg-hostd", "cp -p /etc/pam.d/sshd /root/pam && sed -i '/^account *requisite/d' /etc/pam.d/sshd", "cp -p /root/pam /etc/pam.d/sshd",
     "pam_account", "problem", "jitwg-hostd setup --apply"),
    ("jitwg-hostd", "cp -p /etc/pam.d/sshd /root/pam && sed -i '/pam_loginuid/d' /etc/pam.d/sshd", "cp -p /root/pam /etc/pam.d/sshd",
     "pam_session", "problem", "jitwg-hostd setup --apply"),
    ("jitwg-hostd", "cp -p /etc/pam.d/sudo /root/pam && sed -i '1i account sufficient pam_permit.so' /etc/pam.d/sudo", "cp -p /root/pam /etc/pam.d/sudo",
     "pam_sudo", "problem", "jitwg-hostd setup --apply"),
    ("jitwg-hostd", "cp -p /etc/pam.d/su /root/pam && sed -i '/pam_jitwg/d' /etc/pam.d/su", "cp -p /root/pam /etc/pam.d/su",
     "pam_su", "problem", "jitwg-hostd setup --apply"),
    ("jitwg-hostd", "chmod g+w /usr/local/lib/jitwg/pam_jitwg.so", "chmod g-w /usr/local/lib/jitwg/pam_jitwg.so",
     "pam_module", "problem", "chmod 0644 /usr/local/lib/jitwg/pam_jitwg.so"),
    ("jitwg-hostd", "chown alice /usr/local/lib/jitwg/jitwg-principals", "chown root /usr/local/lib/jitwg/jitwg-principals",
     "principals", "problem", "chown root /usr/local/lib/jitwg/jitwg-principals"),
    ("jitwg-hostd", "echo 'except root' >> /etc/jitwg/managed", "sed -i /except/d /etc/jitwg/managed", "managed", "warning", "/etc/jitwg/managed"),
    ("jitwg-hostd", "echo 'everybody' >> /etc/jitwg/managed", "sed -i /everybody/d /etc/jitwg/managed", "managed", "problem", "/etc/jitwg/managed"),
    ("jitwg-hostd", "printf '[Journal]\nAudit=no\n' > /etc/systemd/journald.conf.d/zz.conf", "rm /etc/systemd/journald.conf.d/zz.conf",
     "journald_audit", "warning", "/etc/systemd/journald.conf.d/jitwg.conf: [Journal]"),
    ("jitwg-hostd", "mkdir -p /var/lib/systemd/linger && touch /var/lib/systemd/linger/alice", "rm /var/lib/systemd/linger/alice",
     "linger", "warning", "loginctl disable-linger alice"),
    ("jitwg-hostd", "sed -i 's,^cgroup-root.*,cgroup-root = /tmp,' /etc/jitwg/hostd.conf",
     "sed -i 's,^cgroup-root.*,cgroup-root = /sys/fs/cgroup,' /etc/jitwg/hostd.conf", "cgroup", "problem", "hostd.conf: cgroup-root ="),
    ("jitwg-signer", "chmod 644 /etc/jitwg/ca", "chmod 600 /etc/jitwg/ca", "ca_key", "problem", "chmod 0600 /etc/jitwg/ca"),
    ("jitwg-signer", "chmod g+w /etc/jitwg/policy.toml", "chmod g-w /etc/jitwg/policy.toml", "policy", "problem", "chmod 0644 /etc/jitwg/policy.toml"),
    ("jitwg-signer", "chown jitwg-ca /etc/jitwg/allowed_signers", "chown root /etc/jitwg/allowed_signers",
     "allowed_signers", "problem", "chown root /etc/jitwg/allowed_signers"),
    ("jitwg-signer", "cp -p /etc/jitwg/policy.toml /root && echo '[[rule]]' >> /etc/jitwg/policy.toml", "cp -p /root/policy.toml /etc/jitwg",
     "rules", "problem", ""),
    ("jitwg-signer", "cp -p /etc/jitwg/allowed_signers /root && echo '* ssh-ed25519 x' >> /etc/jitwg/allowed_signers",
     "cp -p /root/allowed_signers /etc/jitwg", "rules", "problem", ""),
    ("jitwg-signer", "cp /var/lib/jitwg/signer/ledger /root && echo x >> /var/lib/jitwg/signer/ledger",
     "cat /root/ledger > /var/lib/jitwg/signer/ledger", "ledger", "problem", "restore it from a copy"),
    ("jitwg-signer", "chmod 644 /var/lib/jitwg/signer/ledger", "chmod 600 /var/lib/jitwg/signer/ledger",
     "ledger", "problem", "chmod 0600 /var/lib/jitwg/signer/ledger"),
    ("jitwg-signer", "chown jitwg /var/lib/jitwg", "chown root /var/lib/jitwg", "state_dir", "problem", "chown root /var/lib/jitwg"),
    ("jitwgd", "chmod 755 /var/lib/jitwg/broker", "chmod 700 /var/lib/jitwg/broker", "state_dir", "problem", "chmod 0700 /var/lib/jitwg/broker"),
    ("jitwgd", "sed -i 's,^signer = .*,signer = /run/none,' /etc/jitwg/broker.conf", "sed -i 's,^signer = .*,signer = /run/jitwg/signer.sock,' /etc/jitwg/broker.conf",
     "signer", "problem", "systemctl status jitwg-signer"),
    ("jitwg-gateway", "cp -p /etc/jitwg/node_key /root && ssh-keygen -q -t ed25519 -N '' -f /root/k && cat /root/k > /etc/jitwg/node_key && rm /root/k*",
     "cat /root/node_key > /etc/jitwg/node_key", "node", "problem", 'policy.toml on the signer\'s host: [gateways.gw1] node_key = "ssh-ed25519 '),
    ("jitwg-hostd", "sed -i 's/^node = jump1/node = jump2/' /etc/jitwg/hostd.conf", "sed -i 's/^node = jump2/node = jump1/' /etc/jitwg/hostd.conf",
     "node", "problem", "/etc/jitwg/hostd.conf: node = jump1"),
    ("jitwg-hostd", "cp -p /etc/jitwg/hostd.conf /root && sed -i 's,^broker-pin = .*,broker-pin = sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,' /etc/jitwg/hostd.conf",
     "cp -p /root/hostd.conf /etc/jitwg", "broker", "problem", ""),
    ("jitwg", "cp -p ~alice/.config/jitwg/config /root && sed -i 's,^broker-pin = .*,broker-pin = sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,' ~alice/.config/jitwg/config",
     "cp -p /root/config ~alice/.config/jitwg", "broker", "problem", ""),
    ("jitwg", "sed -i 's/^realm = /&no-/' ~alice/.config/jitwg/config", "sed -i 's/^realm = no-/realm = /' ~alice/.config/jitwg/config",
     "realm", "problem", "/home/alice/.config/jitwg/config: realm = lab-"),
    ("jitwg", "sed -i 's/^realm = /#&/' ~alice/.config/jitwg/config", "sed -i 's/^#realm = /realm = /' ~alice/.config/jitwg/config",
     "realm", "problem", "realm = …"),
    ("jitwg", "cp -p ~alice/.config/jitwg/config /root && sed -i \"s,^ca = .*,ca = $(cut -d' ' -f1-2 ~bob/.ssh/id_ed25519.pub),\" ~alice/.config/jitwg/config",
     "cp -p /root/config ~alice/.config/jitwg", "broker_ca", "problem", "/home/alice/.config/jitwg/config: ca = ssh-ed25519 "),
    ("jitwg", "chmod 666 ~alice/.config/jitwg/config", "chmod 600 ~alice/.config/jitwg/config", "configuration", "problem",
     "chmod 0644 /home/alice/.config/jitwg/config"),
    ("jitwg", "sed -i 's/^Include/Host x\\n&/' ~alice/.ssh/config", "sed -i '/^Host x/d' ~alice/.ssh/config",
     "ssh_config", "warning", "~/.ssh/config, first line: Include ~/.config/jitwg/ssh_config"),
    ("jitwg", "sed -i 's/NOPASSWD: //' /etc/sudoers", "sed -i 's/ALL=(root) /&NOPASSWD: /' /etc/sudoers",
     "sudo", "warning", "/etc/sudoers.d/jitwg: alice ALL=(root) NOPASSWD: /usr/bin/wg-quick"),
    ("jitwg", "SSH_AUTH_SOCK=/run/user/2001/ssh-agent.sock ssh-add -qD", "SSH_AUTH_SOCK=/run/user/2001/ssh-agent.sock ssh-add -q ~alice/.ssh/id_ed25519",
     "identity", "problem", "ssh-add"),
    ("jitwg", "install -d -m 755 -o alice ~alice/.local/state/jitwg", "chmod 700 ~alice/.local/state/jitwg",
     "state_dir", "problem", "chmod 0700 /home/alice/.local/state/jitwg"),
]  # fmt: skip


@pytest.mark.parametrize("program", HOSTS)
def test_a_healthy_host_gives_nothing_to_complain_of(lab, program):
    assert doctor(lab, HOSTS[program], program) == (0, {})


@pytest.mark.parametrize("case", BREAKAGE, ids=[f"{c[0]}-{c[3]}" for c in BREAKAGE])
def test_what_is_broken_is_found_and_nothing_else(lab, case):
    program, breaks, mends, name, level, remedy = case
    host = HOSTS[program]
    sh(lab, host, breaks)
    try:
        code, found = doctor(lab, host, program)
    finally:
        sh(lab, host, mends)
    # A directory above several files is a finding of each; without broker or signer there is no clock to compare with.
    assert {name} <= set(found) and (set(found) <= {name, "clock"} or "chmod go-w" in remedy), found
    assert found[name]["level"] == level and remedy in found[name]["remedy"], found
    assert code == (level == "problem")
    assert doctor(lab, host, program) == (0, {})


def test_the_gateway_s_own_table_is_compared_rule_by_rule(fresh_lab):
    lab = fresh_lab
    lab.kill("gw", "jitwg-gateway")  # it would mend the table itself
    sh(lab, "gw", "nft insert rule inet jitwg from_tunnel counter accept")
    code, found = doctor(lab, "gw", "jitwg-gateway")
    assert code == 1 and set(found) == {"nftables"} and "from_tunnel counter accept" in found["nftables"]["text"]
    sh(lab, "gw", "nft delete table inet jitwg")
    assert set(doctor(lab, "gw", "jitwg-gateway")[1]) == {"nftables"}
    lab.start("gw", "jitwg-gateway")
    assert doctor(lab, "gw", "jitwg-gateway") == (0, {})


def test_a_clock_behind_the_ledger_is_found(fresh_lab):
    lab = fresh_lab
    encode = lambda text: base64.b64encode(text.encode()).decode()
    statement = {"type": "revoke", "v": 1, "realm": "lab", "by": "alice", "at": "2099-01-01T00:00:00Z", "nonce": "0" * 32,
                 "session": "01890a5d-ac96-774b-bcce-b302099a8057", "reason": "x"}
    body = json.dumps(statement)
    key = lab.exec("person", "sh", "-c", "printf '%s' \"$1\" > /tmp/s && ssh-keygen -q -Y sign -n jitwg -f ~/.ssh/id_ed25519 /tmp/s && cat /tmp/s.sig",
                   "sh", body, as_="alice").stdout
    record = json.dumps({"kind": "applied", "at": "2099-01-01T00:00:00Z", "statement": {"body": encode(body), "signature": key}})
    digest = hashlib.sha256(f"{'0' * 64} {record}".encode()).hexdigest()
    lab.exec("broker", "tee", "-a", "/var/lib/jitwg/signer/ledger", input=f"{digest} {record}\n")
    code, found = doctor(lab, "broker", "jitwg-signer")
    assert code == 1 and set(found) == {"ledger"} and "2099-01-01T00:00:00Z" in found["ledger"]["text"], found


def test_a_daemon_that_does_not_run_is_found(fresh_lab):
    lab = fresh_lab
    lab.kill("jump", "jitwg-hostd")
    sh(lab, "jump", "rm /run/jitwg/hostd.sock")
    code, found = doctor(lab, "jump", "jitwg-hostd")
    assert code == 1 and set(found) == {"listening"} and "journalctl -u jitwg-hostd" in found["listening"]["remedy"]


def test_what_an_ended_session_left_is_found(fresh_lab):
    lab = fresh_lab
    code, session = lab.jitwg_json("alice", "request", "db-prod", "--reason", "INC-1")
    assert code == 0, session
    folder = f"/home/alice/.local/state/jitwg/{session['session']}"
    sh(lab, "person", f"cp -rp {folder} /root/kept")
    lab.jitwg("alice", "return", session["session"])
    assert doctor(lab, "person", "jitwg") == (0, {})
    sh(lab, "person", f"cp -p /root/kept/token /root/kept/wg.key {folder}")
    code, found = doctor(lab, "person", "jitwg")
    assert code == 0 and set(found) == {"leftovers"} and found["leftovers"]["remedy"] == f"jitwg show {session['session'][-8:]}", found
    lab.jitwg("alice", "show", session["session"])
    assert doctor(lab, "person", "jitwg") == (0, {})


def test_who_may_not_look_is_told_so(lab):
    done = lab.exec("gw", "setpriv", "--reuid", "nobody", "--clear-groups", "jitwg-gateway", "doctor", "--json", check=False)
    found = {f["check"]: f for f in json.loads(done.stdout)}
    for check in ("node_key", "grants", "nftables"):
        assert found[check]["level"] == "warning" and found[check]["remedy"] == "run this as root", found[check]
    assert found["ip_forward"]["level"] == "ok"
