// OpenSSH's allowed_signers (ssh-keygen(1), ALLOWED SIGNERS), read more strictly than OpenSSH does: one literal
// person per line, namespaces="jitwg" mandatory, no patterns, no lists, no cert-authority, a key listed once.
// Keys of any KeyType; times in UTC (with Z) only.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/time.h"
#include "ssh-ca/format/public_key.h"

namespace jitwg::ssh {

struct AllowedSigner {
  std::string person;
  PublicKey key;
  std::optional<WallTime> valid_after;
  std::optional<WallTime> valid_before;
};

class AllowedSigners {
 public:
  // bad_allowed_signers with the line number; one bad line refuses the whole file.
  static Result<AllowedSigners> parse(std::string_view text);

  // The person this key belongs to at `at`: unknown_person when the key is nobody's, stale when out of its time.
  Result<std::string> person_of(const PublicKey& key, WallTime at) const;
  bool knows_person(std::string_view person) const;
  bool knows_key(const PublicKey& key) const;  // at any time
  const std::vector<AllowedSigner>& entries() const { return entries_; }

 private:
  std::vector<AllowedSigner> entries_;
  std::map<PublicKey, size_t> by_key_;  // into entries_
};

}  // namespace jitwg::ssh
