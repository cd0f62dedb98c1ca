// hostd's side of a packet (pam_jitwg/PROTOCOL.md); the other side and the rules are in
// pam_jitwg/wire.h.
#pragma once

#include "pam_jitwg/wire.h"

namespace jitwg::hostd {

using pam::Answer;
using pam::Phase;
using pam::Question;

std::optional<Question> parse_question(std::string_view packet);
// Aborts on an answer that the protocol cannot carry: hostd makes every field itself, from parsed
// values.
std::string render(const Answer& answer);

}  // namespace jitwg::hostd
