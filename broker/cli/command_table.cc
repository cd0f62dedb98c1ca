#include "broker/cli/command.h"
#include "broker/cli/commands.h"

namespace jitwg::cli {
namespace {

Option value(const char* name, const char* help) { return {name, "", help, false, true}; }
Option flag(const char* name, const char* help) { return {name, "", help, true, true}; }

Option reason() { return value("reason", "why (mandatory)"); }
Option save() {
  return value("save", "sign into this file instead of sending: for jitwg-signer apply, past a broker that swallows it");
}

std::vector<Option> lock_options() {
  return {reason(), value("target", "this target"), value("node", "this gateway or jump host"), flag("all", "everything"), save()};
}

std::vector<Option> request_options() {
  return {value("reason", "why, for those who approve and audit (mandatory)"),
          value("for", "how long: 20s, 90m, 1h30m"), value("ticket", "a ticket's number"),
          value("incident", "the open incident this belongs to: its ID, or the last six or more characters")};
}

std::vector<Option> up_options() {
  std::vector<Option> options = request_options();
  options.push_back(value("timeout", "give up waiting for approval after this long (exit 6)"));
  options.push_back(flag("detach", "leave once the interface is up"));
  options.push_back(flag("no-interface", "write the files only, and say which"));
  return options;
}

std::vector<Command> make_commands() {
  return {
      {"request", "TARGET", "ask for access",
       "Makes fresh WireGuard and SSH keys on this machine, signs the request and sends it. "
       "Nothing is open yet:\n"
       "somebody approves it, then `jitwg activate ID` or `jitwg up ID` starts the clock.",
       "jitwg request db-prod --reason \"INC-4711 replica lag\" --for 90m", request_options(), 1, 1,
       run_request},
      {"pending",
       "",
       "what waits for your decision",
       "Requests that you may approve or deny; never your own.",
       "jitwg pending",
       {},
       0,
       0,
       run_pending},
      {"show",
       "ID",
       "all about one session",
       "Own sessions are read with their own token, others need a login.",
       "jitwg show 9c41d2",
       {},
       1,
       1,
       run_show},
      {"approve",
       "ID",
       "approve a request",
       "Shows exactly what the signature will cover (person, target, resolved scope, login, "
       "gateways, jump hosts,\n"
       "duration, reason), then signs. Nobody approves their own request.",
       "jitwg approve 9c41d2 --for 30m --comment \"thirty minutes will do\"",
       {value("for", "let it last at most this long"),
        value("comment", "a word to the requester and the record")},
       1,
       1,
       run_approve},
      {"deny",
       "ID",
       "deny a request",
       "The first deny decides.",
       "jitwg deny 9c41d2 --reason \"use the replica\"",
       {value("reason", "why (mandatory)")},
       1,
       1,
       run_deny},
      {"activate",
       "ID",
       "start an approved session, write its files",
       "The session's clock starts. Grant and certificate are checked against the pinned CA key "
       "and the request\n"
       "before anything is written. Exit 6 while nobody has approved it.",
       "jitwg activate 9c41d2",
       {},
       1,
       1,
       run_activate},
      {"up", "TARGET|ID", "request, wait, activate, bring the tunnel up, stay in front",
       "With a TARGET: a new request, all the way. With an ID: goes on with that session, or "
       "reopens its interface.\n"
       "Stays in front, warns 5 minutes and 1 minute before the end, and takes the interface down "
       "then (exit 0: the\n"
       "agreed end counts as done). Ctrl-C, SIGTERM or SIGHUP gives the session back and exits 0. "
       "Ended by somebody\n"
       "else: exit 4. Only `wg-quick` runs as root, through sudo. --timeout bounds the wait for "
       "approval (exit 6; the\n"
       "request stays).",
       "jitwg up db-prod --reason \"INC-4711 replica lag\" --for 90m", up_options(), 1, 1, run_up},
      {"down",
       "[ID]",
       "drop the interface only",
       "The session stays live: `jitwg up ID` reopens it, `jitwg return ID` ends it. Without ID: "
       "the only one up.",
       "jitwg down 9c41d2",
       {},
       0,
       1,
       run_down},
      {"ssh",
       "TARGET|ID [-- CMD...]",
       "log in to the jump host of a live session",
       "Runs ssh with the session's certificate and pinned host key; exits as ssh does. TARGET "
       "means its newest live\n"
       "session. Plain `ssh jitwg-TARGET` works too, once ~/.ssh/config says: Include "
       "~/.config/jitwg/ssh_config",
       "jitwg ssh db-prod -- uptime",
       {},
       1,
       1,
       run_ssh,
       true},
      {"names",
       "ID",
       "print a live session's host names as lines for /etc/hosts",
       "From the signed grant, checked again, and nothing else; the broker is not asked. Each line "
       "ends in the "
       "session's ID,\n"
       "so that it can be found and removed.",
       "jitwg names 9c41d2 | sudo tee -a /etc/hosts",
       {},
       1,
       1,
       run_names},
      {"return",
       "ID",
       "end your session; before activation: cancel the request",
       "Takes the interface down, ends the session at the broker and removes its keys from this "
       "machine.",
       "jitwg return 9c41d2",
       {},
       1,
       1,
       run_return},
      {"revoke", "ID|--person NAME|…", "end what is live now: one session, or all of a person, target, node, incident",
       "Signed; for those whom policy lets, for what you approved yourself, and for your own sessions. What is asked for\n"
       "later is not touched: `jitwg lock` does that. Says what it ends before it signs.",
       "jitwg revoke 9c41d2 --reason \"laptop lost\"",
       {reason(), value("person", "all of this person"), value("target", "all on this target"),
        value("node", "all through this gateway or jump host"), value("incident", "all of this incident"),
        flag("all", "everything that is live or asked for"), save()}, 0, 1, run_revoke},
      {"lock", "PERSON|--target NAME|…", "end what is live, and let nothing new begin",
       "A locked person's requests, approvals and logins count for nothing; nothing new reaches a locked target or goes\n"
       "through a locked node. Until `jitwg unlock`. Anyone may lock themselves, nobody unlocks themselves.",
       "jitwg lock bob --reason \"laptop stolen\"", lock_options(), 0, 1, run_lock},
      {"unlock", "PERSON|--target NAME|…", "let it begin again", "For those with the right `lock`.",
       "jitwg unlock bob --reason \"new keys\"", lock_options(), 0, 1, run_unlock},
      {"locks", "", "what is locked, by whom and why", "", "jitwg locks", {}, 0, 0, run_locks},
      {"incident open", "TARGET…|label:X", "open an incident on targets or labels",
       "While it is open, the rules with during = \"incident\" apply to requests that name it: jitwg up TARGET --incident ID.\n"
       "Its sessions end with it at the latest.",
       "jitwg incident open label:prod --reason \"INC-4711\" --for 2h",
       {reason(), value("for", "how long (mandatory)")}, 1, 64, run_incident_open},
      {"incident extend", "ID", "give an incident another end", "From now on for this long. Sessions that run keep their end.",
       "jitwg incident extend 4f1c09 --for 2h --reason \"not found yet\"",
       {reason(), value("for", "how long from now (mandatory)")}, 1, 1, run_incident_extend},
      {"incident close", "ID", "close an incident and end all its sessions", "",
       "jitwg incident close 4f1c09 --reason \"mended\"", {reason(), save()}, 1, 1, run_incident_close},
      {"incident review", "ID", "sign that you have looked at an incident that is over", "By somebody else than who opened it.",
       "jitwg incident review 4f1c09 --comment \"all in order\"", {value("comment", "what you found (mandatory)")}, 1, 1,
       run_incident_review},
      {"incident list", "", "incidents, the newest first", "", "jitwg incident list", {}, 0, 0, run_incident_list},
      {"incident show", "ID", "one incident, and those of its sessions that you may read", "", "jitwg incident show 4f1c09", {}, 1, 1,
       run_incident_show},
      {"write-off", "ID", "a node's evidence about a session will never come",
       "For those with the right `nodes`, once the session's time is over. The record then says written_off, never verified.",
       "jitwg write-off 9c41d2 --node gw1 --reason \"burnt down\"", {reason(), value("node", "the gateway or jump host (mandatory)")},
       1, 1, run_write_off},
      {"export", "ID DIR", "write all that is on record of a session, to be checked without us",
       "Statements with their signatures, certificate, grant, events, people and policy as they stood, and a VERIFY.md whose\n"
       "lines check them with ssh-keygen and sha256sum alone. DIR must be empty or new.",
       "jitwg export 9c41d2 ./9c41d2", {}, 2, 2, run_export},
      {"statement show", "FILE", "what a signed statement says", "FILE is a document ({\"body\",\"signature\"}), or a body. Needs no broker. Checks no signature.",
       "jitwg statement show lock.json", {}, 1, 1, run_statement_show},
      {"statement verify", "FILE", "who signed it, and does it hold",
       "At its own time, against --allowed-signers, or else the file allowed_signers beside FILE, or else the broker's. FILE is a document, or a body with\n"
       "its signature in FILE.sig. Exit 3: it does not hold.",
       "jitwg statement verify 02-decision-carol.json", {value("allowed-signers", "whose key is whose")}, 1, 1, run_statement_verify},
      {"ssh-command", "PERSON", "the forced command of an account where people approve",
       "Runs what ssh was asked to run, if it is pending, show, approve or deny, as PERSON, with the key that logged in, out of\n"
       "the forwarded agent. For authorized_keys: see jitwg(1), APPROVING THROUGH SSH.",
       "restrict,agent-forwarding,command=\"jitwg ssh-command carol\" ssh-ed25519 AAAA…", {}, 1, 1, run_ssh_command},
      {"list",
       "",
       "sessions you may read",
       "Newest first.",
       "jitwg list --live",
       {flag("live", "only those that are opening, active or closing")},
       0,
       0,
       run_list},
      {"policy check",
       "FILE",
       "does a policy file load",
       "As the signer loads it: it parses, names only what exists, and all its own tests pass. Says "
       "all that is wrong at\n"
       "once (exit 2), and warns of what loads but hardly means what it says (exit 0). Needs no "
       "broker.",
       "jitwg policy check /etc/jitwg/policy.toml",
       {},
       1,
       1,
       run_policy_check},
      {"policy test",
       "FILE",
       "run a policy's own tests, one line each",
       "Needs no broker. A test that fails: exit 2.",
       "jitwg policy test policy.toml",
       {},
       1,
       1,
       run_policy_test},
      {"policy explain",
       "",
       "rule by rule, why somebody may or may not",
       "Of the broker's policy, or of a file. The answer is the exit 0, whatever it says.",
       "jitwg policy explain --person alice --target db-prod --for 90m",
       {value("target", "what is to be reached (mandatory)"),
        value("for", "how long; default: policy's"),
        value("at", "when, as 2026-03-02T10:00:00+03:00; default: now"),
        flag("incident", "as if an open incident covered the target"),
        value("opened-by", "who opened it; default: somebody else"),
        value("file", "read this policy file instead of the broker's")},
       0,
       0,
       run_policy_explain},
      {"policy diff",
       "OLD NEW",
       "who gains and who loses which access",
       "Between two policy files, by person and target, whatever their rules are called and in whatever order they stand:\n"
       "+ gains, - loses, ~ is let in otherwise (approvers, scope, login, how long, …). People who change alike share a line.\n"
       "Exit 0: the same; 1: they differ; 2: one of them cannot be read. Needs no broker.",
       "jitwg policy diff /etc/jitwg/policy.toml new.toml",
       {},
       2,
       2,
       run_policy_diff},
      {"trust", "[BROKER]", "take over whom to trust: broker, CA key, realm",
       "Reads the block that `jitwgd init` printed, from --file or pasted on stdin, shows its fingerprints and stores it in\n"
       "the configuration file. BROKER, as HOST[:PORT], replaces the address in the block; the key that is pinned stays.",
       "jitwg trust --file jitwg-trust.txt", {value("file", "the block's file; default: stdin")}, 0, 1, run_trust},
      {"doctor",
       "",
       "check this machine, and say the line to change",
       "Configuration, broker, realm, CA and clock, your key, ssh's Include, sudo, WireGuard, and what ended sessions\n"
       "left here. Changes nothing. Exit 1 when there is a problem; warnings alone are 0. --json: a list of\n"
       "{check, level, text, remedy}.",
       "jitwg doctor",
       {},
       0,
       0,
       run_doctor},
      {"version", "", "print the version", "", "jitwg version --json", {}, 0, 0, run_version},
      {"help", "[CMD]", "help on a subcommand", "", "jitwg help up", {}, 0, 2, run_help},
      {"completion bash",
       "",
       "print a bash completion script",
       "Reads the same table as --help.",
       "source <(jitwg completion bash)",
       {},
       0,
       0,
       run_completion_bash},
  };
}

}  // namespace

const std::vector<Command>& commands() {
  static const std::vector<Command> table = make_commands();
  return table;
}

const std::vector<Option>& common_options() {
  static const std::vector<Option> options = {
      flag("json", "machine-readable, unset values are null; errors too, on stdout"),
      flag("yes", "do not ask before signing"),
      flag("ask", "ask also when stdin is no terminal: an answer is a line of it"),
      value("broker", "unix:PATH or https://HOST:PORT [JITWG_BROKER, then the config file]"),
      value("person", "who you are [config file, then the unix user]"),
      value("identity", "your key's file [config file, then ssh-agent's first]"),
      value("config", "configuration file [~/.config/jitwg/config]")};
  return options;
}

}  // namespace jitwg::cli
