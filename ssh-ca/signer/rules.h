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
  Access access;       // without jump hosts that are locked
  Seconds duration{};  // the shortest anybody named, and no longer than the incident
};

Result<Permit> check_issue(const IssueQuestion& question, const Realm& realm, const Memory& memory, WallTime now);

// May what was issued be handed out again? Not once it, its person, target, nodes or incident were revoked, locked or closed.
Result<void> check_reissue(const SessionId& session, const Issued& issued, const Memory& memory);

// verify_statement, and: its key is valid now, too, so that a lost one cannot sign for yesterday (stale); the nonce was of no
// other statement (replay); its person is not locked (locked).
Result<VerifiedStatement> verify_here(const ssh::SignedDocument& document, const Realm& realm, const Memory& memory, WallTime now);

// May this statement be kept in the ledger, and forbid or open what it says? revoke, lock, unlock, incident_open, _extend and
// _close; by whom policy lets, by anyone for their own sessions and for locking themselves, by an approver for what they
// approved. The same bytes again are fine, and change nothing.
// A revoke of a session of which nothing was issued yet is taken from anybody, as a claim: whose it is shows at issuance.
struct Applicable {
  VerifiedStatement verified;
  bool claim = false;
};
Result<Applicable> check_apply(const ssh::SignedDocument& document, const Realm& realm, const Memory& memory, WallTime now);

}  // namespace jitwg::signer
