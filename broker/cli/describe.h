// Sessions in words, for terminals. Everything that came from outside is escaped.
#pragma once

#include <string>
#include <vector>

#include "broker/cli/session_files.h"
#include "broker/cli/session_object.h"

namespace jitwg::cli {

class Context;

std::string describe_session(const SessionObject& session, WallTime now);  // `show`
std::string describe_list(const std::vector<SessionObject>& sessions, WallTime now);

// After activation: what there is to use, and until when.
std::string describe_opened(const Grant& grant, WallTime now, bool detached);
std::string describe_files(const SessionFiles& files, const Grant& grant);

// " (carol may approve)", as far as policy can be read without a signature of its own; otherwise
// nothing.
std::string who_may_approve(const Context& context, const SessionObject& session);

// "db1.prod.example = 10.60.10.20; …"
std::string describe_names(const HostNames& names);

// "label: value" lines, values aligned and escaped; empty values are left out.
std::string render_fields(const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace jitwg::cli
