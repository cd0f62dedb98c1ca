// The person's key, and signing statements with it. The key is ssh-agent's, or an unencrypted
// file's.
#pragma once

#include <string>

#include "policy/statement.h"
#include "ssh-ca/format/private_key.h"
#include "ssh-ca/format/sshsig.h"

namespace jitwg::cli {

class Context;

struct Identity {
  ssh::PublicKey key;
  ssh::Signer signer;
  bool guessed = false;  // the first of several in the agent
};

// `configured`: a private or .pub file's path, or empty for the agent's first plain ed25519 key. A
// .pub file, and a private one with a passphrase, are looked up in the agent at `agent_socket`.
// bad_key, io, unsafe_file.
Result<Identity> load_identity(const std::string& configured, const std::string& agent_socket);

// Head of a statement made now by this person in this realm.
Result<StatementHead> make_head(const Context& context);

// Renders, signs with the configured identity. The statement is parsed back first, so that what is
// signed is what any verifier will read: bad_value and friends for what the protocol does not allow
// (a reason too long, say).
Result<ssh::SignedDocument> sign_statement(const Context& context, const Statement& statement);

}  // namespace jitwg::cli
