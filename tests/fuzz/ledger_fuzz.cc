// The ledger. The input is its records, a line each; the chain of hashes is made here, because no fuzzer finds one. What
// opens has a chain that anybody can compute again; a prefix of it opens, and appending the rest gives the same bytes;
// a torn last line is cut off, and a changed byte refused.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ssh-ca/signer/ledger.h"

#include "broker/os/file.h"
#include "tests/fuzz/fuzz.h"

namespace jitwg::fuzz {
namespace {

using signer::Ledger;

// In memory where that is possible: it is written thousands of times.
const std::string& path() {
  static const std::string name = std::string(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") + "/jitwg-ledger-fuzz-" +
                                  std::to_string(getpid());
  static const int remove_at_exit = std::atexit([] { ::unlink(path().c_str()); });
  JITWG_CHECK(remove_at_exit == 0);
  return name;
}

void write(std::string_view text) {
  const Fd fd(::open(path().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  JITWG_CHECK(fd.valid() && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}
std::string read() { return *read_file(path(), 64 << 20); }

Result<Ledger> open(std::string_view text) {
  write(text);
  return Ledger::open(path());
}

struct Chained {
  std::vector<std::string> records;
  std::vector<std::string> lines;  // with hash and newline
  std::string text;
};
Chained chain(std::string_view input) {
  Chained all;
  std::string head(64, '0');
  while (!input.empty() && all.lines.size() < 20) {
    const size_t newline = input.find('\n');
    all.records.emplace_back(input.substr(0, newline));
    input.remove_prefix(newline == std::string_view::npos ? input.size() : newline + 1);
    head = sha256_hex(head + " " + all.records.back());
    all.lines.push_back(head + " " + all.records.back() + "\n");
    all.text += all.lines.back();
  }
  return all;
}

// Where in the text to damage it: anywhere, but by the input alone.
size_t some_place(std::string_view input, size_t below) {
  return below == 0 ? 0 : static_cast<size_t>(static_cast<unsigned char>(sha256(input)[0]) * 257 +
                                              static_cast<unsigned char>(sha256(input)[1])) % below;
}

void check_torn(const Chained& all, size_t cut) {
  const std::string torn = all.text.substr(0, cut);
  const size_t whole = torn.rfind('\n') + 1;  // npos + 1 is 0
  const auto ledger = open(torn);
  JITWG_CHECK(ledger && ledger->repaired() == (whole != cut) && read() == torn.substr(0, whole));
}

void check_altered(const Chained& all, size_t at) {
  std::string altered = all.text;
  altered[at] = static_cast<char>(altered[at] ^ 1);
  const auto ledger = open(altered);
  // Without its newline the last line is one torn, whatever it was.
  if (at + 1 == altered.size()) return;
  JITWG_CHECK(!ledger && ledger.error().code == Code::corrupt && read() == altered);
}

// The first half opened, the rest appended: nothing of it is told apart from the whole.
void check_prefix(const Chained& all, const signer::Memory& whole) {
  std::string first;
  const size_t half = all.lines.size() / 2;
  for (size_t i = 0; i < half; ++i) first += all.lines[i];
  auto ledger = open(first);
  JITWG_CHECK(ledger && !ledger->repaired());
  bool same_bytes = true;
  for (size_t i = half; i < all.records.size(); ++i) {
    const auto record = parse_json(all.records[i], 1 << 20);
    JITWG_CHECK(record && ledger->append(*record));
    same_bytes = same_bytes && render_json(*record) == all.records[i];
  }
  JITWG_CHECK(ledger->sync() && ledger->memory().newest() == whole.newest() &&
              ledger->memory().issued_count() == whole.issued_count());
  if (same_bytes) JITWG_CHECK(read() == all.text);
}

}  // namespace

bool try_input(std::string_view input) {
  const Chained all = chain(input);
  {
    const auto ledger = open(all.text);
    if (!ledger) {
      check_error(ledger.error());
      JITWG_CHECK(read() == all.text);
      return false;
    }
    JITWG_CHECK(!ledger->repaired() && read() == all.text);
    const auto same = signer::read_ledger(path());
    JITWG_CHECK(same && same->newest() == ledger->memory().newest() && same->issued_count() == ledger->memory().issued_count());
  }
  if (all.text.empty()) return true;
  check_torn(all, some_place(input, all.text.size()));
  check_altered(all, some_place(input, all.text.size()));
  check_prefix(all, *[&] { write(all.text); return signer::read_ledger(path()); }());
  return true;
}

void compare(std::string_view) {}

}  // namespace jitwg::fuzz
