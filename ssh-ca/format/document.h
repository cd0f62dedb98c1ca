// A signed document as it travels in JSON and lies on disk: {"body": base64, "signature": armoured}.
#pragma once

#include <string_view>

#include "broker/base/error.h"
#include "broker/base/json.h"
#include "ssh-ca/format/sshsig.h"

namespace jitwg {

json::value render_document(const ssh::SignedDocument& document);
// bad_value, unknown_key. Says nothing about the signature; `what` names the document in errors.
Result<ssh::SignedDocument> parse_document(const json::value& value, std::string_view what);

}  // namespace jitwg
