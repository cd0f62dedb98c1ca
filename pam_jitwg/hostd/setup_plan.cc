#include "pam_jitwg/hostd/setup_plan.h"

#include <algorithm>

#include "broker/base/encoding.h"
#include "broker/doctor/text.h"
#include "pam_jitwg/hostd/setup_block.h"

namespace jitwg::hostd {
namespace {

constexpr size_t kRescueNames = 16;  // PAM reads lines of 1,023 bytes
constexpr const char* kNote = "# Written by `jitwg-hostd setup`. What you put outside of these marks stays.\n";
constexpr const char* kKeysNote = "# One public key a line. This account needs no session: keep the private key under lock.\n";
// What `init` wrote up to version 0.1, when it sorted behind a cloud image's own drop-ins.
constexpr const char* kOldDropIn = "6d507ab5343dbea760610d045900ce92d06c44cec348668c48c432fc8862f348";
constexpr const char* kPolkitLines =
    "// Whoever may keep processes without a login keeps them beyond the session, too.\n"
    "polkit.addRule(function(action) {\n"
    "  if (action.id == \"org.freedesktop.login1.set-self-linger\") return polkit.Result.NO;\n"
    "});\n";

std::string drop_in() { return std::string(kSshdFolder) + "/" + kSshdDropIn; }
std::string old_drop_in() { return std::string(kSshdFolder) + "/jitwg.conf"; }
std::string pam_path(const PamFile& file) { return std::string("/etc/pam.d/") + file.name; }

std::string_view comment_of(const std::string& path) { return path == kPolkitFile ? kSlashes : kHash; }

// Does sshd read the drop-in before all else, by the main file's own words?
bool is_read_first(const std::string& main, const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (name.ends_with(".conf") && !name.starts_with('.') && name < kSshdDropIn) return false;
  for (const std::string& line : doctor::lines_of(main)) {
    const auto words = doctor::words_of(line);
    if (words.empty()) continue;
    return words.size() > 1 && doctor::lower(words[0]) == "include" && words[1] == std::string(kSshdFolder) + "/*.conf";
  }
  return false;
}

class Plan {
 public:
  explicit Plan(const std::vector<SeenFile>& seen) : seen_(seen) {}

  const std::optional<std::string>& text(const std::string& path) const {
    return std::ranges::find(seen_, path, &SeenFile::path)->text;
  }
  void put(const std::string& path, std::optional<std::string> after) {
    if (text(path) != after) changes_.push_back({path, text(path), std::move(after)});
  }
  enum class At { top, end };
  // One block, or none where there are no lines.
  Result<void> put_block(const std::string& path, At at, const std::string& lines) {
    auto bare = without_block(text(path).value_or(""), comment_of(path));
    if (!bare) return within(path, bare.error());
    if (!lines.empty())
      put(path, with_block(*bare, at == At::top ? 0 : bare->size(), lines, comment_of(path)));
    else if (text(path) && *text(path) != *bare)
      // Of those that setup makes, an empty one was most likely made by it, and means the same as none.
      put(path, bare->empty() && path != kSshdMain ? std::nullopt : std::optional(*bare));
    return {};
  }

  std::vector<FileChange> changes() && { return std::move(changes_); }

 private:
  const std::vector<SeenFile>& seen_;
  std::vector<FileChange> changes_;
};

}  // namespace

std::vector<std::string> setup_paths(const std::vector<std::string>& rescue) {
  std::vector<std::string> paths = {kSshdMain, drop_in(), old_drop_in(), kJournaldFile, kPolkitFile};
  for (const std::string& name : rescue) paths.push_back(std::string(kRescueKeys) + "/" + name);
  for (const PamFile& file : pam_files()) paths.push_back(pam_path(file));
  return paths;
}

Result<void> check_rescue(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const bool plain = !name.empty() && name.size() <= 32 && name[0] != '-' && name[0] != '.' &&
                       name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == name.npos;
    if (!plain)
      return fail(Code::bad_argument, "rescue account \"" + name + "\": not a plain login name",
                  "at most 32 letters, digits, '_', '.' and '-'");
  }
  if (names.size() > kRescueNames)
    return fail(Code::bad_argument, std::to_string(names.size()) + " accounts need no session, at most 16 may",
                "take \"except\" lines out of the managed file");
  return {};
}

std::string sshd_lines(const SetupInput& input) {
  std::string text = kNote + input.sshd_snippet, who;
  for (const std::string& name : input.pam.rescue) who += (who.empty() ? "" : ",") + name;
  const size_t at = text.find("\nMatch all\n");
  JITWG_CHECK(at != text.npos);
  if (!who.empty())
    text.insert(at + 1, "# For emergencies, when nothing of jitwg works: keys that only root can write, no CA.\nMatch User " + who +
                            "\nAuthorizedKeysFile " + kRescueKeys + "/%u\nTrustedUserCAKeys none\n\n");
  return text;
}

Result<std::vector<FileChange>> plan_setup(const std::vector<SeenFile>& seen, const SetupInput& input) {
  Plan plan(seen);
  for (const std::string& name : input.pam.rescue)
    if (const std::string path = std::string(kRescueKeys) + "/" + name; !plan.text(path)) plan.put(path, kKeysNote);
  JITWG_TRY(plan.put_block(drop_in(), Plan::At::end, sshd_lines(input)));
  auto main = without_block(plan.text(kSshdMain).value_or(""));
  if (!main) return within(kSshdMain, main.error());
  JITWG_TRY(plan.put_block(kSshdMain, Plan::At::top, is_read_first(*main, input.sshd_names) ? "" : "Include " + drop_in() + "\n"));
  if (const auto& old = plan.text(old_drop_in()); old && sha256_hex(*old) == kOldDropIn) plan.put(old_drop_in(), std::nullopt);
  if (input.journald) JITWG_TRY(plan.put_block(kJournaldFile, Plan::At::end, kNote + input.journald_snippet));
  if (input.polkit) JITWG_TRY(plan.put_block(kPolkitFile, Plan::At::top, kPolkitLines));
  for (const PamFile& file : pam_files()) {
    const auto& text = plan.text(pam_path(file));
    if (!text) continue;
    auto edited = edit_pam(file, *text, input.pam);
    if (!edited) return within(pam_path(file), edited.error());
    plan.put(pam_path(file), *edited);
  }
  return std::move(plan).changes();
}

Result<std::vector<FileChange>> plan_removal(const std::vector<SeenFile>& seen) {
  Plan plan(seen);
  for (const PamFile& file : pam_files())
    if (const auto& text = plan.text(pam_path(file))) {
      auto bare = without_block(*text);
      if (!bare) return within(pam_path(file), bare.error());
      plan.put(pam_path(file), *bare);
    }
  for (const std::string& path : {std::string(kPolkitFile), std::string(kJournaldFile), std::string(kSshdMain), drop_in()})
    JITWG_TRY(plan.put_block(path, Plan::At::top, ""));
  for (const SeenFile& file : seen)
    if (file.path.starts_with(kRescueKeys) && file.text == kKeysNote) plan.put(file.path, std::nullopt);
  return std::move(plan).changes();
}

}  // namespace jitwg::hostd
