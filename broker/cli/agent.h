// ssh-agent, as far as signing statements needs it (draft-miller-ssh-agent §3.5, §3.6). Certificates
// and key types that nobody may sign with are passed over.
#pragma once

#include <string>
#include <vector>

#include "ssh-ca/format/public_key.h"

namespace jitwg::cli {

class Agent {
 public:
  // `socket` is SSH_AUTH_SOCK's value. bad_key with what to do when there is no agent to talk to.
  explicit Agent(std::string socket) : socket_(std::move(socket)) {}

  Result<std::vector<ssh::PublicKey>> keys() const;
  // As ssh::Signer. Waits for a person who confirms each use (ssh-add -c) or touches the hardware
  // key, up to two minutes.
  Result<std::string> sign(const ssh::PublicKey& key, std::string_view message) const;

 private:
  Result<std::string> ask(std::string_view question) const;
  std::string socket_;
};

}  // namespace jitwg::cli
