// The sessions this jump host may let in, looked up the way a login asks: by the certificate's
// hash. Filled from the node agent's verified grants, whole each time (Enforcer::converge); holds
// nothing of its own but why sessions ended, so that a refusal can say so. Pure: values in, values
// out.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "broker/node/agent.h"

namespace jitwg::hostd {

struct Closed {
  CloseReason reason = CloseReason::expired;
  std::string target;
  std::string certificate_sha256;
  WallTime not_after;
};

class Grants {
 public:
  // Replaces what is open. What was or is closed is kept until limits::kTombstone after its end.
  void set(const std::vector<node::Wanted>& wanted, WallTime now);
  // One more or less, the others as they are.
  void open(const Grant& grant);
  void close(const node::Wanted& want);

  // nullptr: not open here. Whether it is open *now* is for the caller to judge by its times.
  const Grant* by_session(const SessionId& session) const;
  const Grant* by_certificate(const std::string& sha256_hex) const;
  const Closed* closed(const SessionId& session) const;

 private:
  void forget(const SessionId& session);
  std::map<SessionId, Grant> open_;
  std::map<std::string, SessionId> certificates_;
  std::map<SessionId, Closed> closed_;
};

}  // namespace jitwg::hostd
