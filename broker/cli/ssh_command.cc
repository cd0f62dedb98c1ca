// The forced command of an account on which approvers work through a forwarded agent. sshd knows by
// the key that logged in who it is; authorized_keys says the name, and nothing on the command line
// says another.
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/os/file.h"

namespace jitwg::cli {
namespace {

constexpr std::array<std::string_view, 5> kPermitted = {"pending", "show", "approve", "deny", "list"};
constexpr std::array<std::string_view, 4> kOurs = {"--person", "--identity", "--broker", "--config"};

// As a shell splits words, with quotes and backslashes, and without anything that a shell expands.
Result<std::vector<std::string>> split_words(std::string_view line) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote != 0 && c == quote) {
      quote = 0;
    } else if (quote == 0 && (c == '\'' || c == '"')) {
      quote = c;
      in_word = true;
    } else if (c == '\\' && quote != '\'' && i + 1 < line.size()) {
      word += line[++i];
      in_word = true;
    } else if (quote == 0 && (c == ' ' || c == '\t')) {
      if (in_word) words.push_back(std::exchange(word, {}));
      in_word = false;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (quote != 0) return fail(Code::bad_argument, "a quote is not closed");
  if (in_word) words.push_back(std::move(word));
  return words;
}

// The key that logged in, as sshd's ExposeAuthInfo tells it; empty when it does not.
std::string key_of_login() {
  const char* path = std::getenv("SSH_USER_AUTH");
  if (path == nullptr) return "";
  const auto text = read_file(path, 64 * 1024);
  constexpr std::string_view kMethod = "publickey ";
  if (!text || !text->starts_with(kMethod)) return "";
  return text->substr(kMethod.size(), text->find('\n') - kMethod.size()) + "\n";
}

}  // namespace

Result<int> run_ssh_command(Context& context) {
  const char* asked = std::getenv("SSH_ORIGINAL_COMMAND");
  JITWG_ASSIGN(std::vector<std::string> words, split_words(asked == nullptr ? "" : asked));
  if (!words.empty() && words.front() == "jitwg") words.erase(words.begin());
  if (words.empty() || std::find(kPermitted.begin(), kPermitted.end(), words.front()) == kPermitted.end())
    return fail(Code::not_permitted, "this account runs pending, show, list, approve and deny only",
                "ssh -A ACCOUNT@HOST jitwg approve ID");
  bool yes = false;
  for (const std::string& word : words) {
    for (const std::string_view name : kOurs)
      if (word == name || word.starts_with(std::string(name) + "="))
        return fail(Code::not_permitted, std::string(name) + " is not yours to choose here");
    yes |= word == "--yes";
    if (word == "--") return fail(Code::not_permitted, "\"--\" is not for this account");
  }
  words.insert(words.end(), {"--person", context.arguments()[0]});
  if (!yes) words.push_back("--ask");
  const std::string key = key_of_login();
  if (key.empty()) return run(words);
  const std::string file = context.paths().state + "/approver-" + std::to_string(::getpid()) + ".pub";
  JITWG_TRY(make_directory(context.paths().state, 0700));
  JITWG_TRY(write_file(file, key, 0600));
  words.insert(words.end(), {"--identity", file});
  const int code = run(words);
  ::unlink(file.c_str());
  return code;
}

}  // namespace jitwg::cli
