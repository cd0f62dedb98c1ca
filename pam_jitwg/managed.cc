#include "pam_jitwg/managed.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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
  while (!passwd.empty()) {
    std::string_view line = next(passwd, '\n');
    if (next(line, ':') != user) continue;
    next(line, ':');
    return parse_uid(next(line, ':'));
  }
  return std::nullopt;
}

bool is_managed(const std::optional<ManagedRules>& rules, const std::optional<uid_t>& uid,
                std::string_view user) {
  if (!rules || !uid) return true;
  for (const std::string& name : rules->except)
    if (name == user) return false;
  for (const auto& [first, last] : rules->uids)
    if (*uid >= first && *uid <= last) return true;
  return false;
}

bool is_managed(const ManagedFiles& files, std::string_view user, std::string* why) {
  const auto text = read_believed(files.managed, files.owner);
  const auto passwd = read_believed(files.passwd, files.owner);
  const auto rules = text ? parse_managed(*text) : std::nullopt;
  const auto uid = passwd ? find_uid(*passwd, user) : std::nullopt;
  if (why != nullptr && !rules)
    *why = files.managed + " is unreadable, writable by others or malformed: everybody is managed";
  else if (why != nullptr && !uid)
    *why = files.passwd + " does not name this user: managed";
  return is_managed(rules, uid, user);
}

}  // namespace jitwg::pam
