#include "pam_jitwg/wire.h"

#include <charconv>

namespace jitwg::pam {
namespace {

constexpr std::string_view kFirstLine = "jitwg1\n";
constexpr size_t kWordBytes = 64;  // an address, a service

// One line, printable: neither newlines nor terminal controls travel. Bytes above 0x7f may (UTF-8
// names).
bool is_clean(std::string_view value) {
  for (const unsigned char c : value)
    if (c < 0x20 || c == 0x7f) return false;
  return true;
}

bool is_value(std::string_view value, bool wanted, size_t most) {
  return value.empty() != wanted && value.size() <= most && is_clean(value);
}

}  // namespace

bool is_session_id(std::string_view text) {
  return text.size() == 36 && text.find_first_not_of("0123456789abcdef-") == text.npos;
}

std::vector<Field> fields_of(Question& q, std::string& phase) {
  std::vector<Field> fields = {{"phase", &phase}, {"user", &q.user}};
  if (has_certificate(q.phase)) fields.push_back({"certificate", &q.certificate});
  if (q.phase == Phase::open) fields.push_back({"client", &q.client});
  if (has_service(q.phase)) fields.push_back({"service", &q.service});
  return fields;
}

bool is_possible(const Question& q) {
  return is_value(q.user, true, kUserBytes) &&
         is_value(q.certificate, has_certificate(q.phase), kCertificateBytes) &&
         is_value(q.client, q.phase == Phase::open, kWordBytes) &&
         is_value(q.service, has_service(q.phase), kWordBytes);
}

bool is_possible(const Answer& a) {
  if (a.code.empty() || !is_clean(a.code) || !is_clean(a.text) || a.not_after < 0) return false;
  if (!a.session.empty() && !is_session_id(a.session)) return false;
  return !a.allow || (!a.session.empty() && a.not_after > 0);
}

std::string render_lines(const std::vector<Field>& fields) {
  std::string packet(kFirstLine);
  for (const Field& f : fields) packet.append(f.key).append("=").append(*f.value).append("\n");
  return packet;
}

bool parse_lines(std::string_view packet, const std::vector<Field>& fields) {
  if (packet.size() > kPacketBytes || !packet.ends_with('\n') || !packet.starts_with(kFirstLine))
    return false;
  packet.remove_prefix(kFirstLine.size());
  unsigned seen = 0;
  while (!packet.empty()) {
    const std::string_view line = packet.substr(0, packet.find('\n'));
    packet.remove_prefix(line.size() + 1);
    const size_t equals = line.find('=');
    unsigned bit = 1;
    auto field = fields.begin();
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
  return render_lines(fields_of(q, phase));
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
