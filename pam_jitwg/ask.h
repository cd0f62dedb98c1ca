// One bounded question to jitwg-hostd (PROTOCOL.md). Opens, asks, closes: no descriptor, thread or
// signal handler outlives the call. Everything together takes at most `deadline`, whatever hostd
// does.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>

#include "pam_jitwg/wire.h"

namespace jitwg::pam {

// sshd's LoginGraceTime does not bound open_session, so the module must.
inline constexpr std::chrono::milliseconds kDeadline{2000};

struct Server {
  std::string socket;
  uid_t owner = 0;  // of the path, and of the process that listens: anybody else is not hostd
};

// No value: not asked, not answered in time, or no answer by the rules; `why` says which, for the
// log.
std::optional<Answer> ask(const Server& server, const Question& question,
                          std::chrono::milliseconds deadline, std::string& why);

}  // namespace jitwg::pam
