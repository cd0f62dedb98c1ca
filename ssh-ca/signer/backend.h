// Who holds the CA key. A backend makes certificates and signed documents; every backend passes one contract test
// (backend_contract_test.cc), and whatever it makes is parsed and checked by issue() before it leaves.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "broker/base/error.h"
#include "ssh-ca/format/certificate.h"
#include "ssh-ca/format/private_key.h"
#include "ssh-ca/format/sshsig.h"

namespace jitwg::signer {

class CaBackend {
 public:
  virtual ~CaBackend() = default;
  virtual const ssh::PublicKey& public_key() const = 0;
  // The blob of a certificate that says what `wanted` says. Nonce, CA key and signature are the backend's.
  virtual Result<std::string> sign_certificate(const ssh::Certificate& wanted) = 0;
  // SSHSIG over `body` in the namespace `ns`.
  virtual Result<ssh::SignedDocument> sign_document(std::string body, std::string_view ns) = 0;
};

// What `ca-key` names: a file as `ssh-keygen -t ed25519 -N ''` writes it, mode 0600, or `credential:NAME`, the file of
// that name that systemd hands to this unit alone (systemd.exec(5), LoadCredential). A file with a public key: the
// private half is in an agent, and `secret` is unset. io, unsafe_file, bad_key (also: it has a passphrase), bad_config.
struct CaKey {
  std::string path;
  ssh::PublicKey public_key;
  std::optional<ssh::PrivateKey> secret;
};
Result<CaKey> load_ca_key(const std::string& place);

// The key in this process (libsodium). bad_config when there is only the public half.
Result<std::unique_ptr<CaBackend>> make_native_backend(const std::string& place);

struct SshKeygen {
  std::string program = "/usr/bin/ssh-keygen";
  std::string scratch;       // a folder of ours; made if it is not there
  std::string agent_socket;  // with a public key in `ca-key`
  std::chrono::milliseconds deadline = std::chrono::seconds(5);
};
// OpenSSH signs: `ssh-keygen -s` and `-Y sign`, with the key file, or with an agent's key (-U). Started once for each
// signature, without a shell, a terminal or our environment, in a folder of its own below `scratch`, and killed after
// the deadline; the caller waits for it. Signs a trial document here, so that what cannot sign does not start.
// signer_unavailable: it cannot be run, failed, or took too long. bad_config, unsafe_file.
Result<std::unique_ptr<CaBackend>> make_ssh_keygen_backend(const std::string& place, SshKeygen how);

}  // namespace jitwg::signer
