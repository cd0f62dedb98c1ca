#include "pam_jitwg/hostd/hostd.h"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "broker/base/encoding.h"
#include "broker/os/clock.h"

namespace jitwg::hostd {

namespace asio = boost::asio;

namespace {

constexpr Seconds kRememberFor{
    600};  // sshd's LoginGraceTime (120 s by default) bounds what needs it
constexpr std::chrono::milliseconds kSoon{10};
constexpr size_t kMemories = 4096;  // logins on their way at once
constexpr Seconds kComplaintsPer{60};
constexpr size_t kComplaints = 20;  // enough to see who does it

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
              {[this](const Login& login) {
                 monitors_.erase({login.session, login.monitor.pid});
                 emit(EventName::login_closed, {login.session, login.person, login.target},
                      std::nullopt, login.login + " was logged out with the end of the session");
               },
               [this](const Login& login, const std::string& text) {
                 emit(EventName::login_left_behind, {login.session, login.person, login.target},
                      std::nullopt, text);
               }}),
      unsaid_timer_(io),
      ending_timer_(io),
      tick_timer_(io),
      last_tick_(clock.now()) {}

Result<std::unique_ptr<Hostd>> Hostd::make(asio::io_context& io, Settings settings,
                                           EventSink& events, const Clock& clock) {
  std::vector<std::string> damaged;
  JITWG_ASSIGN(Logins logins, Logins::load(settings.directory + "/logins", damaged));
  for (const std::string& name : damaged)
    log(Level::error, "the record of login " + name + " is damaged: what its leaf tells must do");
  std::unique_ptr<Hostd> hostd(
      new Hostd(io, std::move(settings), std::move(logins), events, clock));
  JITWG_TRY(hostd->cgroups_.prepare());
  hostd->resume();
  hostd->tick();
  return hostd;
}

void Hostd::connect(Link link) { link_ = std::move(link); }

void Hostd::emit(EventName event, const About& about, std::optional<Code> code,
                 const std::string& text) {
  emit_unsaid();
  events_.emit(
      {event, about.session, about.person, about.target, settings_.node, code, text, std::nullopt});
}

// An entry wakes journald up, for which sshd need not wait: a moment later, or before the next one.
void Hostd::emit_soon(EventName event, const About& about, const std::string& text) {
  unsaid_.push_back({event, about.session, about.person, about.target, settings_.node, std::nullopt,
                     text, std::nullopt});
  if (unsaid_.size() > 1) return;
  unsaid_timer_.expires_after(kSoon);
  unsaid_timer_.async_wait([this](boost::system::error_code stopped) {
    if (!stopped) emit_unsaid();
  });
}

void Hostd::emit_unsaid() {
  for (const Event& event : std::exchange(unsaid_, {})) events_.emit(event);
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
  const Replica replica{link_.silence(), settings_.fresh_within, settings_.lost_contact_after,
                        logins_.persons()};
  std::optional<Remembered> remembered;
  if (memory != memories_.end()) remembered = memory->second.remembered;
  // In account the module has just read them, and asks for nobody else; open reads them again.
  const pam::Accounts accounts =
      question.phase == Phase::account ? pam::Accounts() : pam::load_accounts(settings_.managed);
  const bool job = question.phase == Phase::job || question.phase == Phase::job_open;
  const auto logged_in = job ? logins_.sessions_of(question.user) : std::vector<SessionId>();
  const Judgement judged = judge(question, {grants_, accounts, settings_.ca, asking.asker,
                                            remembered, replica, clock_.now(), logged_in});
  if (judged.refusal)
    return refuse(question, asking, judged.answer, *judged.refusal, judged.session,
                  judged.answer.text);
  if (question.phase == Phase::principals && remember(asking.monitor, *judged.remember))
    move_early(judged.grant->session, asking.monitor);
  const About about{judged.grant->session, judged.grant->person, judged.grant->target};
  if (question.phase == Phase::account)
    emit_soon(EventName::login_allowed, about, question.user + " may log in");
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

bool Hostd::remember(const Process& monitor, const Remembered& remembered) {
  const WallTime now = clock_.now();
  std::erase_if(memories_,
                [now](const auto& entry) { return entry.second.at + kRememberFor < now; });
  if (memories_.size() >= kMemories) {
    log(Level::error, "too many logins on their way, forgetting one");
    memories_.erase(memories_.begin());
  }
  return memories_.insert_or_assign(monitor, Memory{remembered, now}).second;
}

// The kernel takes ten milliseconds to move a process (it waits for an RCU grace period), in which
// sshd goes on: from the first question that names a live session, so that open finds it done. Who
// does not come in ends there, and what failed is said when open tries again.
void Hostd::move_early(const SessionId& session, const Process& monitor) {
  asio::post(io_, [this, session, monitor] {
    if (const auto pidfd = open_pidfd(monitor)) (void)cgroups_.attach(session, monitor.pid);
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
  look_at_leaves();
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
  const auto processes = ending_.belongings().all_processes(session);
  if (!processes || !processes->empty() || !logins_.of(session).empty()) return nullptr;
  return {{"processes", 0}};
}

}  // namespace jitwg::hostd
