// The signer as a function: one question in, one answer out, by a table of permitted messages (ssh-ca/PROTOCOL.md).
// No socket, no clock: the server passes both in.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "broker/base/json.h"
#include "ssh-ca/signer/backend.h"
#include "ssh-ca/signer/ledger.h"
#include "ssh-ca/signer/rules.h"

namespace jitwg::signer {

// Policy and people as they stand on this host, with the exact bytes for the broker.
struct Sources {
  std::string policy_toml;
  std::string allowed_signers;
};

class Signer {
 public:
  Signer(std::unique_ptr<CaBackend> backend, Ledger ledger, Realm realm, Sources sources)
      : backend_(std::move(backend)), ledger_(std::move(ledger)), realm_(std::move(realm)), sources_(std::move(sources)) {}

  // Never throws; a refusal is an answer. Nothing of it may leave before sync().
  json::value answer(const json::value& question, WallTime now);
  Result<void> sync() { return ledger_.sync(); }

  // All or nothing: bytes that do not load leave the running ones in place.
  Result<void> reload(Sources sources);
  // The lists that policy takes from files, as they count at `now`.
  void take_lists(SyncedFiles files, WallTime now);
  const Realm& realm() const { return realm_; }

  // Told of every refusal, for the journal: code, sentence, and the session if one is named.
  std::function<void(const Error&, std::optional<SessionId>)> on_refusal;

 private:
  Result<json::value> dispatch(const json::value& question, WallTime now, std::optional<SessionId>& about);
  Result<json::value> answer_policy(JsonObject& reader, WallTime now);
  Result<json::value> answer_issue(JsonObject& reader, WallTime now, std::optional<SessionId>& about);
  Result<json::value> answer_apply(JsonObject& reader, WallTime now, std::optional<SessionId>& about);

  std::unique_ptr<CaBackend> backend_;
  Ledger ledger_;
  Realm realm_;
  Sources sources_;
  SyncedFiles lists_;
};

// Policy and people from their bytes, checked against each other and against the CA keys: no identity key may be the CA's,
// a node's or a host's.
Result<Realm> make_realm(const Sources& sources, const ssh::CaKeys& ca, std::string_view policy_name);

}  // namespace jitwg::signer
