#include "pam_jitwg/managed.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

namespace jitwg::pam {
namespace {

constexpr size_t kFileBytes = 4 << 20;  // 50,000 lines of passwd

// Cuts the text before `separator` off `rest`.
std::string_view next(std::string_view& rest, char separator) {
  const size_t end = rest.find(separator);
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  return part;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<uid_t> parse_uid(std::string_view text) {
  uid_t uid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), uid);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return uid;
}

// "0,1000-59999" into `rules`; false if it is no such list.
bool parse_uids(std::string_view list, ManagedRules& rules) {
  if (list.empty() || list.back() == ',') return false;
  while (!list.empty()) {
    std::string_view range = trim(next(list, ','));
    const bool has_last = range.find('-') != range.npos;
    const auto first = parse_uid(next(range, '-'));
    const auto last = has_last ? parse_uid(range) : first;
    if (!first || !last || *last < *first) return false;
    rules.uids.emplace_back(*first, *last);
  }
  return true;
}

bool is_excepted(const ManagedRules& rules, std::string_view user) {
  return std::find(rules.except.begin(), rules.except.end(), user) != rules.except.end();
}

bool is_in_range(const ManagedRules& rules, uid_t uid) {
  return std::any_of(rules.uids.begin(), rules.uids.end(),
                     [uid](const auto& r) { return uid >= r.first && uid <= r.second; });
}

struct Account {
  std::string_view name;
  std::optional<uid_t> uid;
};

// The next line of passwd(5), cut off; false at the end.
bool next_account(std::string_view& passwd, Account& account) {
  if (passwd.empty()) return false;
  std::string_view line = next(passwd, '\n');
  account.name = next(line, ':');
  next(line, ':');
  account.uid = parse_uid(next(line, ':'));
  return true;
}

// No value if it may not be believed; empty if there is none.
std::optional<std::string> read_believed(const std::string& path, uid_t owner) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return errno == ENOENT ? std::optional<std::string>("") : std::nullopt;
  std::optional<std::string> text;
  struct stat st {};
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == owner && (st.st_mode & 022) == 0 &&
      static_cast<size_t>(st.st_size) <= kFileBytes) {
    text.emplace(static_cast<size_t>(st.st_size), '\0');
    if (::read(fd, text->data(), text->size()) != st.st_size) text.reset();
  }
  ::close(fd);
  return text;
}

}  // namespace

std::optional<ManagedRules> parse_managed(std::string_view text) {
  ManagedRules rules;
  while (!text.empty()) {
    std::string_view line = next(text, '\n');
    std::string_view words = trim(next(line, '#'));
    if (words.empty()) continue;
    const std::string_view key = next(words, ' ');
    words = trim(words);
    if (key == "uids") {
      if (!rules.uids.empty() || !parse_uids(words, rules)) return std::nullopt;
    } else if (key == "except") {
      if (words.empty() || words.find_first_of(" \t:") != words.npos) return std::nullopt;
      rules.except.emplace_back(words);
    } else {
      return std::nullopt;
    }
  }
  if (rules.uids.empty()) rules.uids = {{0, 0}, {1000, 59999}};
  return rules;
}

std::optional<uid_t> find_uid(std::string_view passwd, std::string_view user) {
  for (Account a; next_account(passwd, a);)
    if (a.name == user) return a.uid;
  return std::nullopt;
}

std::string find_name(std::string_view passwd, uid_t uid) {
  for (Account a; next_account(passwd, a);)
    if (a.uid == uid) return std::string(a.name);
  return "uid " + std::to_string(uid);
}

bool Accounts::is_managed(std::string_view user) const {
  const auto uid = find_uid(passwd, user);
  return !rules || !uid || (!is_excepted(*rules, user) && is_in_range(*rules, *uid));
}

bool Accounts::is_managed(uid_t uid) const {
  if (!rules || !is_in_range(*rules, uid)) return !rules;
  size_t names = 0;
  std::string_view rest = passwd;
  for (Account a; next_account(rest, a); names += a.uid == uid)
    if (a.uid == uid && !is_excepted(*rules, a.name)) return true;
  return names == 0;
}

Accounts load_accounts(const ManagedFiles& files, std::string* why) {
  const auto text = read_believed(files.managed, files.owner);
  auto passwd = read_believed(files.passwd, files.owner).value_or("");
  auto rules = text && !passwd.empty() ? parse_managed(*text) : std::nullopt;
  if (why != nullptr && !rules)
    *why = (passwd.empty() ? files.passwd : files.managed) +
           " is unreadable, writable by others or malformed: everybody is managed";
  return {std::move(rules), std::move(passwd)};
}

std::optional<uid_t> read_loginuid(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  char text[16];
  const ssize_t n = ::read(fd, text, sizeof text);
  ::close(fd);
  if (n <= 0 || n == sizeof text) return std::nullopt;
  return parse_uid({text, static_cast<size_t>(n)});
}

bool is_system(std::optional<uid_t> uid, std::optional<uid_t> loginuid) {
  return uid == uid_t{0} && (loginuid == kNoLogin || loginuid == uid_t{0});
}

bool needs_session(const Accounts& accounts, uid_t uid, std::optional<uid_t> loginuid) {
  if (is_system(uid, loginuid)) return false;
  if (!loginuid || (uid != 0 && accounts.is_managed(uid))) return true;
  return *loginuid != kNoLogin && accounts.is_managed(*loginuid);
}

}  // namespace jitwg::pam
