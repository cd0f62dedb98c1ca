#include "pam_jitwg/hostd/pam_edit.h"

#include <algorithm>
#include <optional>

#include "broker/audit/event.h"
#include "broker/doctor/text.h"
#include "pam_jitwg/hostd/setup_block.h"

namespace jitwg::hostd {
namespace {

// One line of PAM's, with what continues it behind a '\'.
struct Line {
  size_t begin, end;
  std::vector<std::string> words;  // without the comment; none in an empty one
};

std::vector<Line> read_lines(std::string_view text) {
  std::vector<Line> lines;
  for (size_t at = 0; at < text.size();) {
    Line line{at, at, {}};
    std::string bare;
    for (bool more = true; more && line.end < text.size();) {
      const size_t next = next_line(text, line.end);
      std::string_view part = text.substr(line.end, next - line.end);
      line.end = next;
      const size_t comment = part.find('#');
      part = part.substr(0, comment);
      while (part.ends_with('\n') || part.ends_with(' ') || part.ends_with('\t'))
        part.remove_suffix(1);
      more = comment == part.npos && part.ends_with('\\');
      bare += std::string(more ? part.substr(0, part.size() - 1) : part) + " ";
    }
    line.words = doctor::words_of(bare);
    at = line.end;
    lines.push_back(std::move(line));
  }
  return lines;
}

// Debian's files of one type each; any other file that is included may hold lines of all.
bool may_bring(const Line& line, const std::string& type) {
  if (line.words.empty()) return false;
  const std::string first = doctor::lower(line.words[0]);
  if (first == type || first == "-" + type) return true;
  if (first != "@include" || line.words.size() < 2) return false;
  const std::string& name = line.words[1];
  for (const char* one : {"auth", "account", "password", "session"})
    if (name == "common-" + std::string(one)) return one == type;
  if (name == "common-session-noninteractive") return type == "session";
  return true;
}

bool names(const Line& line, std::string_view module) {
  return std::ranges::any_of(line.words, [&](const std::string& word) {
    return word == module || word.ends_with("/" + std::string(module));
  });
}

// Does a `[success=N …]` of this line jump over more than `lines` of its type?
bool jumps_over(const Line& line, size_t lines) {
  for (const std::string& word : line.words) {
    const size_t equals = word.find('=');
    if (word.starts_with("pam_") || word.starts_with("/")) break;  // its arguments
    const std::string number = equals == word.npos ? "" : word.substr(equals + 1);
    if (!number.empty() && number[0] >= '0' && number[0] <= '9' &&
        static_cast<size_t>(std::strtoul(number.c_str(), nullptr, 10)) > lines)
      return true;
  }
  return false;
}

bool may_bring_systemd(const Line& line) {
  return line.words[0].starts_with('@') || names(line, "pam_systemd.so") ||
         (line.words.size() > 1 && (line.words[1] == "include" || line.words[1] == "substack"));
}

std::optional<size_t> place_first(const std::vector<Line>& lines, const std::string& type) {
  for (const Line& line : lines)
    if (may_bring(line, type)) return line.begin;
  return std::nullopt;
}

std::optional<size_t> place_behind_loginuid(const std::vector<Line>& lines,
                                            const std::string& type) {
  std::vector<const Line*> before;
  for (const Line& line : lines) {
    if (!may_bring(line, type)) continue;
    before.push_back(&line);
    if (may_bring_systemd(line)) return std::nullopt;
    if (!names(line, "pam_loginuid.so")) continue;
    for (size_t i = 0; i < before.size(); ++i)
      if (jumps_over(*before[i], before.size() - 1 - i)) return std::nullopt;
    return line.end;
  }
  return std::nullopt;
}

bool reads_homes(const Line& line) {
  return names(line, "pam_env.so") && std::ranges::count(line.words, "user_readenv=1") > 0;
}

// One after the other, since each moves the rest. A line that goes on behind a '\\' stays: doctor tells.
std::string without_homes_environment(std::string text) {
  for (size_t from = 0;;) {
    const std::vector<Line> lines = read_lines(text);
    const auto it = std::ranges::find_if(lines, [&](const Line& l) {
      return l.begin >= from && reads_homes(l) && next_line(text, l.begin) == l.end;
    });
    if (it == lines.end()) return text;
    std::string old = text.substr(it->begin, it->end - it->begin), changed = old;
    const bool ended = old.ends_with('\n');
    if (ended) old.pop_back();
    changed.replace(changed.find("user_readenv=1"), 14, "user_readenv=0");
    if (!ended) changed += "\n";
    std::string block = with_block("", 0, kept_line(old) + changed);
    if (!ended) block.pop_back();
    text.replace(it->begin, it->end - it->begin, block);
    from = it->begin + block.size();
  }
}

// `account include su`: the included file's block is the first of this one too.
bool included_from_ours(const std::vector<Line>& lines, const PamFile& file, const PamLine& wanted) {
  const auto it = std::ranges::find_if(lines, [&](const Line& l) { return may_bring(l, wanted.type); });
  if (it == lines.end() || wanted.place != PamPlace::first) return false;
  const bool includes = it->words[0] == "@include" || (it->words.size() == 3 && it->words[1] == "include");
  return includes && std::ranges::any_of(pam_files(), [&](const PamFile& other) {
    return it->words.back() == other.name && other.name != std::string_view(file.name) &&
           std::ranges::any_of(other.lines, [&](const PamLine& line) {
             return line.type == std::string_view(wanted.type) && line.mode == std::string_view(wanted.mode);
           });
  });
}

std::string joined(const std::vector<std::string>& words, char between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : std::string(1, between)) + word;
  return text;
}

bool is_login(const PamLine& line) { return line.mode == std::string_view("login"); }

// For journald with its fields, otherwise for syslog. Programs of Debian's alone, and never longer
// than 2 s each: this must work, and be heard of, when nothing of ours does.
std::string alarm_line() {
  const std::string text = "rescue login of $PAM_USER from $PAM_RHOST: no session was asked for; session=-";
  return "session    optional     pam_exec.so quiet type=open_session /bin/sh -c [test -S "
         "/run/systemd/journal/socket && printf \"%s\\n\" \"MESSAGE=" + text + "\" PRIORITY=1 "
         "SYSLOG_FACILITY=10 SYSLOG_IDENTIFIER=jitwg JITWG_EVENT=" + std::string(name(EventName::rescue_login)) +
         " \"JITWG_PERSON=$PAM_USER\" MESSAGE_ID=" + std::string(message_id(EventName::rescue_login)) +
         " | timeout 2 logger --journald || timeout 2 logger -p authpriv.alert -t jitwg \"" + text + "\"]\n";
}

}  // namespace

const std::vector<PamFile>& pam_files() {
  static const std::vector<PamFile> files = {
      {"sshd", "user", {{"account", "login", PamPlace::first}, {"session", "login", PamPlace::behind_loginuid}}},
      {"sudo", "ruser", {{"account", "sudo", PamPlace::first}}},
      {"sudo-i", "ruser", {{"account", "sudo", PamPlace::first}}},
      {"su", "ruser", {{"account", "sudo", PamPlace::first}}},
      {"su-l", "ruser", {{"account", "sudo", PamPlace::first}}},
      {"cron", "user", {{"account", "job", PamPlace::first}, {"session", "job", PamPlace::behind_loginuid}}},
      {"atd", "user", {{"account", "job", PamPlace::first}, {"session", "job", PamPlace::behind_loginuid}}},
  };
  return files;
}

std::string pam_lines(const PamFile& file, const PamLine& line, const PamSetup& setup) {
  const std::string type = std::string(line.type) + "    ";
  const std::string if_asked_by =
      type + "[success=1 default=ignore] pam_succeed_if.so quiet " + file.asked_by;
  const std::string who = joined(setup.rescue, ':');
  std::string text;
  if (!who.empty() && is_login(line) && line.place == PamPlace::behind_loginuid)
    text += if_asked_by + " notin " + who + "\n" + alarm_line();
  if (!who.empty()) text += if_asked_by + " in " + who + "\n";
  return text + type + "requisite    " + setup.module + " mode=" + line.mode + "\n";
}

Result<std::string> edit_pam(const PamFile& file, std::string_view text, const PamSetup& setup) {
  auto edited = without_block(text);
  if (!edited) return edited;
  for (const Line& line : read_lines(*edited))
    if (names(line, "pam_jitwg.so")) return std::string(text);
  std::string by_hand;
  for (const PamLine& wanted : file.lines)
    by_hand += joined({wanted.place == PamPlace::first ? "before all others of its type:" : "right behind pam_loginuid.so:",
                       pam_lines(file, wanted, setup)}, ' ');
  std::ranges::replace(by_hand, '\n', ';');
  const auto refuse = [&](const std::string& why) {
    return fail(Code::bad_config, why, "put these lines in by hand, then run it again: " + by_hand);
  };
  if (edited->find_first_of(std::string_view("\r\0", 2)) != edited->npos)
    return refuse("its lines do not end as PAM's do");
  for (const PamLine& wanted : file.lines) {
    // Anew for each: the one before moved the lines. Blocks of ours hold no place of another's.
    const std::vector<Line> lines = read_lines(*edited);
    if (included_from_ours(lines, file, wanted)) continue;
    const auto at = wanted.place == PamPlace::first ? place_first(lines, wanted.type)
                                                    : place_behind_loginuid(lines, wanted.type);
    if (!at)
      return refuse(std::string("where pam_jitwg belongs among its ") + wanted.type + " lines cannot be told");
    *edited = with_block(*edited, *at, pam_lines(file, wanted, setup));
  }
  return std::ranges::any_of(file.lines, is_login) ? without_homes_environment(*std::move(edited)) : *std::move(edited);
}

bool takes_environment_from_homes(std::string_view text) { return std::ranges::any_of(read_lines(text), reads_homes); }

bool is_in_place(const PamFile& file, const PamLine& line, std::string_view text, const PamSetup& setup) {
  const std::vector<Line> all = read_lines(text), ours = read_lines(pam_lines(file, line, setup));
  if (included_from_ours(all, file, line)) return true;
  std::vector<Line> stack;
  std::ranges::copy_if(all, std::back_inserter(stack), [&](const Line& l) { return may_bring(l, line.type); });
  const auto same = [](const Line& a, const Line& b) {
    return std::ranges::equal(a.words, b.words, [](const std::string& x, const std::string& y) {
      return x == y || (x.ends_with("/pam_jitwg.so") && y.ends_with("/pam_jitwg.so"));
    });
  };
  const auto at = std::search(stack.begin(), stack.end(), ours.begin(), ours.end(), same);
  if (at == stack.end()) return false;
  if (line.place == PamPlace::first) return at == stack.begin();
  for (auto before = stack.begin(); before != at; ++before)
    if (jumps_over(*before, static_cast<size_t>(at - before) - 1)) return false;
  return std::none_of(stack.begin(), at, may_bring_systemd) &&
         std::any_of(stack.begin(), at, [](const Line& l) { return names(l, "pam_loginuid.so"); });
}

}  // namespace jitwg::hostd
