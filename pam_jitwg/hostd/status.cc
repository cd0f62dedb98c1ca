#include "pam_jitwg/hostd/status.h"

#include <unistd.h>

#include "broker/base/encoding.h"
#include "broker/base/json.h"
#include "pam_jitwg/hostd/logins.h"

namespace jitwg::hostd {

Result<std::string> render_status(const std::string& logins_directory, bool as_json) {
  if (::access(logins_directory.c_str(), R_OK | X_OK) != 0)
    return fail(Code::hostd_unavailable, logins_directory + " cannot be read",
                "run as root, on a host where jitwg-hostd was started");
  std::vector<std::string> damaged;
  JITWG_ASSIGN(const Logins logins, Logins::load(logins_directory, damaged));
  json::array array;
  std::string text;
  for (const auto& [key, l] : logins.all()) {
    array.push_back(json::object{{"session", l.session.str()},
                                 {"person", l.person},
                                 {"login", l.login},
                                 {"target", l.target},
                                 {"client", l.client},
                                 {"pid", l.monitor.pid},
                                 {"since", render_time(l.since)},
                                 {"not_after", render_time(l.not_after)},
                                 {"open", l.is_open}});
    text += l.session.str() + "  " + escape_for_terminal(l.person) + " as " +
            escape_for_terminal(l.login) + " for " + escape_for_terminal(l.target) + " from " +
            escape_for_terminal(l.client) + ", pid " + std::to_string(l.monitor.pid) + ", since " +
            render_time(l.since) + ", until " + render_time(l.not_after) +
            (l.is_open ? "\n" : ", logged out, processes left\n");
  }
  for (const std::string& name : damaged)
    text += "damaged record: " + escape_for_terminal(name) + "\n";
  if (as_json) return render_json(array) + "\n";
  return text.empty() ? "nobody is logged in through jitwg\n" : text;
}

}  // namespace jitwg::hostd
