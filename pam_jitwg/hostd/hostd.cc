#include "pam_jitwg/hostd/hostd.h"

#include <signal.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "broker/base/encoding.h"
#include "broker/os/clock.h"
#include "pam_jitwg/hostd/terminal.h"

namespace jitwg::hostd {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr Seconds kRememberFor{
    600};                           // sshd's LoginGraceTime (120 s by default) bounds what needs it
constexpr size_t kMemories = 4096;  // logins on their way at once
constexpr Seconds kScopeMayCome{30};  // pam_systemd follows us in the same stack
constexpr Seconds kComplaintsPer{60};
constexpr size_t kComplaints = 20;  // enough to see who does it
constexpr auto kLookAgain = std::chrono::milliseconds(20);

}  // namespace

Hostd::Hostd(asio::io_context& io, Settings settings, Logins logins, EventSink& events,
             const Clock& clock)
    : io_(io),
      settings_(std::move(settings)),
      events_(events),
      clock_(clock),
      cgroups_(settings_.cgroup_root),
      logins_(std::move(logins)),
      ending_(cgroups_, logins_, settings_.grace,
              [this](const Login& login) {
                monitors_.erase({login.session, login.monitor.pid});
                emit(EventName::login_closed, {login.session, login.person, login.target},
                     std::nullopt, login.login + " was logged out with the end of the session");
              }),
      silence_([] { return std::nullopt; }),
      poke_([] {}),
      ending_timer_(io),
      tick_timer_(io),
      last_tick_(clock.now()) {}

Result<std::unique_ptr<Hostd>> Hostd::make(asio::io_context& io, Settings settings,
                                           EventSink& events, const Clock& clock) {
  std::vector<std::string> damaged;
  JITWG_ASSIGN(Logins logins, Logins::load(settings.logins_directory, damaged));
  // The leaf still holds its processes and names the session; what is lost is who came from where.
  for (const std::string& name : damaged)
    log(Level::error, "the record of login " + name + " is damaged, ignoring it");
  std::unique_ptr<Hostd> hostd(
      new Hostd(io, std::move(settings), std::move(logins), events, clock));
  JITWG_TRY(hostd->cgroups_.prepare());
  hostd->resume();
  hostd->tick();
  return hostd;
}

void Hostd::connect(std::function<std::optional<Seconds>()> silence, std::function<void()> poke) {
  silence_ = std::move(silence);
  poke_ = std::move(poke);
}

void Hostd::emit(EventName event, const About& about, std::optional<Code> code,
                 const std::string& text) {
  events_.emit(
      {event, about.session, about.person, about.target, settings_.node, code, text, std::nullopt});
}

// ---- questions ----

Answer Hostd::answer(const Question& question, const Peer& peer, int socket) {
  auto asking = observe_asking(question.phase, peer, socket);
  if (asking && question.phase == Phase::sudo)
    asking->asker.session = session_of(peer.pid, cgroups_, logins_);
  if (!asking)
    return {false, std::string(name(asking.error().code)), "", 0,
            "jitwg: " + asking.error().message};
  return question.phase == Phase::close ? close(question, *asking) : decide(question, *asking);
}

Answer Hostd::decide(const Question& question, const Asking& asking) {
  const auto memory = memories_.find(asking.monitor);
  const Replica replica{silence_(), settings_.fresh_within, settings_.lost_contact_after,
                        logins_.persons()};
  std::optional<Remembered> remembered;
  if (memory != memories_.end()) remembered = memory->second.remembered;
  const pam::Accounts accounts = pam::load_accounts(settings_.managed);
  const Judgement judged =
      judge(question, {grants_, accounts, settings_.ca, asking.asker, remembered, replica,
                       clock_.now(), logins_.sessions_of(question.user)});
  if (judged.refusal)
    return refuse(question, asking, judged.answer, *judged.refusal, judged.session,
                  judged.answer.text);
  if (question.phase == Phase::principals) remember(asking.monitor, *judged.remember);
  const About about{judged.grant->session, judged.grant->person, judged.grant->target};
  if (question.phase == Phase::account) {
    emit(EventName::login_allowed, about, std::nullopt, question.user + " may log in");
    move_early(*judged.session, asking.monitor);
  }
  if (question.phase == Phase::job)
    emit(EventName::login_allowed, about, std::nullopt,
         question.service + " may run a job of " + question.user);
  if (question.phase == Phase::sudo)
    emit(EventName::sudo_checked, about, std::nullopt,
         question.user + " may use " + question.service);
  if (question.phase == Phase::open || question.phase == Phase::job_open) {
    if (const auto bound = bind(question, *judged.grant, asking.monitor); !bound) {
      const Answer no{
          false, std::string(name(bound.error().code)), judged.session->str(), 0,
          "jitwg: session " + judged.session->str() + ": this host could not bind the login to it"};
      return refuse(question, asking, no, bound.error().code, judged.session,
                    bound.error().message);
    }
  }
  return judged.answer;
}

Answer Hostd::refuse(const Question& question, const Asking& asking, Answer answer, Code code,
                     const std::optional<SessionId>& session, const std::string& detail) {
  const std::string what =
      std::string(pam::name(question.phase)) + " of " + question.user + " refused: " + detail;
  if (code == Code::not_permitted) {
    // Not a login at all: any local user may connect and say anything, but not into the record.
    complain(escape_for_terminal(what));
    return answer;
  }
  // A certificate that was good before must not vouch for one that is refused now.
  memories_.erase(asking.monitor);
  About about{session, {}, {}};
  if (const Grant* grant = session ? grants_.by_session(*session) : nullptr) {
    about.person = grant->person;
    about.target = grant->target;
  }
  emit(question.phase == Phase::sudo ? EventName::sudo_checked : EventName::login_denied, about,
       code, what);
  // Refused in open_session, the person reads why, but the connection would stay.
  if (question.phase == Phase::open && asking.monitor_is_sshd) end_soon(asking.monitor);
  return answer;
}

// Anybody may ask as fast as they can; the journal is not theirs to fill.
void Hostd::complain(const std::string& what) {
  const WallTime now = clock_.now();
  if (now >= complaints_since_ + kComplaintsPer || now < complaints_since_) {
    if (complaints_ > kComplaints)
      log(Level::warning, std::to_string(complaints_ - kComplaints) +
                              " more questions were refused to local users since " +
                              render_time(complaints_since_));
    complaints_since_ = now;
    complaints_ = 0;
  }
  if (++complaints_ <= kComplaints) log(Level::notice, what);
}

void Hostd::remember(const Process& monitor, const Remembered& remembered) {
  const WallTime now = clock_.now();
  std::erase_if(memories_,
                [now](const auto& entry) { return entry.second.at + kRememberFor < now; });
  if (memories_.size() >= kMemories) {
    log(Level::error, "too many logins on their way, forgetting one");
    memories_.erase(memories_.begin());
  }
  memories_.insert_or_assign(monitor, Memory{remembered, now});
}

// The kernel takes ten milliseconds to move a process (it waits for an RCU grace period), which sshd
// has to do anyway between account and open. What failed is said when open tries again.
void Hostd::move_early(const SessionId& session, const Process& monitor) {
  asio::post(io_, [this, session, monitor] {
    if (const auto pidfd = open_pidfd(monitor)) (void)cgroups_.attach(session, monitor.pid);
  });
}

Result<void> Hostd::bind(const Question& question, const Grant& grant, const Process& monitor) {
  // Taken first: from here on it is this process or nothing, whoever gets its pid later.
  JITWG_ASSIGN(const Fd pidfd, open_pidfd(monitor));
  const bool job = question.phase == Phase::job_open;
  const Login login{grant.session,
                    grant.person,
                    question.user,
                    grant.target,
                    job ? question.service : question.client,
                    monitor,
                    clock_.now(),
                    grant.not_after,
                    {},
                    true,
                    audit_session_of(monitor.pid)};
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

// ---- logins that run ----

void Hostd::watch(const Login& login) {
  auto pidfd = open_pidfd(login.monitor);
  const LoginKey key{login.session, login.monitor.pid};
  if (!pidfd) {
    asio::post(io_, [this, key] { monitor_gone(key); });
    return;
  }
  auto& watched = monitors_[key];
  watched = std::make_unique<asio::posix::stream_descriptor>(io_, pidfd->release());
  watched->async_wait(asio::posix::stream_descriptor::wait_read, [this, key](error_code failed) {
    if (!failed) monitor_gone(key);
  });
}

// close_session may never be called (SIGKILL): the kernel's word counts.
void Hostd::monitor_gone(const LoginKey& key) {
  monitors_.erase(key);
  const Login* login = logins_.find(key);
  if (login == nullptr) return;
  if (login->is_open) closed(*login);
  if (const Login* left = logins_.find(key)) forget_if_empty(*left);
  if (!ending_.under_way().empty()) schedule_endings();
}

void Hostd::closed(Login login) {
  if (login.scope.empty()) login.scope = cgroups_.scope_of(login.monitor.pid);
  login.is_open = false;
  if (const auto stored = logins_.put(login); !stored)
    log(Level::error, stored.error().render() + " session=" + login.session.str());
  emit(EventName::login_closed, {login.session, login.person, login.target}, std::nullopt,
       login.login + " logged out");
}

// What is left of a login that was closed stays bound to its session: it is ended with it.
void Hostd::forget_if_empty(const Login& login) {
  const auto leaf = cgroups_.processes(login.session, login.monitor.pid);
  const auto scope = login.scope.empty() ? Result<std::vector<pid_t>>(std::vector<pid_t>())
                                         : cgroups_.processes_of_scope(login.scope);
  if (login.is_open || !leaf || !scope || !leaf->empty() || !scope->empty()) return;
  const LoginKey key{login.session, login.monitor.pid};
  cgroups_.remove(key.first, key.second);
  if (const auto dropped = logins_.drop(key); !dropped)
    log(Level::error, dropped.error().render() + " session=" + key.first.str());
}

void Hostd::resume() {
  const auto known = logins_.all();
  for (const auto& [key, login] : known)
    if (login.is_open) watch(login);
  if (!known.empty())
    log(Level::info, std::to_string(known.size()) + " logins were running when hostd started");
}

void Hostd::tick() {
  const WallTime now = clock_.now();
  const auto all = logins_.all();
  for (const auto& [key, login] : all) {
    if (!login.is_open) {
      if (!monitors_.contains(key)) forget_if_empty(login);
      continue;
    }
    if (login.scope.empty() && now < login.since + kScopeMayCome) {
      Login moved = login;
      moved.scope = cgroups_.scope_of(login.monitor.pid);
      if (!moved.scope.empty() && monitors_.contains(key)) (void)logins_.put(moved);
    }
    if (const auto left = due_warning(login.not_after, last_tick_, now)) {
      auto processes =
          cgroups_.processes(login.session, login.monitor.pid).value_or(std::vector<pid_t>());
      if (!login.scope.empty()) {
        const auto more = cgroups_.processes_of_scope(login.scope).value_or(std::vector<pid_t>());
        processes.insert(processes.end(), more.begin(), more.end());
      }
      write_to_terminals(terminals_of(processes), "jitwg: session " + login.session.str() +
                                                      " ends in " + render_duration(*left));
    }
  }
  last_tick_ = now;
  tick_timer_.expires_after(Seconds(1));
  tick_timer_.async_wait([this](error_code stopped) {
    if (!stopped) tick();
  });
}

// ---- the agent's wishes ----

Result<void> Hostd::admit(const Grant& grant) {
  if (!grant.login || !grant.certificate_sha256)
    return fail(Code::bad_value, "the grant names this jump host but no login");
  return {};
}

std::vector<node::Outcome> Hostd::converge(const std::vector<node::Wanted>& wanted, WallTime now) {
  grants_.set(wanted, now);  // from this line on nobody new comes in who should not
  std::vector<node::Outcome> outcomes;
  std::set<SessionId> seen;
  for (const node::Wanted& w : wanted) {
    node::Outcome outcome{w.grant.session, node::Outcome::State::open, Code::bug, nullptr};
    seen.insert(w.grant.session);
    if (!w.open) {
      const auto gone = ending_.step(w.grant.session, w.reason, w.grant.target, boot_now());
      outcome.state =
          gone && *gone ? node::Outcome::State::closed : node::Outcome::State::unfinished;
      if (outcome.state == node::Outcome::State::closed) outcome.evidence = {{"processes", 0}};
      if (!gone) log(Level::error, gone.error().render() + " session=" + w.grant.session.str());
    }
    outcomes.push_back(std::move(outcome));
  }
  // What the kernel holds, and what is written down, beyond the wish.
  std::set<SessionId> held;
  if (const auto sessions = cgroups_.sessions())
    held.insert(sessions->begin(), sessions->end());
  else
    log(Level::error, sessions.error().render());
  for (const auto& [key, login] : logins_.all()) held.insert(key.first);
  for (const SessionId& session : held) {
    if (seen.contains(session)) continue;
    const Closed* why = grants_.closed(session);
    const auto gone = ending_.step(session, why == nullptr ? CloseReason::failed : why->reason,
                                   why == nullptr ? "TARGET" : why->target, boot_now());
    if (!gone) log(Level::error, gone.error().render() + " session=" + session.str());
  }
  if (!ending_.under_way().empty()) schedule_endings();
  return outcomes;
}

// A look at ten thousand sessions takes a while, and a login of an ended one would use it.
void Hostd::cut(const std::vector<node::Wanted>& ending) {
  for (const node::Wanted& want : ending) {
    grants_.close(want);
    const auto gone = ending_.step(want.grant.session, want.reason, want.grant.target, boot_now());
    if (!gone) log(Level::error, gone.error().render() + " session=" + want.grant.session.str());
  }
  if (!ending_.under_way().empty()) schedule_endings();
}

std::optional<std::vector<node::Outcome>> Hostd::add(const std::vector<node::Wanted>& fresh,
                                                     WallTime) {
  std::vector<node::Outcome> outcomes;
  for (const node::Wanted& want : fresh) {
    grants_.open(want.grant);
    outcomes.push_back({want.grant.session, node::Outcome::State::open, Code::bug, nullptr});
  }
  return outcomes;
}

boost::json::value Hostd::evidence_of_absence(const SessionId& session) {
  const auto processes = cgroups_.processes(session);
  if (!processes || !processes->empty() || !logins_.of(session).empty()) return nullptr;
  return {{"processes", 0}};
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
    if (finished) poke_();
    if (!ending_.under_way().empty()) schedule_endings();
  });
}

}  // namespace jitwg::hostd
