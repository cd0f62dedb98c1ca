// jitwg-hostd's state and effects: answers sshd's questions, binds logins to sessions, ends them.
// Judgement is judge.h's, the end of a session is ending.h's; here they meet the kernel, the event
// record and the agent.
//
// One event-loop thread. Everything that a restart must not lose is on disk (logins.h) or in the
// kernel (cgroup.h).
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>

#include "broker/audit/event.h"
#include "broker/node/agent.h"
#include "broker/os/service.h"
#include "pam_jitwg/hostd/asking.h"
#include "pam_jitwg/hostd/ending.h"
#include "pam_jitwg/hostd/judge.h"
#include "pam_jitwg/managed.h"

namespace jitwg::hostd {

struct Settings {
  std::string node;
  ssh::CaKeys ca;
  std::string cgroup_root;
  std::string directory;      // <runtime-dir>/hostd: what a restart must know
  pam::ManagedFiles managed;  // as the module reads them
  Seconds grace{5};
  Seconds fresh_within{120};
  Seconds lost_contact_after{600};
};

class Hostd final : public node::Enforcer {
 public:
  // Reads back the logins that run. `events` and `clock` outlive it.
  static Result<std::unique_ptr<Hostd>> make(boost::asio::io_context& io, Settings settings,
                                             EventSink& events, const Clock& clock);
  ~Hostd() override { emit_unsaid(); }
  // How the agent is reached, which itself needs an Enforcer to be made: called once, before run.
  struct Link {
    std::function<std::optional<Seconds>()> silence = [] { return std::nullopt; };
    std::function<int64_t()> revision = [] { return 0; };
    std::function<void()> poke = [] {};
  };
  void connect(Link link);

  // A Server's Handler.
  Answer answer(const Question& question, const Peer& peer, int socket);

  Result<void> admit(const Grant& grant) override;
  std::vector<node::Outcome> converge(const std::vector<node::Wanted>& wanted,
                                      WallTime now) override;
  void cut(const std::vector<node::Wanted>& ending) override;
  std::optional<std::vector<node::Outcome>> add(const std::vector<node::Wanted>& fresh,
                                                WallTime now) override;
  boost::json::value evidence_of_absence(const SessionId& session) override;

 private:
  Hostd(boost::asio::io_context& io, Settings settings, Logins logins, EventSink& events,
        const Clock& clock);

  struct About {
    std::optional<SessionId> session;
    std::string person, target;
  };
  struct Memory {
    Remembered remembered;
    WallTime at;
  };
  Answer decide(const Question& question, const Asking& asking);
  void move_early(const SessionId& session, const Process& monitor);
  Result<void> bind(const Question& question, const Grant& grant, const Process& monitor);
  bool shares_audit_session(const Process& monitor) const;
  Answer refuse(const Question& question, const Asking& asking, Answer answer, Code code,
                const std::optional<SessionId>& session, const std::string& detail);
  Answer close(const Question& question, const Asking& asking);
  void complain(const std::string& what);
  bool remember(const Process& monitor, const Remembered& remembered);  // new to us?
  void end_soon(const Process& monitor);

  // running.cc
  void watch(const Login& login);
  void wait_for_exit(const LoginKey& key);
  void monitor_gone(const LoginKey& key);
  void closed(Login login);
  void forget_if_empty(const LoginKey& key);
  void update(const Login& login);
  void resume();
  void look_at_leaves();
  void schedule_endings();
  void leave_state(WallTime now);
  void tick();
  void emit(EventName event, const About& about, std::optional<Code> code, const std::string& text);
  void emit_soon(EventName event, const About& about, const std::string& text);
  void emit_unsaid();

  boost::asio::io_context& io_;
  const Settings settings_;
  EventSink& events_;
  const Clock& clock_;
  Cgroups cgroups_;
  Logins logins_;
  Ending ending_;
  Grants grants_;
  std::map<Process, Memory> memories_;
  std::map<LoginKey, std::unique_ptr<boost::asio::posix::stream_descriptor>> monitors_;  // pidfds
  std::vector<Event> unsaid_;
  boost::asio::steady_timer unsaid_timer_;
  Link link_;
  boost::asio::steady_timer ending_timer_;
  boost::asio::steady_timer tick_timer_;
  bool ending_scheduled_ = false;
  bool leaves_were_read_ = false;
  WallTime complaints_since_;
  size_t complaints_ = 0;
  WallTime last_tick_;
  WallTime state_written_;
  int64_t state_revision_ = 0;
  bool state_complained_ = false;
};

}  // namespace jitwg::hostd
