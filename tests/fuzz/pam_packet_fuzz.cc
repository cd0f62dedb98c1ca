// What travels between the module and hostd (pam_jitwg/PROTOCOL.md), either way: what one side takes, the other side would
// have written, and it can say nothing to a log or a terminal but words.
#include "pam_jitwg/hostd/wire.h"
#include "tests/fuzz/fuzz.h"

namespace jitwg::fuzz {
namespace {

void check_clean(std::string_view value) {
  for (const unsigned char c : value) JITWG_CHECK(c >= 0x20 && c != 0x7f);
}

bool try_question(std::string_view input) {
  const auto question = hostd::parse_question(input);
  if (!question) return false;
  JITWG_CHECK(!question->user.empty() && question->user.size() <= pam::kUserBytes && question->certificate.size() <= pam::kCertificateBytes);
  for (const std::string& value : {question->user, question->certificate, question->client, question->service}) check_clean(value);
  const auto packet = pam::render(*question);
  JITWG_CHECK(packet && packet->size() <= pam::kPacketBytes);
  const auto again = hostd::parse_question(*packet);
  JITWG_CHECK(again && *again == *question);
  return true;
}

bool try_answer(std::string_view input) {
  const auto answer = pam::parse_answer(input);
  if (!answer) return false;
  // A yes names its session and its end; without them it would be a login for ever.
  JITWG_CHECK(!answer->allow || (pam::is_session_id(answer->session) && answer->not_after > 0));
  for (const std::string& value : {answer->code, answer->session, answer->text}) check_clean(value);
  const auto again = pam::parse_answer(hostd::render(*answer));
  JITWG_CHECK(again && *again == *answer);
  return true;
}

}  // namespace

bool try_input(std::string_view input) {
  const bool question = try_question(input), answer = try_answer(input);
  JITWG_CHECK(!question || !answer);
  return question || answer;
}

void compare(std::string_view) {}

}  // namespace jitwg::fuzz
