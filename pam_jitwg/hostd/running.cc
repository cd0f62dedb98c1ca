// Logins that run: bound, watched, warned, over; and the ends of sessions that are under way.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "broker/os/clock.h"
#include "broker/os/file.h"
#include "pam_jitwg/hostd/hostd.h"
#include "pam_jitwg/hostd/status.h"
#include "pam_jitwg/hostd/terminal.h"

namespace jitwg::hostd {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr Seconds kScopeMayCome{30};  // pam_systemd follows us in the same stack
constexpr Seconds kStateEvery{5};     // the broker's heartbeat
constexpr size_t kPasswdBytes = 4 << 20;
constexpr auto kLookAgain = std::chrono::milliseconds(20);

// The module's own files first: loginuid says the same only where pam_loginuid stands before us.
uid_t uid_of(const std::string& passwd_file, const std::string& user, pid_t monitor) {
  const auto passwd = read_file(passwd_file, kPasswdBytes);
  const auto uid = passwd ? pam::find_uid(*passwd, user) : std::nullopt;
  return uid ? *uid : login_uid_of(monitor);
}

std::string user_of(const std::string& passwd_file, uid_t uid) {
  const auto passwd = read_file(passwd_file, kPasswdBytes);
  return passwd ? pam::find_name(*passwd, uid) : "";
}

}  // namespace

Result<void> Hostd::bind(const Question& question, const Grant& grant, const Process& monitor) {
  // Taken first: from here on it is this process or nothing, whoever gets its pid later.
  JITWG_ASSIGN(const Fd pidfd, open_pidfd(monitor));
  const bool job = question.phase == Phase::job_open;
  Login login{.session = grant.session,
              .person = grant.person,
              .login = question.user,
              .target = grant.target,
              .client = job ? question.service : question.client,
              .monitor = monitor,
              .since = clock_.now(),
              .not_after = grant.not_after,
              .audit_session = audit_session_of(monitor.pid),
              .uid = uid_of(settings_.managed.passwd, question.user, monitor.pid)};
  if (shares_audit_session(monitor)) {
    login.audit_session = kNoAuditSession;
    log(Level::warning, "the audit session of login " + std::to_string(monitor.pid) +
                            " is others' too: neither sudo nor the end of the session can go by it"
                            " session=" + grant.session.str());
  }
  for (const Login& sibling : logins_.of(grant.session)) {
    if (sibling.uid != login.uid) continue;
    login.first_since = std::min(login.first_since, sibling.first_since);
    login.first_start = std::min(login.first_start, sibling.first_start);
  }
  JITWG_TRY(cgroups_.attach(grant.session, monitor.pid));
  if (has_exited(pidfd)) return fail(Code::not_live, "the login is gone already");
  JITWG_TRY(logins_.put(login));
  memories_.erase(monitor);
  watch(login);
  emit(EventName::login_opened, {grant.session, grant.person, grant.target}, std::nullopt,
       (job ? question.service + " runs a job of " + question.user
            : question.user + " logged in from " + question.client) +
           ", process " + std::to_string(monitor.pid));
  return {};
}

// The module could not make itself a new one: whoever else is in it is not this login's.
bool Hostd::shares_audit_session(const Process& monitor) const {
  const uint32_t audit = audit_session_of(monitor.pid);
  if (audit == kNoAuditSession) return false;
  const auto stat = observe_process(monitor.pid);
  if (stat && audit_session_of(stat->parent) == audit) return true;
  const auto& all = logins_.all();
  return std::any_of(all.begin(), all.end(), [&](const auto& entry) {
    return entry.second.audit_session == audit && entry.second.monitor != monitor;
  });
}

Answer Hostd::close(const Question& question, const Asking& asking) {
  const Login* login = asking.asker.is_root ? logins_.find(asking.monitor) : nullptr;
  if (login == nullptr || login->login != question.user)
    return {false, std::string(name(Code::not_live)), "", 0, "jitwg: no such login"};
  const Answer yes{true, "ok", login->session.str(), login->not_after.time_since_epoch().count(),
                   ""};
  if (login->is_open) closed(*login);
  return yes;
}

void Hostd::end_soon(const Process& monitor) {
  auto pidfd = open_pidfd(monitor);
  if (!pidfd) return;
  const auto timer = std::make_shared<asio::steady_timer>(io_, settings_.grace);
  const auto fd = std::make_shared<Fd>(std::move(*pidfd));
  timer->async_wait([timer, fd](error_code stopped) {
    if (!stopped) send_signal(*fd, SIGTERM);
  });
}

void Hostd::watch(const Login& login) {
  auto pidfd = open_pidfd(login.monitor);
  const LoginKey key{login.session, login.monitor.pid};
  if (!pidfd && pidfd.error().code == Code::not_live)
    return asio::post(io_, [this, key] { monitor_gone(key); });
  if (!pidfd) return log(Level::error, pidfd.error().render() + ", trying again");
  monitors_[key] = std::make_unique<asio::posix::stream_descriptor>(io_, pidfd->release());
  wait_for_exit(key);
}

// The reactor reuses its books of descriptors: with hundreds of logins at once it was seen to call a
// pidfd readable that was not. The kernel is asked again before anybody counts as gone.
void Hostd::wait_for_exit(const LoginKey& key) {
  auto& watched = *monitors_.at(key);
  watched.async_wait(asio::posix::stream_descriptor::wait_read, [this, key](error_code failed) {
    const auto it = monitors_.find(key);
    if (failed || it == monitors_.end()) return;
    if (has_exited(it->second->native_handle()))
      monitor_gone(key);
    else
      wait_for_exit(key);
  });
}

// close_session may never be called (SIGKILL): the kernel's word counts.
void Hostd::monitor_gone(const LoginKey& key) {
  monitors_.erase(key);
  const Login* login = logins_.find(key);
  if (login == nullptr) return;
  if (login->is_open) closed(*login);
  forget_if_empty(key);
  if (!ending_.under_way().empty()) schedule_endings();
}

void Hostd::update(const Login& login) {
  if (const auto stored = logins_.update(login); !stored)
    log(Level::error, stored.error().render() + " session=" + login.session.str());
}

void Hostd::closed(Login login) {
  if (login.scope.empty()) login.scope = cgroups_.scope_of(login.monitor);
  login.is_open = false;
  update(login);
  emit(EventName::login_closed, {login.session, login.person, login.target}, std::nullopt,
       login.login + " logged out");
}

void Hostd::forget_if_empty(const LoginKey& key) {
  if (const auto forgotten = ending_.forget(key); !forgotten)
    log(Level::error, forgotten.error().render() + " session=" + key.first.str());
}

void Hostd::resume() {
  const auto known = logins_.all();
  for (const auto& [key, login] : known)
    if (login.is_open) watch(login);
  if (!known.empty())
    log(Level::info, std::to_string(known.size()) + " logins were running when hostd started");
}

// A leaf whose record is lost names session and monitor still. Read once, when the grants that say
// whose session it is are there; those that no login came of, or is left in, go.
void Hostd::look_at_leaves() {
  const auto leaves = cgroups_.leaves();
  if (!leaves) return log(Level::error, leaves.error().render());
  for (const auto& [session, pid] : *leaves) {
    if (logins_.find({session, pid}) != nullptr) continue;
    const auto monitor = observe_process(pid);
    if (!monitor && monitor.error().code != Code::not_live)
      return log(Level::error, monitor.error().render());  // nothing is lost: read again
    const Grant* grant = grants_.by_session(session);
    const uid_t uid = login_uid_of(pid);
    const std::string user = user_of(settings_.managed.passwd, uid);
    // The pid may be another login's by now.
    const bool is_its_own = monitor && is_root_sshd(pid) && !logins_.find(monitor->process) &&
                            (grant == nullptr || grant->login == user);
    if (leaves_were_read_ || !is_its_own) {
      cgroups_.remove(session, pid);
      continue;
    }
    Login login{.session = session, .login = user, .monitor = monitor->process};
    login.since = login.first_since = clock_.now();
    login.not_after = grant == nullptr ? login.since : grant->not_after;
    login.uid = uid;
    login.audit_session = audit_session_of(pid);
    login.scope = cgroups_.scope_of(login.monitor);
    if (grant != nullptr) login.person = grant->person, login.target = grant->target;
    log(Level::warning, "the record of login " + std::to_string(pid) +
                            " was lost and is made anew session=" + session.str());
    if (const auto stored = logins_.put(login); !stored) update(login);
    watch(login);
  }
  leaves_were_read_ = true;
}

void Hostd::tick() {
  const WallTime now = clock_.now();
  const auto all = logins_.all();
  std::map<SessionId, WallTime> sessions;
  for (const auto& [key, login] : all) {
    sessions[key.first] = login.not_after;
    if (!login.is_open && !monitors_.contains(key)) forget_if_empty(key);
    if (login.is_open && !monitors_.contains(key)) watch(login);
    if (!login.is_open || !login.scope.empty() || now >= login.since + kScopeMayCome) continue;
    Login moved = login;
    moved.scope = cgroups_.scope_of(login.monitor);
    if (!moved.scope.empty()) update(moved);
  }
  for (const auto& [session, not_after] : sessions)
    if (const auto left = due_warning(not_after, last_tick_, now))
      write_to_terminals(
          terminals_of(ending_.belongings().processes(session).value_or(std::vector<pid_t>())),
          "jitwg: session " + session.str() + " ends in " + render_duration(*left));
  leave_state(now);
  last_tick_ = now;
  tick_timer_.expires_after(Seconds(1));
  tick_timer_.async_wait([this](error_code stopped) {
    if (!stopped) tick();
  });
}

// For `status`, which asks nobody.
void Hostd::leave_state(WallTime now) {
  const int64_t revision = link_.revision();
  if (now >= state_written_ && now < state_written_ + kStateEvery && revision == state_revision_)
    return;
  const auto self = observe_process(::getpid());
  if (!self) return log(Level::error, self.error().render());
  const auto silence = link_.silence();
  State state{.node = settings_.node, .daemon = self->process, .written = now};
  if (silence) state.heard = now - *silence;
  state.revision = state_revision_ = revision;
  state.fresh_within = settings_.fresh_within;
  state.lost_contact_after = settings_.lost_contact_after;
  const auto written = write_file(settings_.directory + "/state", render_state(state), 0600);
  if (!written && !state_complained_) log(Level::error, written.error().render());
  state_complained_ = !written;
  state_written_ = now;
}

void Hostd::schedule_endings() {
  if (ending_scheduled_) return;
  ending_scheduled_ = true;
  ending_timer_.expires_after(kLookAgain);
  ending_timer_.async_wait([this](error_code stopped) {
    ending_scheduled_ = false;
    if (stopped) return;
    bool finished = false;
    for (const SessionId& session : ending_.under_way()) {
      const auto gone = ending_.again(session, boot_now());
      if (!gone) log(Level::error, gone.error().render() + " session=" + session.str());
      finished |= gone && *gone;
    }
    if (finished) link_.poke();
    if (!ending_.under_way().empty()) schedule_endings();
  });
}

}  // namespace jitwg::hostd
