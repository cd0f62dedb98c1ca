// A daemon's dealings with what started it: handed-in sockets, readiness, one-line log.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <map>
#include <string>

#include "broker/base/error.h"
#include "broker/os/fd.h"

namespace jitwg {

// The listening sockets handed in, by name (LISTEN_FDS, LISTEN_FDNAMES;
// sd_listen_fds_with_names(3)); non-blocking. Once a process: they have one owner.
using HandedSockets = std::multimap<std::string, Fd>;
HandedSockets take_handed_sockets();

// The one that was handed in, whatever its name: what else the program knows by name it has taken
// out before. Without one, a new socket bound at `path` with `mode`, replacing a stale one. `type`
// is SOCK_STREAM or SOCK_SEQPACKET. Non-blocking.
Result<Fd> listen_unix(HandedSockets handed, const std::string& path, int type, mode_t mode);

// sd_notify(3); both do nothing when not started by a service manager.
void notify_ready(const std::string& status);
void notify(const char* state);  // "RELOADING=1" (until the next notify_ready), "STOPPING=1", "WATCHDOG=1"
// How often it wants WATCHDOG=1: a third of WatchdogSec=, sd_watchdog_enabled(3); otherwise a day.
std::chrono::milliseconds watchdog_interval();

// "<level>message" to stderr, where journald or the terminal takes it. Levels of sd-daemon(3).
enum class Level { error = 3, warning = 4, notice = 5, info = 6, debug = 7 };
void log(Level level, const std::string& message);

// Raises the soft limit on descriptors to the hard one, setrlimit(2); what is then allowed. For a
// daemon whose number of connections others choose: the usual 1024 is select(2)'s, not ours.
size_t raise_descriptor_limit();

struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
};
Result<Peer> peer_of(int socket);  // SO_PEERCRED: the kernel's word

}  // namespace jitwg
