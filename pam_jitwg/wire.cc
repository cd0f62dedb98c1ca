#include "pam_jitwg/wire.h"

#include <charconv>

namespace jitwg::pam {
namespace {

constexpr std::string_view kFirstLine = "jitwg1\n";

// One line, printable: neither newlines nor terminal controls travel. Bytes above 0x7f may (UTF-8
// names).
bool is_clean(std::string_view value) {
  for (const unsigned char c : value)
    if (c < 0x20 || c == 0x7f) return false;
  return true;
}

}  // namespace

bool is_session_id(std::string_view text) {
  return text.size() == 36 && text.find_first_not_of("0123456789abcdef-") == text.npos;
}

bool is_possible(const Question& q) {
  const bool wants_certificate = q.phase == Phase::principals || q.phase == Phase::open;
  if (q.user.empty() || q.user.size() > kUserBytes || !is_clean(q.user)) return false;
  if (q.certificate.empty() == wants_certificate || q.certificate.size() > kCertificateBytes)
    return false;
  if (q.client.empty() == (q.phase == Phase::open) || q.client.size() > 64) return false;
  return is_clean(q.certificate) && is_clean(q.client);
}

bool is_possible(const Answer& a) {
  if (a.code.empty() || !is_clean(a.code) || !is_clean(a.text) || a.not_after < 0) return false;
  if (!a.session.empty() && !is_session_id(a.session)) return false;
  return !a.allow || (!a.session.empty() && a.not_after > 0);
}

std::string render_lines(std::initializer_list<Field> fields) {
  std::string packet(kFirstLine);
  for (const Field& f : fields) packet.append(f.key).append("=").append(*f.value).append("\n");
  return packet;
}

bool parse_lines(std::string_view packet, std::initializer_list<Field> fields) {
  if (packet.size() > kPacketBytes || !packet.ends_with('\n') || !packet.starts_with(kFirstLine))
    return false;
  packet.remove_prefix(kFirstLine.size());
  unsigned seen = 0;
  while (!packet.empty()) {
    const std::string_view line = packet.substr(0, packet.find('\n'));
    packet.remove_prefix(line.size() + 1);
    const size_t equals = line.find('=');
    unsigned bit = 1;
    const Field* field = fields.begin();
    for (; field != fields.end() && field->key != line.substr(0, equals); ++field) bit <<= 1;
    if (equals == line.npos || field == fields.end() || (seen & bit) != 0) return false;
    seen |= bit;
    field->value->assign(line.substr(equals + 1));
  }
  return seen == (1U << fields.size()) - 1;
}

std::optional<std::string> render(const Question& question) {
  if (!is_possible(question)) return std::nullopt;
  Question q = question;
  std::string phase(name(q.phase));
  if (q.phase == Phase::open)
    return render_lines({{"phase", &phase},
                         {"user", &q.user},
                         {"certificate", &q.certificate},
                         {"client", &q.client}});
  if (q.phase == Phase::principals)
    return render_lines({{"phase", &phase}, {"user", &q.user}, {"certificate", &q.certificate}});
  return render_lines({{"phase", &phase}, {"user", &q.user}});
}

std::optional<Answer> parse_answer(std::string_view packet) {
  Answer a;
  std::string verdict, end;
  if (!parse_lines(packet, {{"verdict", &verdict},
                            {"code", &a.code},
                            {"session", &a.session},
                            {"not_after", &end},
                            {"text", &a.text}}))
    return std::nullopt;
  if (verdict != "allow" && verdict != "deny") return std::nullopt;
  a.allow = verdict == "allow";
  const auto [rest, error] = std::from_chars(end.data(), end.data() + end.size(), a.not_after);
  if (error != std::errc{} || rest != end.data() + end.size() || !is_possible(a))
    return std::nullopt;
  return a;
}

}  // namespace jitwg::pam
