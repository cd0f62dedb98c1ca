#include "ssh-ca/admin/starter_policy.h"

namespace jitwg::signer {

std::string starter_policy(const std::string& realm) {
  return R"(# Who may reach what, for how long, and who must agree. Nothing opens until a rule says so.
# After each change: jitwg policy check /etc/jitwg/policy.toml && systemctl reload jitwg-signer
version = 1
realm = ")" + realm + R"("     # for life: every statement that people sign names it

[defaults]
duration = "60m"               # when --for is omitted
max_duration = "90m"           # a rule's own max_duration replaces it
pending_for = "24h"            # a request waits this long for approval
activate_within = "60m"        # an approval is good for this long
pools = ["10.90.0.0/16"]       # addresses inside tunnels: nothing else in your network may use them

# Below: what `jitwg-gateway init` and `jitwg-hostd init` print, then people, targets and rules like these.
#
# [groups]
# platform = ["alice", "bob"]
# security = ["carol"]
#
# [targets.db-prod]
# gateways = ["gw1"]
# scope = ["tcp 10.60.10.20:5432"]
# jump_hosts = ["jump1"]       # adds ssh to it, as the user below
# login = "{person}"
# labels = ["prod"]
#
# [[rule]]
# name = "platform reaches prod"
# who = ["group:platform"]
# targets = ["label:prod"]
# approvals = 1
# approvers = ["group:security"]
#
# [rights]                     # a right that is absent is nobody's
# revoke = ["group:security"]
# audit_read = ["group:security"]
#
# [[test]]                     # a policy whose tests fail is not loaded
# person = "alice"
# target = "db-prod"
# at = "2026-03-02T10:00:00Z"
# expect = "approval"
# approvers = ["carol"]
)";
}

}  // namespace jitwg::signer
