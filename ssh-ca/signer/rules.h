// The rules of issuance (DESIGN §4.3, §5): may this be signed, by the signer's own policy, people, ledger and clock?
// Pure: reads values, changes nothing. What the broker believes does not matter here.
#pragma once

#include <string>
#include <vector>

#include "policy/decide.h"
#include "policy/policy.h"
#include "policy/statement.h"
#include "ssh-ca/format/ca_keys.h"
#include "ssh-ca/signer/ledger.h"

namespace jitwg::signer {

// What the broker asks.
struct IssueQuestion {
  ssh::SignedDocument request;
  std::vector<ssh::SignedDocument> decisions;
  std::string gateway;        // the one it says is connected
  std::string policy_sha256;  // the policy it decided by
};
std::string digest_of(const IssueQuestion& question);

// What the signer goes by.
struct Realm {
  Policy policy;
  ssh::AllowedSigners people;
  ssh::CaKeys ca;  // first the one that signs now
};

// What may be signed.
struct Permit {
  RequestStatement request;
  Access access;
  Seconds duration{};  // the shortest anybody named
};

Result<Permit> check_issue(const IssueQuestion& question, const Realm& realm, const Memory& memory, WallTime now);

// May this person revoke this session? Own session, an approver of it, or the right `revoke`.
Result<VerifiedStatement> check_revoke(const ssh::SignedDocument& statement, const Realm& realm, const Memory& memory,
                                       WallTime now);

}  // namespace jitwg::signer
