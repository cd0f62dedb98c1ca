// Changes to the text of an allowed_signers file. Pure. Lines are added and keys are ended; nothing is ever deleted, for
// an auditor must be able to check last year's statements. What comes out has been read back by the strict parser.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/time.h"
#include "ssh-ca/format/allowed_signers.h"

namespace jitwg::signer {

struct EditedPeople {
  std::string text;                // the whole file
  std::vector<std::string> lines;  // those that the edit is about
};

// bad_allowed_signers: the file is bad already. bad_argument: no plain name. key_reused: the key is somebody's, or was
// ended once. A line that stands there already: the text as it is. `comment` is kept if it is a plain name, as alice@laptop.
Result<EditedPeople> add_key(std::string_view text, std::string_view person, const ssh::PublicKey& key,
                             std::string_view comment);

// Ends the person's keys, or the one with this fingerprint, at `now`; keys that ended before stay as they are.
// bad_argument: there is no such key.
Result<EditedPeople> retire_keys(std::string_view text, std::string_view person,
                                 const std::optional<std::string>& fingerprint, WallTime now);

}  // namespace jitwg::signer
