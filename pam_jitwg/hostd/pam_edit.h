// Which files of /etc/pam.d ask pam_jitwg, and where in them its lines stand. Pure: text in, text
// out. Of PAM's language (pam.conf(5)) only as much is read as the place needs; a file whose lines
// do not tell the place is refused, never guessed at.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "broker/base/error.h"

namespace jitwg::hostd {

enum class PamPlace {
  first,            // before every other line of its type
  behind_loginuid,  // right behind pam_loginuid, before what may bring pam_systemd
};

struct PamLine {
  const char* type;  // "account", "session"
  const char* mode;
  PamPlace place;
};

struct PamFile {
  const char* name;      // in /etc/pam.d
  const char* asked_by;  // PAM item that names who asks: "user"; "ruser" where user is whom they become
  std::vector<PamLine> lines;
};

// All that are known; a host has some of them.
const std::vector<PamFile>& pam_files();

struct PamSetup {
  std::string module;               // its path
  std::vector<std::string> rescue;  // logins that jump over it, so that they need nothing of ours
};

// The lines themselves, for a person to put in by hand; each ended by '\n'.
std::string pam_lines(const PamFile& file, const PamLine& line, const PamSetup& setup);

// `text` with the blocks as they should be; those of an earlier time go. As it was when somebody
// put lines with pam_jitwg.so outside of a block: they are theirs. bad_config: no place is certain;
// the hint has the lines.
Result<std::string> edit_pam(const PamFile& file, std::string_view text, const PamSetup& setup);

// Does this file let a person's ~/.pam_environment say what the login's environment is, JITWG_SESSION_ID
// included? Debian's own does; edit_pam() takes that out of sshd's.
bool takes_environment_from_homes(std::string_view text);

// Do the lines stand where they work, by whomever they were put in? Any path of the module counts.
bool is_in_place(const PamFile& file, const PamLine& line, std::string_view text, const PamSetup& setup);

}  // namespace jitwg::hostd
