// jitwg up: one command from asking to giving back (DESIGN §4, §12).
#include <unistd.h>

#include <iostream>

#include "broker/cli/access.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/describe.h"
#include "broker/cli/session_ref.h"
#include "broker/cli/text.h"
#include "broker/cli/tunnel.h"
#include "broker/cli/watch.h"
#include "broker/cli/wg_quick.h"

namespace jitwg::cli {
namespace {

using std::chrono::seconds;

// A line that a terminal rewrites in place; elsewhere each new sentence once.
class Progress {
 public:
  explicit Progress(const Context& context) : context_(context), live_(isatty(STDERR_FILENO)) {}
  ~Progress() { clear(); }
  void show(const std::string& sentence, const std::string& moving) {
    if (live_) {
      std::cerr << "\r\033[K" << sentence << moving << std::flush;
      shown_ = true;
    } else if (sentence != last_) {
      context_.note(sentence);
    }
    last_ = sentence;
  }
  void clear() {
    if (shown_) std::cerr << "\r\033[K" << std::flush;
    shown_ = false;
  }

 private:
  const Context& context_;
  bool live_, shown_ = false;
  std::string last_;
};

enum class Ended { no, by_signal };

// Until the session is no longer pending.
Result<Ended> wait_for_decision(const Context& context, SessionWatch& watch,
                                SessionObject& session) {
  std::optional<WallTime> give_up;
  if (context.has("timeout")) {
    JITWG_ASSIGN(const Seconds patience, parse_duration(context.option("timeout")));
    give_up = context.now() + patience;
  }
  const std::string sentence = "waiting for approval" + who_may_approve(context, session);
  Progress progress(context);
  const WallTime start = context.now();
  bool told = false;
  while (session.state == State::pending) {
    const WallTime now = context.now();
    if (give_up && now >= *give_up)
      return fail(Code::still_pending, "nobody approved it in time; the request stays",
                  "jitwg up " + session.session.str() + " goes on with it");
    std::string moving = ", " + render_duration(now - start);
    if (give_up) moving += ", " + time_left(*give_up, now);
    progress.show(sentence, moving);
    auto event = watch.wait(session.state, seconds(1));
    if (event.kind == SessionWatch::Kind::signal) return Ended::by_signal;
    if (event.kind == SessionWatch::Kind::session) session = std::move(*event.session);
    if (event.kind != SessionWatch::Kind::failure) continue;
    if (kind(event.error->code) != Kind::unavailable) return tl::unexpected<Error>(*event.error);
    progress.clear();
    if (!told) context.note(event.error->message + "; waiting for the broker to come back");
    told = true;
  }
  return Ended::no;
}

// Says what is due to be said of the remaining time, each thing once.
class Warnings {
 public:
  void tell(const Context& context, WallTime end) {
    const Seconds left = end - context.now();
    for (const seconds mark : {seconds(300), seconds(60)})
      if (left <= mark && mark < next_) {
        // A session shorter than the mark is not warned of what its owner has just asked for.
        if (!first_ && left > seconds(0))
          context.note("the session ends in " + render_duration(left));
        next_ = mark;
      }
    first_ = false;
  }

 private:
  bool first_ = true;
  Seconds next_ = Seconds::max();
};

// Until the session ends, one way or the other. The interface is down afterwards.
Result<int> stay_in_front(const Context& context, const Api& api, SessionWatch& watch,
                          const SessionFiles& files, WallTime end) {
  Warnings warnings;
  State known = State::active;
  bool told = false;
  while (context.now() < end) {
    warnings.tell(context, end);
    auto event = watch.wait(known, seconds(1));
    switch (event.kind) {
      case SessionWatch::Kind::moment:
        break;
      case SessionWatch::Kind::signal:
        context.note("giving the session back");
        JITWG_TRY(give_back(context, api, files));
        return 0;
      case SessionWatch::Kind::failure:
        // Nothing the broker says or does not say moves the end: that stands in the grant.
        if (!told)
          context.note(event.error->message + "; the session goes on until " + local_time(end));
        told = true;
        break;
      case SessionWatch::Kind::session: {
        known = event.session->state;
        if (!event.session->is_ending()) break;
        JITWG_TRY(files.note_state(*event.session));
        JITWG_TRY(clear_away(context, files));
        const auto reason = event.session->close_reason;
        if (reason == CloseReason::expired || reason == CloseReason::returned) {
          context.note("the session has ended: " + std::string(name(*reason)));
          return 0;
        }
        return tl::unexpected<Error>(*refusal_of(*event.session));
      }
    }
  }
  JITWG_TRY(clear_away(context, files));
  context.note("the session's time is over");
  return 0;
}

// A new request for a target, or the session that an ID names.
Result<Requested> start(const Context& context, const Api& api) {
  const std::string& word = context.arguments()[0];
  if (looks_like_id(word)) {
    auto files = resolve_local(context, word);
    // "facade" may well be a target: only a whole UUID, or an end that is known here, is taken for
    // an ID.
    if (files) {
      JITWG_ASSIGN(SessionObject session, read_own(context, api, *files));
      return Requested{std::move(*files), std::move(session)};
    }
    if (SessionId::parse(word) || files.error().code == Code::ambiguous_id)
      return tl::unexpected<Error>(files.error());
  }
  auto requested = make_request(context, api, word);
  if (requested) context.note("session " + requested->files.id().str());
  return requested;
}

}  // namespace

Result<int> run_up(Context& context) {
  const Api api(context.broker());
  JITWG_ASSIGN(Requested requested, start(context, api));
  const SessionFiles& files = requested.files;
  if (const auto refusal = refusal_of(requested.session)) return tl::unexpected<Error>(*refusal);

  JITWG_ASSIGN(const std::string token, files.token());
  SessionWatch watch(context.broker(), files.id(), token);
  const bool waited = requested.session.state == State::pending;
  JITWG_ASSIGN(const Ended ended, wait_for_decision(context, watch, requested.session));
  const auto give_up = [&](const char* words) -> Result<int> {
    context.note(words);
    JITWG_TRY(give_back(context, api, files));
    return 0;
  };
  if (ended == Ended::by_signal) return give_up("cancelling the request");
  if (const auto refusal = refusal_of(requested.session)) {
    JITWG_TRY(files.note_state(requested.session));
    JITWG_TRY(clear_away(context, files));
    return tl::unexpected<Error>(*refusal);
  }
  if (waited)
    for (const Approval& approval : requested.session.approvals)
      context.note(approval.person + " approved it" +
                   (approval.comment ? ": " + *approval.comment : ""));

  const auto opened = activate_session(context, api, files);
  // Who says stop while it opens means this session too, however far it got.
  if (watch.is_signalled()) return give_up("giving the session back");
  if (!opened) return tl::unexpected<Error>(opened.error());
  const Activated& activated = *opened;
  if (context.has("no-interface")) {
    context.print(activated.session.all, describe_files(files, activated.verified.grant));
    return 0;
  }
  auto up = bring_up(files);
  if (watch.is_signalled()) return give_up("giving the session back");
  if (!up) {
    const std::string end = files.id().short_form();
    up.error().hint +=
        "; the session is live: jitwg up " + end + " tries again, jitwg return " + end + " ends it";
    return tl::unexpected<Error>(std::move(up.error()));
  }
  const bool detach = context.has("detach");
  context.print(activated.session.all,
                describe_opened(activated.verified.grant, context.now(), detach));
  if (detach) return 0;
  return stay_in_front(context, api, watch, files, activated.verified.grant.not_after);
}

}  // namespace jitwg::cli
