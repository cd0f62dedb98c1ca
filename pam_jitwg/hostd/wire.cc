#include "pam_jitwg/hostd/wire.h"

#include "broker/base/error.h"

namespace jitwg::hostd {

std::optional<Question> parse_question(std::string_view packet) {
  // The phase says which keys belong. A value holds no newline, so this finds the line itself; that
  // it stands there once is for parse_lines to see.
  for (const Phase phase : {Phase::principals, Phase::account, Phase::open, Phase::close}) {
    if (packet.find("\nphase=" + std::string(name(phase)) + "\n") == packet.npos) continue;
    Question q;
    q.phase = phase;
    std::string word;
    const bool read =
        phase == Phase::open ? pam::parse_lines(packet, {{"phase", &word},
                                                         {"user", &q.user},
                                                         {"certificate", &q.certificate},
                                                         {"client", &q.client}})
        : phase == Phase::principals
            ? pam::parse_lines(
                  packet, {{"phase", &word}, {"user", &q.user}, {"certificate", &q.certificate}})
            : pam::parse_lines(packet, {{"phase", &word}, {"user", &q.user}});
    if (!read || !is_possible(q)) return std::nullopt;
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
