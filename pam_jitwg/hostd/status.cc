#include "pam_jitwg/hostd/status.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "broker/base/encoding.h"
#include "broker/base/table.h"
#include "broker/os/file.h"

namespace jitwg::hostd {
namespace {

constexpr size_t kStateBytes = 16 * 1024;
constexpr Seconds kHangsAfter{30};  // several times as long as it may take to write its state

std::string local_time(WallTime time) {
  const std::time_t seconds = time.time_since_epoch().count();
  std::tm parts{};
  char text[64];
  if (::localtime_r(&seconds, &parts) == nullptr ||
      std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %Z", &parts) == 0)
    return render_time(time);
  return text;
}

std::string ago(WallTime then, WallTime now) {
  return then < now ? render_duration(now - then) + " ago" : "just now";
}

std::string time_left(WallTime end, WallTime now) {
  return end > now ? render_duration(end - now) : "ended";
}

std::string_view replica_word(const std::optional<State>& state, WallTime now) {
  if (!state || !state->heard) return "lost";
  const Seconds age = now - *state->heard;
  return age <= state->fresh_within ? "fresh" : age <= state->lost_contact_after ? "stale" : "lost";
}

std::string leaf_of(const Login& l) {
  return "/jitwg/" + l.session.str() + "/" + std::to_string(l.monitor.pid);
}

std::string headline(const Status& status, WallTime now) {
  if (!status.state)
    return "jitwg-hostd does not run, and has not since boot: nobody new comes in\n";
  const State& s = *status.state;
  std::string text = s.node + ": ";
  if (!status.is_running)
    text += "jitwg-hostd does not run since about " + local_time(s.written) +
            ": nobody new comes in, and only logind ends logins\n";
  else if (now - s.written > kHangsAfter)
    text += "jitwg-hostd hangs: its last sign of life is from " + ago(s.written, now) + "\n";
  else
    text += "jitwg-hostd runs\n";
  text += s.heard ? "broker: last heard " + ago(*s.heard, now) : "broker: not heard since the start";
  text += ", replica at revision " + std::to_string(s.revision);
  const std::string_view word = replica_word(status.state, now);
  if (word == "stale") text += "; stale: nobody new comes in but who is logged in already";
  if (word == "lost") text += "; contact is lost: nobody new comes in";
  return text + "\n";
}

}  // namespace

std::string render_state(const State& s) {
  json::value heard = nullptr;
  if (s.heard) heard = render_time(*s.heard);
  return render_json(json::object{{"node", s.node},
                                  {"pid", s.daemon.pid},
                                  {"start", static_cast<int64_t>(s.daemon.start)},
                                  {"written", render_time(s.written)},
                                  {"heard", heard},
                                  {"revision", s.revision},
                                  {"fresh_within", s.fresh_within.count()},
                                  {"lost_contact_after", s.lost_contact_after.count()}});
}

Result<State> parse_state(std::string_view text) {
  JITWG_ASSIGN(const json::value value, parse_json(text, kStateBytes));
  JsonObject object(value, "state");
  State s;
  s.node = object.string("node");
  s.daemon = {static_cast<pid_t>(object.integer("pid")),
              static_cast<uint64_t>(object.integer("start"))};
  s.written = object.take(parse_time(object.string("written")), WallTime());
  if (const json::value* heard = object.value("heard"); heard != nullptr && heard->is_string())
    s.heard = object.take(parse_time(std::string(heard->get_string())), WallTime());
  s.revision = object.integer("revision");
  s.fresh_within = Seconds(object.integer("fresh_within"));
  s.lost_contact_after = Seconds(object.integer("lost_contact_after"));
  JITWG_TRY(object.finish());
  return s;
}

Result<Status> observe_status(const std::string& directory, const std::string& cgroup_root) {
  const std::string logins_directory = directory + "/logins";
  if (::access(logins_directory.c_str(), R_OK | X_OK) != 0)
    return fail(Code::hostd_unavailable, logins_directory + " cannot be read",
                "run as root, on a host where jitwg-hostd was started");
  Status status;
  JITWG_ASSIGN(const Logins logins, Logins::load(logins_directory, status.damaged));
  const Cgroups cgroups(cgroup_root);
  const Belongings belongings(cgroups, logins, [](const SessionId&) { return false; });
  for (auto [key, login] : logins.all()) {
    if (login.is_open && login.scope.empty()) login.scope = cgroups.scope_of(login.monitor);
    const auto pids = belongings.processes(login);
    status.logins.push_back({login, pids ? std::optional(pids->size()) : std::nullopt});
  }
  const auto text = read_trusted_file(directory + "/state", kStateBytes);
  if (auto state = text ? parse_state(*text) : tl::unexpected<Error>(text.error()))
    status.state = std::move(*state);
  status.is_running = status.state && open_pidfd(status.state->daemon).has_value();
  return status;
}

json::object render_status(const Status& status, WallTime now) {
  json::array logins, damaged;
  for (const auto& [l, processes] : status.logins) {
    json::object shown{{"session", l.session.str()},
                       {"person", l.person},
                       {"login", l.login},
                       {"target", l.target},
                       {"client", l.client},
                       {"since", render_time(l.since)},
                       {"not_after", render_time(l.not_after)},
                       {"time_left", std::max<int64_t>(0, (l.not_after - now).count())},
                       {"open", l.is_open},
                       {"pid", l.monitor.pid},
                       {"processes", nullptr},
                       {"audit_session", nullptr},
                       {"leaf", leaf_of(l)},
                       {"scope", nullptr}};
    if (processes) shown["processes"] = *processes;
    if (l.audit_session != kNoAuditSession) shown["audit_session"] = l.audit_session;
    if (!l.scope.empty()) shown["scope"] = l.scope;
    logins.push_back(std::move(shown));
  }
  for (const std::string& name : status.damaged) damaged.emplace_back(name);
  json::object object{{"node", nullptr},
                      {"running", status.is_running},
                      {"heard", nullptr},
                      {"revision", nullptr},
                      {"replica", replica_word(status.state, now)},
                      {"logins", std::move(logins)},
                      {"damaged", std::move(damaged)}};
  if (status.state) {
    object["node"] = status.state->node;
    if (status.state->heard) object["heard"] = render_time(*status.state->heard);
    object["revision"] = status.state->revision;
  }
  return object;
}

std::string render_status_table(const Status& status, WallTime now) {
  std::string text = headline(status, now);
  for (const std::string& name : status.damaged)
    text += "damaged record, made anew when jitwg-hostd starts: " + escape_for_terminal(name) + "\n";
  if (status.logins.empty()) return text + "nobody is logged in through jitwg\n";
  std::vector<std::vector<std::string>> cells = {{"SESSION", "STATE", "PERSON", "LOGIN", "TARGET",
                                                  "FROM", "TIME LEFT", "SINCE", "PROCESSES", "PID",
                                                  "AUDIT", "CGROUP"}};
  for (const auto& [l, processes] : status.logins)
    cells.push_back({l.session.str(), l.is_open ? "open" : "logged out, processes left", l.person,
                     l.login, l.target, l.client, time_left(l.not_after, now), local_time(l.since),
                     processes ? std::to_string(*processes) : "-", std::to_string(l.monitor.pid),
                     l.audit_session == kNoAuditSession ? "-" : std::to_string(l.audit_session),
                     l.scope.empty() ? leaf_of(l) : l.scope});
  return text + render_table(std::move(cells));
}

}  // namespace jitwg::hostd
