// What a revoke, a lock or an unlock names on the command line, what it would end, and its way to
// the broker or into a file.
#pragma once

#include <string>

#include "broker/cli/api.h"
#include "policy/statement.h"

namespace jitwg::cli {

class Context;

// Exactly one of the argument (taken as `argument`), --person, --target, --node, --incident, --all:
// bad_argument otherwise.
Result<Subject> read_subject(const Context& context, const Api& api, Subject::Kind argument);

// An incident's whole UUID, or its last six or more characters among those the broker knows.
Result<SessionId> resolve_incident(const Context& context, const Api& api, const std::string& text);

// "ends 3 live sessions of bob", with a line for each; what cannot be known (no broker, no right) is
// said, too. Ends in a newline.
std::string describe_affected(const Context& context, const Api& api, const Subject& what);

// Shows `preview`, asks, signs. With --save the document goes into that file for `jitwg-signer
// apply FILE` and nowhere else, and null is returned; otherwise it is posted, and this is the answer.
Result<json::value> sign_and_send(const Context& context, const Api& api, const Statement& statement,
                                  const std::string& preview, const std::string& question);

// "; 2 sessions ended: …" out of an answer's `ended`.
std::string describe_ended(const json::value& answer);

}  // namespace jitwg::cli
