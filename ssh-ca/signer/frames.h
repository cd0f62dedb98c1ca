// The signer's frames (ssh-ca/PROTOCOL.md): 4 bytes big-endian length, then one JSON object. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "broker/base/error.h"
#include "broker/base/json.h"

namespace jitwg::signer {

std::string render_frame(const json::value& message);
// Takes one whole frame from the front of `buffer`; nullopt while it is incomplete. too_large, bad_json: hang up.
Result<std::optional<json::value>> take_frame(std::string& buffer);

}  // namespace jitwg::signer
