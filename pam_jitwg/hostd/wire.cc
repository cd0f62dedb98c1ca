#include "pam_jitwg/hostd/wire.h"

#include "broker/base/error.h"

namespace jitwg::hostd {

std::optional<Question> parse_question(std::string_view packet) {
  // The phase says which keys belong. A value holds no newline, so this finds the line itself; that
  // it stands there once is for parse_lines to see.
  for (size_t i = 0; i < std::size(pam::kPhaseNames); ++i) {
    if (packet.find("\nphase=" + std::string(pam::kPhaseNames[i]) + "\n") == packet.npos) continue;
    Question q;
    q.phase = static_cast<Phase>(i);
    std::string word;
    if (!pam::parse_lines(packet, pam::fields_of(q, word)) || !is_possible(q)) return std::nullopt;
    return q;
  }
  return std::nullopt;
}

std::string render(const Answer& answer) {
  JITWG_CHECK(is_possible(answer));
  Answer a = answer;
  std::string verdict = a.allow ? "allow" : "deny";
  std::string end = std::to_string(a.not_after);
  std::string packet = pam::render_lines({{"verdict", &verdict},
                                          {"code", &a.code},
                                          {"session", &a.session},
                                          {"not_after", &end},
                                          {"text", &a.text}});
  JITWG_CHECK(packet.size() <= pam::kPacketBytes);
  return packet;
}

}  // namespace jitwg::hostd
