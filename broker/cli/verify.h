// The CLI's second opinion on what an activation answered (DESIGN §4.5): a pinned CA key signed it,
// and it is what this person asked for on this machine. Pure. Nothing is written or run from an
// answer that did not pass here.
#pragma once

#include <optional>
#include <string>

#include "broker/session/grant.h"
#include "policy/statement.h"
#include "ssh-ca/format/certificate.h"

namespace jitwg::cli {

struct Verified {
  Grant grant;
  std::optional<std::string>
      certificate;  // "ssh-ed25519-cert-v01@openssh.com AAAA…"; set with a jump host
};

// foreign_grant, foreign_certificate, wrong_realm, bad_signature: not ours, whatever the broker
// says. `clock` when the grant lies in the future of this machine's clock, session_ended when its
// time is over.
Result<Verified> verify_activation(const RequestStatement& own, const ssh::SignedDocument& grant,
                                   const std::optional<std::string>& certificate,
                                   const ssh::CaKeys& ca, std::string_view realm, WallTime now);

}  // namespace jitwg::cli
