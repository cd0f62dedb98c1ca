#include <sodium.h>

#include <cstdlib>

#include "broker/base/name.h"
#include "broker/os/file.h"
#include "ssh-ca/signer/backend.h"

namespace jitwg::signer {
namespace {

constexpr std::string_view kCredential = "credential:";
constexpr size_t kMost = 16 * 1024;

bool is_public(std::string_view text) { return text.starts_with("ssh-"); }

Result<std::string> path_of(const std::string& place) {
  if (!place.starts_with(kCredential)) return place;
  const std::string credential = place.substr(kCredential.size());
  if (!is_name(credential) || credential.starts_with('.'))
    return fail(Code::bad_config, "ca-key: \"" + credential + "\" names no credential", "ca-key = credential:NAME");
  const char* directory = std::getenv("CREDENTIALS_DIRECTORY");
  if (directory == nullptr || *directory != '/')
    return fail(Code::bad_config, "ca-key: this process was given no credentials",
                "in the unit: LoadCredential=" + credential + ":/PATH, or LoadCredentialEncrypted=");
  return std::string(directory) + "/" + credential;
}

Result<std::string> read_key(const std::string& place, const std::string& path) {
  // systemd lets the unit's user in by an ACL, and an ACL shows as the group's read bit.
  if (place.starts_with(kCredential)) return read_secret_file(path, kMost, 037);
  auto text = read_secret_file(path, kMost);
  if (text) return text;
  // A public key is no secret, but must not be anybody's to change.
  if (text.error().code == Code::unsafe_file)
    if (auto open = read_trusted_file(path, kMost); open && is_public(*open)) return open;
  Error error = text.error();
  if (error.code == Code::io && error.hint.empty()) error.hint = "make one: ssh-keygen -t ed25519 -N '' -C jitwg-ca -f " + path;
  return within("CA key", std::move(error));
}

}  // namespace

Result<CaKey> load_ca_key(const std::string& place) {
  JITWG_ASSIGN(const std::string path, path_of(place));
  auto text = read_key(place, path);
  if (!text) return tl::unexpected<Error>(text.error());
  if (is_public(*text)) {
    auto key = ssh::PublicKey::parse(std::string_view(*text).substr(0, text->find('\n')));
    if (!key) return within("CA key " + path, key.error());
    return CaKey{path, std::move(*key), {}};
  }
  auto key = ssh::PrivateKey::parse_openssh(*text);
  sodium_memzero(text->data(), text->size());
  if (!key) return within("CA key " + path, key.error());
  const ssh::PublicKey half = key->public_key();
  return CaKey{path, half, std::move(*key)};
}

}  // namespace jitwg::signer
