"""jitwg-hostd setup: what sshd, PAM, journald and polkit need, put in and taken out again, on files that administrators wrote."""

import json
import pathlib
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from bare_host import BareHost, possible  # noqa: E402
from realm import binary  # noqa: E402

pytestmark = pytest.mark.skipif(not possible(), reason="SKIPPED: needs root and built programs")
DROP_IN = "/etc/ssh/sshd_config.d/00-jitwg.conf"
PAM = "/etc/pam.d/sshd"


@pytest.fixture
def host(tmp_path):
    made = BareHost(tmp_path)
    made.sh("mkdir -p /usr/local/lib/jitwg /run/sshd; cd /usr/local/lib/jitwg; touch pam_jitwg.so jitwg-principals; ssh-keygen -A >/dev/null; "
            "useradd -m -s /bin/bash rescue; useradd -m -s /bin/bash alice; mkdir -p /etc/jitwg; echo 'uids 0,1000-59999' > /etc/jitwg/managed")
    yield made
    made.close()


def runs(host, *words, code=0):
    done = host.ours("jitwg-hostd", "setup", *words)
    assert done.returncode == code, done
    return done.stdout if code in (0, 1) and not done.stderr.startswith("jitwg-hostd: ") else done.stderr


def tree(host):
    """Every file of /etc that setup might touch: kind, owner, mode, attributes and bytes; and that no half of one lies about."""
    return host.sh("cd /etc; find ssh pam.d systemd polkit-1 -printf '%y %u:%g %m %p %l\\n' | sort; "
                   "find ssh pam.d systemd polkit-1 -type f | sort | xargs sha256sum; "
                   "python3 -c 'import os; print([(p, os.listxattr(p)) for p in sorted(os.listdir(\"/etc/pam.d\")) if os.chdir(\"/etc/pam.d\") is None])'")


def sshd_says(host, user, *words, where="host=x,addr=203.0.113.9,laddr=10.60.0.5,lport=22"):
    text = host.sh(f"/usr/sbin/sshd -T -C user={user},{where}")
    found = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    return [found[word] for word in words]


SHUT = ("passwordauthentication", "kbdinteractiveauthentication", "authorizedkeysfile", "authorizedkeyscommand", "authenticationmethods",
        "authorizedprincipalscommand", "trustedusercakeys")  # fmt: skip
AS_WANTED = ["no", "no", "none", "none", "publickey", "/usr/local/lib/jitwg/jitwg-principals %u %k", "/etc/jitwg/ca.pub"]


def test_one_of_three_words(host):
    before = tree(host)
    for words in ((), ("--apply", "--remove"), ("--dry-run", "--apply"), ("--rescue", "rescue")):
        assert "setup takes one of --dry-run, --apply and --remove" in runs(host, *words, code=2)
    done = host.run("setpriv", "--reuid=jitwg", "--clear-groups", binary("jitwg-hostd"), "setup", "--dry-run")
    assert done.returncode == 3 and "sudo jitwg-hostd setup" in done.stderr
    assert tree(host) == before


def test_put_in_twice_and_taken_out_twice(host):
    before = tree(host)
    diff = runs(host, "--dry-run", code=1)
    assert "--- /dev/null\n+++ " + DROP_IN in diff and "+account    requisite    /usr/local/lib/jitwg/pam_jitwg.so mode=login\n" in diff
    assert tree(host) == before, "a dry run changes nothing"
    assert "systemctl reload ssh" in runs(host, "--apply")
    applied = tree(host)
    assert applied != before and sshd_says(host, "alice", *SHUT) == AS_WANTED
    assert runs(host, "--apply") == runs(host, "--dry-run") == "Nothing to change.\n" and tree(host) == applied
    runs(host, "--remove")
    assert tree(host) == before
    assert runs(host, "--remove") == "Nothing to change.\n" and tree(host) == before


def test_sudo_su_cron_and_at_ask_too_where_they_are(host):
    host.sh("printf 'account include su\\n' > /etc/pam.d/su-l; printf '@include common-account\\n' > /etc/pam.d/sudo; rm -f /etc/pam.d/atd; "
            "printf 'session required pam_loginuid.so\\n@include common-account\\n@include common-session-noninteractive\\n' > /etc/pam.d/cron")
    before = tree(host)
    runs(host, "--apply", "--rescue", "rescue")
    modes = {name: host.sh(f"grep -o 'mode=.*' /etc/pam.d/{name} || true").split() for name in ("sudo", "su", "su-l", "cron")}
    assert modes == {"sudo": ["mode=sudo"], "su": ["mode=sudo"], "su-l": [], "cron": ["mode=job"] * 2}, "su-l includes su"
    assert "quiet ruser in rescue" in host.read("/etc/pam.d/sudo") and "pam_exec" not in host.read("/etc/pam.d/cron")
    assert host.run("test", "-e", "/etc/pam.d/atd").returncode == 1
    assert {f"pam_{name}": doctor(host, f"pam_{name}")[0][0] for name in modes} == dict.fromkeys((f"pam_{name}" for name in modes), "ok")
    runs(host, "--remove")
    assert tree(host) == before


def test_json(host):
    told = json.loads(runs(host, "--dry-run", "--json", code=1))
    assert told["done"] is False and {f["path"]: f["change"] for f in told["files"]}[PAM] == "changed"
    assert json.loads(runs(host, "--apply", "--json"))["files"] == told["files"]
    assert json.loads(runs(host, "--apply", "--json")) == {"files": [], "done": True, "next": ""}


def test_what_others_edit_meanwhile_stays(host):
    host.sh(f"printf 'auth optional pam_warn.so' >> {PAM}")  # no end of line
    before = host.read(PAM)
    runs(host, "--apply", "--rescue", "rescue")
    host.sh(f"sed -i '1i # on top' {PAM}; sed -i 's/motd=/noupdate motd=/' {PAM}; echo '# below' >> {DROP_IN}; "
            "echo 'Banner none' >> /etc/ssh/sshd_config; echo '[Journal]' > /etc/systemd/journald.conf.d/zz.conf")
    runs(host, "--remove")
    assert host.read(PAM) == "# on top\n" + before.replace("motd=/", "noupdate motd=/") and not before.endswith("\n")
    assert host.read(DROP_IN) == "# below\n" and host.read("/etc/ssh/sshd_config").endswith("Banner none\n")
    assert host.read("/etc/systemd/journald.conf.d/zz.conf") == "[Journal]\n"


def test_owner_mode_attributes_and_symlinks_stay(host):
    host.sh(f"mv {PAM} /etc/pam.d/real; ln -s real {PAM}; chmod 640 /etc/pam.d/real; chgrp daemon /etc/pam.d/real; "
            "python3 -c 'import os; os.setxattr(\"/etc/pam.d/real\", \"trusted.note\", b\"mine\")' 2>/dev/null || true")
    before = tree(host)
    runs(host, "--apply")
    assert "jitwg" in host.read("/etc/pam.d/real") and host.sh(f"readlink {PAM}") == "real\n"
    assert host.sh("stat -c '%U:%G %a' /etc/pam.d/real") == "root:daemon 640\n"
    runs(host, "--remove")
    assert tree(host) == before


# What administrators have in their files, and what a plain drop-in named jitwg.conf would have lost to.
ADMINS = {
    "a cloud image": ("/etc/ssh/sshd_config.d/50-cloud-init.conf", "PasswordAuthentication yes\n", "60-x.conf"),
    "a drop-in that sorts first": ("/etc/ssh/sshd_config.d/00-aaa.conf", "PasswordAuthentication yes\nAuthorizedKeysFile .ssh/authorized_keys\n", ""),
    "a block for one person": ("/etc/ssh/sshd_config.d/zz.conf", "Match User alice\nPasswordAuthentication yes\nAuthorizedKeysFile .ssh/authorized_keys\n"
                               "AuthenticationMethods password\nAuthorizedPrincipalsCommand none\nTrustedUserCAKeys /etc/other\n", ""),
    "a block for an address": ("/etc/ssh/sshd_config.d/zz.conf", "Match Address 203.0.113.0/24\nKbdInteractiveAuthentication yes\nPasswordAuthentication yes\n", ""),
    "a block for a group": ("/etc/ssh/sshd_config.d/10-g.conf", "Match Group alice\nAuthorizedKeysCommand /bin/cat\nAuthorizedKeysCommandUser root\n", ""),
}  # fmt: skip


@pytest.mark.parametrize("admin", ADMINS)
def test_other_ways_in_are_shut_whoever_opened_them(host, admin):
    path, text, _ = ADMINS[admin]
    host.run("sh", "-c", f"cat > {path}", text=text)
    before = tree(host)
    open_before = sshd_says(host, "alice", *SHUT)
    runs(host, "--apply")
    assert sshd_says(host, "alice", *SHUT) == AS_WANTED != open_before
    assert runs(host, "--dry-run") == "Nothing to change.\n"
    runs(host, "--remove")
    assert tree(host) == before and sshd_says(host, "alice", *SHUT) == open_before


@pytest.mark.parametrize("main", [
    "PasswordAuthentication yes\nInclude /etc/ssh/sshd_config.d/*.conf\n", "UsePAM yes\nAuthorizedKeysFile .ssh/authorized_keys\n",
    "Match User alice\n  PasswordAuthentication yes\n", "", "Include sshd_config.d/*.conf\nPasswordAuthentication yes", "include = /etc/ssh/sshd_config.d/*.conf\n"])
def test_main_files_that_do_not_read_the_folder_first(host, main):
    host.run("sh", "-c", "cat > /etc/ssh/sshd_config", text=main)
    before = tree(host)
    runs(host, "--apply")
    assert sshd_says(host, "alice", *SHUT) == AS_WANTED
    runs(host, "--remove")
    assert tree(host) == before and host.read("/etc/ssh/sshd_config") == main


def test_a_configuration_that_sshd_refuses_is_not_built_upon(host):
    host.sh("echo 'Nonsense yes' > /etc/ssh/sshd_config.d/zz.conf")
    before = tree(host)
    for words in (["--dry-run"], ["--apply"]):
        said = runs(host, *words, code=2)
        assert "sshd_config.d/zz.conf: line 1: Bad configuration option: Nonsense" in said and "mend that first" in said
    assert tree(host) == before


def put_sshd(host, script):
    """In sshd's place: a program that judges by the files it is asked about, the last of its words being the main one."""
    host.run("sh", "-c", "cat > /run/sshd.sh; chmod 755 /run/sshd.sh; mount --bind /run/sshd.sh /usr/sbin/sshd",
             text="#!/bin/sh\nfor main; do :; done\nfolder=${main%/*}/sshd_config.d\n" + script)


def test_what_sshd_would_not_take_together_with_ours_is_refused_before_anything_is_touched(host):
    host.sh(f"printf 'Match User alice\nMaxSessions 5\n' > {DROP_IN}")  # and ours behind it
    before = tree(host)
    said = runs(host, "--apply", code=2)
    assert "nothing was changed" in said and "sshd -t: /etc/ssh/sshd_config.d/00-jitwg.conf line " in said and "within a Match block" in said, said
    assert tree(host) == before


def test_an_sshd_that_is_too_old_is_left_alone(host):
    put_sshd(host, 'if grep -rq ^UnusedConn $folder; then echo "$folder/00-jitwg.conf: line 41: Bad configuration option: UnusedConnectionTimeout"; exit 255; fi\n')
    before = tree(host)
    said = runs(host, "--apply", code=2)
    assert "/etc/ssh/sshd_config.d/00-jitwg.conf: line 41: Bad" in said and "OpenSSH 9.2 or newer is needed" in said, said
    assert tree(host) == before


def test_a_removal_that_sshd_would_not_take_is_refused(host):
    runs(host, "--apply")
    put_sshd(host, "grep -rq ^UnusedConn $folder || { echo half of a pair; exit 255; }\n")
    before = tree(host)
    assert "half of a pair (nothing was changed: something else there relies on jitwg's lines" in runs(host, "--remove", code=2)
    assert tree(host) == before


def test_a_removal_mends_what_sshd_refuses_already(host):
    before = tree(host)
    runs(host, "--apply")
    put_sshd(host, "exit 255\n")
    runs(host, "--remove")
    assert tree(host) == before


def test_the_word_that_sshd_says_at_the_end_counts_and_all_is_put_back(host):
    """Whatever the scratch copy overlooks (Include of elsewhere, say): the files are asked about once more where they stand."""
    put_sshd(host, f'if [ "$main" = /etc/ssh/sshd_config ] && [ -e {DROP_IN} ]; then echo late; exit 255; fi\n')
    before = tree(host)
    said = runs(host, "--apply", code=2)
    assert "late" in said and "as they were before" in said and tree(host) == before


def test_unknown_layouts_are_refused_with_the_lines(host):
    for spoil in ("sed -i /pam_loginuid/d {0}", "sed -i '/^account/d;/common-account/d' {0}", "sed -i 's/$/\\r/' {0}",
                  "sed -i '/pam_loginuid/i session [success=3 default=ignore] pam_succeed_if.so uid < 1000' {0}"):  # fmt: skip
        host.sh(f"cp -p {PAM} /run/pam; " + spoil.format(PAM))
        before = tree(host)
        said = runs(host, "--apply", code=2)
        assert f"{PAM}: " in said and "session    requisite    /usr/local/lib/jitwg/pam_jitwg.so mode=login" in said, said
        assert tree(host) == before
        host.sh(f"cp -p /run/pam {PAM}")


@pytest.mark.parametrize("spoil, said", [
    (f"rm {PAM}; mkfifo {PAM}", "no regular file"), (f"rm {PAM}; ln -s nowhere {PAM}", "apt-get install openssh-server"),
    (f"head -c 2000000 /dev/zero > {PAM}", "too_large"), ("echo nonsense > /etc/jitwg/managed", "malformed"),
    ("chmod 666 /etc/jitwg/managed; echo 'except alice' >> /etc/jitwg/managed", "chmod 644 /etc/jitwg/managed"),
    ("chown alice /etc/jitwg/managed; echo 'except alice' >> /etc/jitwg/managed", "unsafe_file"),
    ("rm /etc/jitwg/managed; mkfifo /etc/jitwg/managed", "no regular file"),
    ("echo 'except *' >> /etc/jitwg/managed", "not a plain login name"), ("rm /usr/local/lib/jitwg/pam_jitwg.so", "is not installed"),
    (f"printf '# jitwg begin\\n' >> {PAM}", "without its other half"), ("sed -i /^jitwg:/d /etc/passwd", "systemd-sysusers"),
])  # fmt: skip
def test_bad_input_changes_nothing(host, spoil, said):
    host.sh(spoil)
    before = host.sh("find /etc/ssh /etc/pam.d -printf '%p %s %i\\n' | sort")
    done = host.ours("jitwg-hostd", "setup", "--apply")
    assert done.returncode in (1, 2, 3) and said in done.stderr, done
    assert host.sh("find /etc/ssh /etc/pam.d -printf '%p %s %i\\n' | sort") == before


def test_rescue_must_be_an_account_here(host):
    assert "there is no such user" in runs(host, "--apply", "--rescue", "nobody-such", code=2)


def test_full_and_read_only_disks_leave_all_as_it_was(host):
    host.sh("mkdir /run/full && mount -t tmpfs -o size=40k,mode=0755 tmpfs /run/full && cp -a /etc/pam.d/. /run/full/ 2>/dev/null; true")
    host.sh("mount -t tmpfs -o size=200k,mode=0755 tmpfs /run/full && cp -a /etc/pam.d/. /run/full/ && mount --bind /run/full /etc/pam.d")
    before = tree(host)
    host.sh("head -c 300k /dev/zero > /run/full/.filler 2>/dev/null || true")
    done = host.ours("jitwg-hostd", "setup", "--apply")
    assert done.returncode == 1 and "No space left" in done.stderr, done
    host.sh("rm /run/full/.filler")
    assert tree(host) == before
    host.sh("mount -o remount,ro /etc/pam.d")
    done = host.ours("jitwg-hostd", "setup", "--apply")
    assert done.returncode == 1 and "Read-only" in done.stderr and tree(host) == before


def test_killed_at_any_moment_no_file_is_half_and_the_next_run_ends_it(host):
    clean = tree(host)
    runs(host, "--apply", "--rescue", "rescue")
    managed = host.read("/etc/jitwg/managed")
    applied = tree(host)
    whole = {path: host.read(path) for path in (PAM, DROP_IN)}
    runs(host, "--remove")
    whole_clean = {PAM: host.read(PAM), DROP_IN: ""}
    started = time.monotonic()
    runs(host, "--apply")
    takes = time.monotonic() - started
    runs(host, "--remove")
    cut = 0
    for step in range(40):
        words = ["--apply"] if step % 2 == 0 else ["--remove"]
        process = subprocess.Popen(host.command(binary("jitwg-hostd"), "setup", *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(takes * 1.2 * (step // 2) / 20)
        # nsenter execs: the process is the program itself
        process.kill()
        cut += process.wait() == -9
        for path in (PAM, DROP_IN):
            assert host.sh(f"cat {path} 2>/dev/null || true") in (whole[path], whole_clean[path]), "half a file"
        assert host.run("/usr/sbin/sshd", "-t").returncode == 0
        if step % 4 < 2:
            runs(host, "--apply")
            assert tree(host) == applied
        runs(host, "--remove")
        assert tree(host) == clean
    assert cut > 10 and host.read("/etc/jitwg/managed") == managed
    assert host.sh("ls /run/jitwg-setup 2>/dev/null || true") == ""


def test_two_at_once_do_not_meet(host):
    both = [subprocess.Popen(host.command(binary("jitwg-hostd"), "setup", "--apply"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(6)]  # fmt: skip
    done = [(p.communicate(timeout=60), p.returncode) for p in both]
    assert {code for _, code in done} <= {0, 3} and any(code == 0 for _, code in done), done
    assert all("another command is changing" in err for (_, err), code in done if code == 3)
    assert runs(host, "--dry-run") == "Nothing to change.\n"


def doctor(host, check):
    """(level, text, remedy) of one check; the rest is of a host that has no more of jitwg than this test needs."""
    found = json.loads(host.ours("jitwg-hostd", "doctor", "--json").stdout)
    return [(f["level"], f["text"], f["remedy"]) for f in found if f["check"] == check]


def test_doctor_follows_a_rescue_account_from_none_to_one_that_works(host):
    def says(level, *words):
        ((found, text, remedy),) = doctor(host, "rescue")
        assert found == level and all(word in f"{text} {remedy}" for word in words), (found, text, remedy)

    says("warning", "no account", "jitwg-hostd setup --apply --rescue NAME")
    host.sh("echo 'except rescue' >> /etc/jitwg/managed")
    assert doctor(host, "pam_account")[0][0] == "problem"
    runs(host, "--apply")
    assert doctor(host, "pam_account")[0][0] == doctor(host, "pam_session")[0][0] == doctor(host, "sshd")[0][0] == "ok"
    says("warning", "it has no key", "/etc/ssh/jitwg-rescue_keys/rescue")
    host.sh("cat /etc/ssh/ssh_host_ed25519_key.pub >> /etc/ssh/jitwg-rescue_keys/rescue")
    says("ok", "comes in by its key")
    for spoil, mend, level, word in (
        ("chmod 666 /etc/ssh/jitwg-rescue_keys/rescue", "chmod 644 /etc/ssh/jitwg-rescue_keys/rescue", "problem", "chmod"),
        ("usermod -s /usr/sbin/nologin rescue", "usermod -s /bin/bash rescue", "warning", "nologin"),
        ("chage -E 1 rescue", "chage -E -1 rescue", "warning", "chage"),
        ("printf 'Match User rescue\\nPasswordAuthentication yes\\n' > /etc/ssh/sshd_config.d/00-a.conf", "rm /etc/ssh/sshd_config.d/00-a.conf", "problem", "passwordauthentication"),
        ("echo 'AllowUsers alice' > /etc/ssh/sshd_config.d/z.conf", "rm /etc/ssh/sshd_config.d/z.conf", "warning", "allowusers"),
        ("sed -i s/quiet.user.in/quiet_user_in/ /etc/pam.d/sshd", "true", "warning", "setup --apply")):  # fmt: skip
        host.sh(spoil)
        says(level, word)
        host.sh(mend)
    runs(host, "--apply")
    says("ok", "comes in")


def test_doctor_says_when_a_name_jumps_that_nobody_excepts(host):
    runs(host, "--apply", "--rescue", "rescue")
    host.sh("sed -i /^except/d /etc/jitwg/managed")
    ((level, _, remedy),) = doctor(host, "pam_account")
    assert level == "problem" and remedy == "jitwg-hostd setup --apply"
    runs(host, "--apply")
    assert doctor(host, "pam_account")[0][0] == "ok" and "rescue" not in host.read(PAM)


def test_doctor_looks_at_every_way_in_and_says_when_there_are_more(host):
    runs(host, "--apply")
    ((level, text, _),) = doctor(host, "sshd")
    logins = int(text.split()[3])
    assert level == "ok" and "managed logins" in text and logins >= 3  # root, rescue, alice, and who else is here
    host.sh("for n in $(seq 300); do echo u$n:x:$((3000+n)):100::/:/bin/sh; done >> /etc/passwd")
    ((level, text, _),) = doctor(host, "sshd")
    assert level == "warning" and f"only 256 of {logins + 300}" in text


def test_an_older_drop_in_of_ours_goes(host):
    old = subprocess.run(["git", "-C", pathlib.Path(__file__).parents[2], "show", "8b04a41:contrib/sshd/jitwg.conf"], capture_output=True, text=True)
    if old.returncode != 0:
        pytest.skip("SKIPPED: needs the history")
    host.run("sh", "-c", "cat > /etc/ssh/sshd_config.d/jitwg.conf", text=old.stdout)
    runs(host, "--apply")
    assert host.sh("ls /etc/ssh/sshd_config.d") == "00-jitwg.conf\n"
