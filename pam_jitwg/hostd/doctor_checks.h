// What the jump host's doctor makes of what it saw. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "broker/doctor/finding.h"
#include "pam_jitwg/hostd/pam_edit.h"

namespace jitwg::hostd {

// `sshd -T`: keyword, in lower case, to its value; those that come several times joined by blanks.
using SshdSettings = std::map<std::string, std::string>;
SshdSettings parse_sshd_settings(std::string_view text);

// Files of sshd_config in the order in which sshd reads them: the first line with a keyword counts.
struct ConfigFile {
  std::string path, text;
};

// What of a connection the files distinguish, as `sshd -T -C` takes it: the usual one, and one for
// each `Match` line that asks for an address, a host name or a port.
std::vector<std::string> connections(const std::vector<ConfigFile>& files);

// Every managed login must come in by a certificate that our principals command is asked about, and
// by nothing else; and a connection that is over must end. `settings` are those for `user`.
doctor::Findings check_sshd(const std::string& user, const SshdSettings& settings,
                            const std::string& ca_file, const std::vector<ConfigFile>& files);

// What the client or the administrator may put into a managed login: warnings, or nothing.
doctor::Findings check_sshd_login(const std::string& user, const SshdSettings& settings);

// A file of /etc/pam.d: does it ask pam_jitwg in time? One finding for each line of ours.
// That a rescue account does not jump over it is none of its problems.
doctor::Findings check_pam(const PamFile& file, std::string_view text, const PamSetup& setup);
// The module that file loads, "" if none.
std::string module_path(std::string_view text);

// journald.conf and its drop-ins, the last one first in effect: what `Audit=` says.
doctor::Finding check_journald(const std::vector<ConfigFile>& files);

}  // namespace jitwg::hostd
