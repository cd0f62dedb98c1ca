// The person's key, and signing statements with it: in ssh-agent, in a file without a passphrase
// that we read ourselves, or in any other file that ssh-keygen(1) signs with. Passphrases, PINs and
// hardware keys are OpenSSH's business, never ours.
#pragma once

#include <functional>
#include <string>

#include "policy/statement.h"
#include "ssh-ca/format/private_key.h"
#include "ssh-ca/format/sshsig.h"

namespace jitwg::cli {

class Context;

struct Identity {
  ssh::PublicKey key;
  std::function<Result<ssh::SignedDocument>(std::string body)> sign;  // a statement
  bool guessed = false;  // the first of several in the agent
};

// `configured`: a private or .pub file's path, or empty for the agent's first key of a type that
// may sign. A .pub file is looked up in the agent at `agent_socket`; so is, first, a private one
// that is not ours to read: with a passphrase, or of another type than ed25519. bad_key, io,
// unsafe_file.
Result<Identity> load_identity(const std::string& configured, const std::string& agent_socket);

// Head of a statement made now by this person in this realm.
Result<StatementHead> make_head(const Context& context);

// Renders, signs with the configured identity. The statement is parsed back first, so that what is
// signed is what any verifier will read: bad_value and friends for what the protocol does not allow
// (a reason too long, say).
Result<ssh::SignedDocument> sign_statement(const Context& context, const Statement& statement);

}  // namespace jitwg::cli
