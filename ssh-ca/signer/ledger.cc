#include "ssh-ca/signer/ledger.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/os/file.h"

namespace jitwg::signer {
namespace {

constexpr size_t kMaxRecord = 1 << 20;
constexpr size_t kMaxLedger = size_t{16} << 30;

std::string next_head(const std::string& head, std::string_view record) {
  return sha256_hex(head + " " + std::string(record));
}

// What a crash leaves behind the last newline: the beginning of a line, and no byte that cannot be of it. Anything
// else there, such as a ledger of zeros or a whole record whose newline was altered, is damage, and cutting it off
// would forget who was revoked.
bool is_torn(std::string_view tail) {
  if (tail.size() > kMaxRecord) return false;
  if (tail.substr(0, 64).find_first_not_of("0123456789abcdef") != std::string_view::npos) return false;
  if (tail.size() > 64 && !std::string_view(" {").starts_with(tail.substr(64, 2))) return false;
  int depth = 0;
  bool quoted = false;
  for (size_t i = 65; i < tail.size(); ++i) {
    const char c = tail[i];
    if (static_cast<unsigned char>(c) < 0x20) return false;  // rendered JSON has them escaped
    if (quoted && c == '\\') ++i;
    else if (c == '"') quoted = !quoted;
    else if (!quoted && (c == '{' || c == '[')) ++depth;
    else if (!quoted && (c == '}' || c == ']') && --depth == 0) return i + 1 == tail.size();
  }
  return true;
}

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("ledger", errno);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

// Into `memory` and `head`; how many bytes of it are whole lines. What is left is a torn one.
Result<size_t> replay(const std::string& text, const std::string& path, Memory& memory, std::string& head) {
  constexpr const char* kHint = "the ledger was altered or damaged: restore it from a copy, do not edit it";
  head.assign(64, '0');
  std::string_view rest = text;
  for (size_t number = 1; !rest.empty(); ++number) {
    const std::string where = path + " line " + std::to_string(number);
    const size_t newline = rest.find('\n');
    if (newline == std::string_view::npos) {  // the write that made it was never answered
      if (!is_torn(rest)) return fail(Code::corrupt, where + ": not the beginning of a record", kHint);
      break;
    }
    const std::string_view line = rest.substr(0, newline);
    if (line.size() < 66 || line[64] != ' ' || line.substr(0, 64) != next_head(head, line.substr(65)))
      return fail(Code::corrupt, where + ": its hash does not follow from the line before", kHint);
    const auto record = parse_json(line.substr(65), kMaxRecord);
    if (!record) return within(where, record.error());
    if (auto taken = memory.take(*record); !taken) return within(where, taken.error());
    head = line.substr(0, 64);
    rest.remove_prefix(newline + 1);
  }
  return text.size() - rest.size();
}

}  // namespace

Result<Memory> read_ledger(const std::string& path) {
  JITWG_ASSIGN(const std::string text, read_file(path, kMaxLedger));
  Memory memory;
  std::string head;
  JITWG_TRY(replay(text, path, memory, head));
  return memory;
}

Result<Ledger> Ledger::open(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    const int number = errno;
    auto error = fail_errno(path, number);
    if (number == ENOENT) error.value().hint = "restore it from a copy; in a new realm, jitwg-signer init makes it";
    return error;
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(Code::wrong_state, path + " is in use by another signer", "one signer and one ledger per realm");
  JITWG_ASSIGN(const std::string text, read_file(path, kMaxLedger));

  Ledger ledger(std::move(fd), {});
  JITWG_ASSIGN(const size_t good, replay(text, path, ledger.memory_, ledger.head_));
  ledger.repaired_ = good < text.size();
  if (ledger.repaired_ &&
      (::ftruncate(ledger.fd_.get(), static_cast<off_t>(good)) != 0 || ::fsync(ledger.fd_.get()) != 0))
    return fail_errno(path, errno);
  return ledger;
}

Result<void> Ledger::append(const json::value& record) {
  JITWG_TRY(memory_.take(record));
  const std::string text = render_json(record);
  head_ = next_head(head_, text);
  pending_ += head_ + " " + text + "\n";
  return {};
}

Result<void> Ledger::sync() {
  if (pending_.empty()) return {};
  // Never again once it failed: the kernel may have dropped what it could not write, and would say that all is well.
  if (broken_) return fail(Code::io, "ledger: an earlier write has failed", "restart the signer once the disk is sound");
  broken_ = true;
  JITWG_TRY(write_all(fd_.get(), pending_));
  if (::fdatasync(fd_.get()) != 0) return fail_errno("ledger", errno);
  broken_ = false;
  pending_.clear();
  return {};
}

}  // namespace jitwg::signer
