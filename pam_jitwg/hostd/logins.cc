#include "pam_jitwg/hostd/logins.h"

#include "broker/base/json.h"
#include "broker/os/file.h"

namespace jitwg::hostd {
namespace {
constexpr size_t kLoginBytes = 16 * 1024;
}

std::string render_login(const Login& l) {
  return render_json(json::object{{"session", l.session.str()},
                                  {"person", l.person},
                                  {"login", l.login},
                                  {"target", l.target},
                                  {"client", l.client},
                                  {"pid", l.monitor.pid},
                                  {"start", static_cast<int64_t>(l.monitor.start)},
                                  {"since", render_time(l.since)},
                                  {"not_after", render_time(l.not_after)},
                                  {"scope", l.scope},
                                  {"open", l.is_open},
                                  {"audit_session", l.audit_session},
                                  {"uid", l.uid},
                                  {"first_since", render_time(l.first_since)},
                                  {"first_start", static_cast<int64_t>(l.first_start)}});
}

Result<Login> parse_login(std::string_view text) {
  JITWG_ASSIGN(const json::value value, parse_json(text, kLoginBytes));
  JsonObject object(value, "login");
  const auto session = SessionId::parse(object.string("session"));
  if (!session) object.problem(session.error());
  const auto since = parse_time(object.string("since"));
  if (!since) object.problem(since.error());
  const auto not_after = parse_time(object.string("not_after"));
  if (!not_after) object.problem(not_after.error());
  const int64_t pid = object.integer("pid"), start = object.integer("start");
  if (pid <= 0 || pid > INT32_MAX || start < 0)
    object.problem({Code::bad_value, "login: not a process", ""});
  const std::string person = object.string("person"), login = object.string("login"),
                    target = object.string("target"), client = object.string("client"),
                    scope = object.string("scope");
  const bool is_open = object.boolean("open");
  const int64_t audit = object.optional_integer("audit_session").value_or(kNoAuditSession);
  const int64_t uid = object.optional_integer("uid").value_or(kNoUid);
  if (audit <= 0 || audit > kNoAuditSession || uid < 0 || uid > kNoUid)
    object.problem({Code::bad_value, "login: not an audit session or uid", ""});
  const auto first_since = parse_time(
      object.optional_string("first_since").value_or(since ? render_time(*since) : ""));
  if (!first_since) object.problem(first_since.error());
  const int64_t first_start = object.optional_integer("first_start").value_or(start);
  if (first_start < 0) object.problem({Code::bad_value, "login: not a start", ""});
  JITWG_TRY(object.finish());
  return Login{.session = *session,
               .person = person,
               .login = login,
               .target = target,
               .client = client,
               .monitor = {static_cast<pid_t>(pid), static_cast<uint64_t>(start)},
               .since = *since,
               .not_after = *not_after,
               .scope = scope,
               .is_open = is_open,
               .audit_session = static_cast<uint32_t>(audit),
               .uid = static_cast<uid_t>(uid),
               .first_since = *first_since,
               .first_start = static_cast<uint64_t>(first_start)};
}

Result<Logins> Logins::load(const std::string& directory, std::vector<std::string>& damaged) {
  JITWG_TRY(make_directory(directory, 0755));
  Logins logins(directory);
  JITWG_ASSIGN(const std::vector<std::string> names, list_directory(directory));
  for (const std::string& name : names) {
    if (name.ends_with(".new")) continue;  // a write that a crash cut off
    const auto text = read_trusted_file(directory + "/" + name, kLoginBytes);
    auto login = text ? parse_login(*text) : tl::unexpected<Error>(text.error());
    if (!login) {
      damaged.push_back(name);
      continue;
    }
    const LoginKey key{login->session, login->monitor.pid};
    logins.logins_.insert_or_assign(key, std::move(*login));
  }
  return logins;
}

std::string Logins::path(const LoginKey& key) const {
  return directory_ + "/" + key.first.str() + "." + std::to_string(key.second);
}

Result<void> Logins::put(const Login& login) {
  const LoginKey key{login.session, login.monitor.pid};
  JITWG_TRY(write_file(path(key), render_login(login), 0644));
  logins_.insert_or_assign(key, login);
  return {};
}

Result<void> Logins::update(const Login& login) {
  logins_.insert_or_assign({login.session, login.monitor.pid}, login);
  return put(login);
}

Result<void> Logins::drop(const LoginKey& key) {
  logins_.erase(key);
  return remove_file(path(key));
}

const Login* Logins::find(const LoginKey& key) const {
  const auto it = logins_.find(key);
  return it == logins_.end() ? nullptr : &it->second;
}

const Login* Logins::find(const Process& monitor) const {
  for (const auto& [key, login] : logins_)
    if (login.monitor == monitor) return &login;
  return nullptr;
}

const Login* Logins::find_by_audit_session(uint32_t audit_session) const {
  if (audit_session == kNoAuditSession) return nullptr;
  for (const auto& [key, login] : logins_)
    if (login.audit_session == audit_session) return &login;
  return nullptr;
}

std::vector<Login> Logins::of(const SessionId& session) const {
  std::vector<Login> found;
  for (auto it = logins_.lower_bound({session, 0});
       it != logins_.end() && it->first.first == session; ++it)
    found.push_back(it->second);
  return found;
}

std::vector<SessionId> Logins::sessions_of(const std::string& user) const {
  std::set<SessionId> open, left;
  for (const auto& [key, login] : logins_)
    if (login.login == user) (login.is_open ? open : left).insert(key.first);
  const std::set<SessionId>& found = open.empty() ? left : open;
  return {found.begin(), found.end()};
}

std::set<std::string> Logins::persons() const {
  std::set<std::string> found;
  for (const auto& [key, login] : logins_)
    if (login.is_open) found.insert(login.person);
  return found;
}

}  // namespace jitwg::hostd
