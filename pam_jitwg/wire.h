// One packet of pam_jitwg/PROTOCOL.md: what the module and the principals command send and read,
// and the rules that jitwg-hostd shares (hostd/wire.h). Strict: a key that is unknown, missing,
// repeated or out of place makes it no packet.
//
// Needs libc only: the module is loaded into sshd and may not bring jitwg_base along. Memory
// running out is the one exception these functions throw.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace jitwg::pam {

inline constexpr size_t kPacketBytes = 96 * 1024;  // a certificate at its largest, base64, and room
inline constexpr size_t kCertificateBytes = 64 * 1024;  // of base64; ours take about 700
inline constexpr size_t kUserBytes = 256;               // LOGIN_NAME_MAX

enum class Phase { principals, account, open, close, sudo, job, job_open };
inline constexpr std::string_view kPhaseNames[] = {"principals", "account", "open",    "close",
                                                   "sudo",       "job",     "job_open"};
constexpr bool has_service(Phase phase) { return phase >= Phase::sudo; }
constexpr bool has_certificate(Phase p) { return p == Phase::principals || p == Phase::open; }
constexpr std::string_view name(Phase phase) { return kPhaseNames[static_cast<size_t>(phase)]; }

struct Question {
  Phase phase = Phase::account;
  std::string user;
  std::string certificate;   // base64; principals and open
  std::string client;        // IP address; open
  std::string service = {};  // PAM's name of what asks (cron, sudo); sudo, job and job_open
  bool operator==(const Question&) const = default;
};

struct Answer {
  bool allow = false;
  std::string code;       // a reason code of broker/base/error.h; "ok" when allowed
  std::string session;    // UUID; empty only in a denial
  int64_t not_after = 0;  // unix seconds; 0 only in a denial
  std::string text;       // one line for the person; may be empty
  bool operator==(const Answer&) const = default;
};

bool is_possible(const Question& question);  // all keys of its phase and no other, no newline, no
                                             // control character
bool is_possible(const Answer& answer);

// No value if it is not possible.
std::optional<std::string> render(const Question& question);
std::optional<Answer> parse_answer(std::string_view packet);

struct Field {
  std::string_view key;
  std::string* value;
};
// What a question of this phase holds; `phase` is for the word itself.
std::vector<Field> fields_of(Question& question, std::string& phase);
std::string render_lines(const std::vector<Field>& fields);
// The first line, then each of `fields` exactly once, in any order, and nothing else.
bool parse_lines(std::string_view packet, const std::vector<Field>& fields);

// 36 characters of a UUID's alphabet, so that printing it can say nothing else. Which session,
// hostd has judged.
bool is_session_id(std::string_view text);

}  // namespace jitwg::pam
