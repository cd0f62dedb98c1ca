// What `jitwg-hostd setup` would have in the files of this host, from what is in them. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pam_jitwg/hostd/pam_edit.h"

namespace jitwg::hostd {

inline constexpr const char* kSshdMain = "/etc/ssh/sshd_config";
inline constexpr const char* kSshdFolder = "/etc/ssh/sshd_config.d";
// Files of a folder are read in the order of their names, and the first value of a keyword wins.
inline constexpr const char* kSshdDropIn = "00-jitwg.conf";
inline constexpr const char* kRescueKeys = "/etc/ssh/jitwg-rescue_keys";
inline constexpr const char* kJournaldFile = "/etc/systemd/journald.conf.d/jitwg.conf";
inline constexpr const char* kPolkitFile = "/etc/polkit-1/rules.d/00-jitwg.rules";

struct SeenFile {
  std::string path;
  std::optional<std::string> text;  // none: there is no such file
};

struct SetupInput {
  PamSetup pam;
  std::string sshd_snippet, journald_snippet;  // contrib's, with this host's paths
  bool journald = false, polkit = false;       // installed here
  std::vector<std::string> sshd_names;         // in kSshdFolder
};

struct FileChange {
  std::string path;
  std::optional<std::string> before, after;  // `after` none: the file goes
};

// Paths that setup looks at, whether or not they are there.
std::vector<std::string> setup_paths(const std::vector<std::string>& rescue);

// A rescue account stands in files of sshd and PAM as it is. bad_argument: not a plain login name.
Result<void> check_rescue(const std::vector<std::string>& names);

// The drop-in's lines: the rescue accounts' Match block comes before contrib's `Match all`, and the
// first block with a keyword wins.
std::string sshd_lines(const SetupInput& input);

// What would change, in the order in which it may become so: sshd's files before PAM's, which work at
// once. Errors of edit_pam() and without_block(), with the path.
Result<std::vector<FileChange>> plan_setup(const std::vector<SeenFile>& seen, const SetupInput& input);
// The same for --remove, the other way round.
Result<std::vector<FileChange>> plan_removal(const std::vector<SeenFile>& seen);

}  // namespace jitwg::hostd
