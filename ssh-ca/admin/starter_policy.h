#pragma once

#include <string>

namespace jitwg::signer {

// A policy that loads and opens nothing, with a complete example in its comments.
std::string starter_policy(const std::string& realm);

}  // namespace jitwg::signer
