#include "ssh-ca/format/ca_keys.h"

#include <algorithm>

namespace jitwg::ssh {

Result<CaKeys> CaKeys::parse(std::string_view text) {
  constexpr size_t kMost = 2;
  constexpr const char* kHint = "one ssh-ed25519 key a line; a second one only while the CA's key is being changed";
  CaKeys found;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    JITWG_ASSIGN(PublicKey key, PublicKey::parse(line));
    if (found.contains(key)) return fail(Code::bad_key, "the CA key " + key.fingerprint() + " stands twice", kHint);
    found.keys_.push_back(std::move(key));
  }
  if (found.keys_.empty()) return fail(Code::bad_key, "there is no CA key", kHint);
  if (found.keys_.size() > kMost) return fail(Code::bad_key, "there are more than two CA keys", kHint);
  return found;
}

bool CaKeys::contains(const PublicKey& key) const { return std::find(keys_.begin(), keys_.end(), key) != keys_.end(); }

std::vector<std::string> CaKeys::lines() const {
  std::vector<std::string> all;
  for (const PublicKey& key : keys_) all.push_back(key.str());
  return all;
}

std::string CaKeys::fingerprints() const {
  std::string text;
  for (const PublicKey& key : keys_) text += (text.empty() ? "" : " and ") + key.fingerprint();
  return text;
}

}  // namespace jitwg::ssh
