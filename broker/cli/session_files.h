// What one session keeps on the person's machine: ~/.local/state/jitwg/ID/ (0700), files 0600.
// Private keys and the request's token are made here and leave only for wg-quick and ssh; a session
// that is over keeps none of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "broker/base/session_id.h"
#include "broker/cli/session_object.h"
#include "broker/cli/verify.h"
#include "broker/os/fd.h"
#include "ssh-ca/format/private_key.h"

namespace jitwg::cli {

struct WireguardKey {
  std::string private_key, public_key;  // base64; X25519 (RFC 7748)
  static WireguardKey generate();
};

// What was last heard of the session, for when the broker is away.
struct Meta {
  State state = State::pending;
  std::optional<CloseReason> close_reason;
  bool is_over() const { return is_final(state) || state == State::closing; }
};

// One jitwg at a time in a directory of the person's own (0700: nobody else can hold it up), until
// the descriptor closes. Not twice in one process: the second would wait for the first.
Result<Fd> lock_directory(const std::string& path);

class SessionFiles {
 public:
  SessionFiles(const std::string& state_directory, SessionId id);

  const SessionId& id() const { return id_; }
  const std::string& directory() const { return directory_; }
  std::string path(std::string_view name) const { return directory_ + "/" + std::string(name); }
  std::string wg_quick_path() const;  // its base name is the interface's name

  // Keys, token and the signed request, before it is sent: a crash in between loses nothing.
  Result<void> create(const ssh::SignedDocument& request, const WireguardKey& wireguard,
                      const ssh::PrivateKey& ssh_key, const std::string& token) const;
  Result<ssh::SignedDocument> request_document() const;
  Result<RequestStatement> request() const;
  Result<std::string> token() const;  // hex; session_ended once wiped

  // Everything a verified activation gives: certificate, wg-quick file, known_hosts, and last the
  // grant, whose presence says that the rest is whole.
  Result<void> store_activation(const Verified& verified, const ssh::SignedDocument& grant) const;
  // Read back and verified again. not_live when this session was never activated here.
  Result<Verified> load_activation(const ssh::CaKeys& ca, std::string_view realm,
                                   WallTime now) const;

  Result<void> note_state(const SessionObject& session) const;
  Meta meta() const;  // pending when nothing was noted

  // Keys, token and what holds or names them are overwritten and removed; request, grant and meta
  // stay.
  Result<void> wipe() const;
  Result<void> remove() const;  // all of it, for a request that was never taken

 private:
  SessionId id_;
  std::string directory_;
};

// Sessions made on this machine, oldest first.
std::vector<SessionFiles> local_sessions(const std::string& state_directory);

}  // namespace jitwg::cli
