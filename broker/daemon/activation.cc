// The broker's part that opens a session: both or neither.
#include <boost/asio/co_spawn.hpp>

#include "broker/daemon/broker.h"
#include "broker/daemon/subject.h"
#include "broker/os/service.h"

namespace jitwg::broker {
namespace asio = boost::asio;
namespace {

std::function<Result<store::Session>(Change&)> reading(const SessionId& id) {
  return [id](Change& change) { return change.session(id); };
}

std::string joined(const std::set<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

Result<std::string> Broker::choose_gateway(const store::Session& session,
                                           const std::vector<store::Lock>& locks) const {
  const std::vector<std::string>& hosts = session.access.jump_hosts;
  const std::vector<std::string>& gateways = session.access.gateways;
  JITWG_TRY(check_session_not_locked(locks, session.person, session.target));
  const auto check_one_free = [&](const std::vector<std::string>& nodes) -> Result<void> {
    Result<void> locked;
    for (const std::string& node : nodes)
      if (locked = check_not_locked(locks, {Subject::Kind::node, node}); locked) break;
    return locked;
  };
  JITWG_TRY(check_one_free(gateways));
  JITWG_TRY(check_one_free(hosts));
  const auto is_connected = [&](const std::string& node) {
    return nodes_->is_connected(node) && check_not_locked(locks, {Subject::Kind::node, node});
  };
  const auto nobody = [&](Code code, std::string what, const std::vector<std::string>& nodes) {
    std::set<std::string> wrong_clocks;
    for (const std::string& node : nodes)
      if (nodes_->has_wrong_clock(node)) wrong_clocks.insert(node);
    if (!wrong_clocks.empty()) what += " with its clock set right: " + joined(wrong_clocks);
    return fail(code, what, "the session stays approved: try again in a moment");
  };
  const auto gateway = std::ranges::find_if(gateways, is_connected);
  if (gateway == gateways.end())
    return nobody(Code::no_gateway, "no gateway of " + session.target + " is connected", gateways);
  if (!hosts.empty() && std::ranges::none_of(hosts, is_connected))
    return nobody(Code::no_jump_host, "no jump host of " + session.target + " is connected", hosts);
  return *gateway;
}

asio::awaitable<Result<store::Session>> Broker::activate(SessionId id) {
  // The signer's time, twice if the policy changed, and the nodes'.
  const Deadline deadline =
      std::chrono::steady_clock::now() + 2 * kSignerDeadline + timing_.confirm_wait;
  for (;;) {
    Result<store::Session> session = co_await change(reading(id));
    if (!session || session->state == State::active) co_return session;
    if (session->state == State::opening) {
      if (std::chrono::steady_clock::now() >= deadline)
        co_return fail(Code::timeout, "the session is still opening", "ask again");
      co_await wait_for_change(id, deadline);
      continue;
    }
    if (auto may = check_may_open(*session, clock_.now()); !may)
      co_return tl::unexpected<Error>(may.error());
    const auto rules = this->rules();
    if (!rules) co_return tl::unexpected<Error>(rules.error());
    std::function<Result<std::vector<store::Lock>>(Change&)> read_locks = [](Change& one) {
      return one.tx.locks();
    };
    const auto locks = co_await change(std::move(read_locks));
    if (!locks) co_return tl::unexpected<Error>(locks.error());
    const auto gateway = choose_gateway(*session, *locks);
    if (!gateway) co_return tl::unexpected<Error>(gateway.error());
    opening_.insert(id);
    std::function<Result<store::Session>(Change&)> begin = [rules = *rules, id,
                                                            gateway = *gateway](Change& one) {
      return begin_opening(one, *rules, id, gateway);
    };
    const auto begun = co_await change(std::move(begin));
    if (begun) {
      asio::co_spawn(io_, open(id, true), fatal);
    } else if (begun.error().code !=
               Code::wrong_state) {  // that: somebody was faster, and we join them
      opening_.erase(id);
      co_return begun;
    }
  }
}

asio::awaitable<void> Broker::open(SessionId id, bool fresh) {
  opening_.insert(id);
  const Result<void> opened = co_await ask_and_confirm(id, fresh);
  if (!opened) {
    std::function<Result<void>(Change&)> give_up = [id, why = opened.error()](Change& one) {
      return fail_opening(one, id, why);
    };
    co_await run(std::move(give_up));
  }
  opening_.erase(id);
}

asio::awaitable<Result<void>> Broker::ask_and_confirm(SessionId id, bool fresh) {
  Result<store::Session> session = co_await change(reading(id));
  if (!session) co_return tl::unexpected<Error>(session.error());
  if (session->state != State::opening) co_return Result<void>();
  if (!session->grant) {
    // Nobody was told of a grant that the signer may have made, so it opens nothing.
    if (!fresh)
      co_return fail(Code::signer_unavailable,
                     "the broker was restarted before the signer had answered",
                     "make a new request");
    const Result<json::value> answer = co_await ask_to_issue(id);
    if (!answer && answer.error().code == Code::signer_unavailable)
      co_return tl::unexpected<Error>(answer.error());
    std::function<Result<void>(Change&)> next;
    if (!answer) {
      next = [id, refusal = answer.error()](Change& one) {
        return refuse_opening(one, id, refusal);
      };
      co_return co_await run(std::move(next));
    }
    const auto issued = check_issued(*rules_, *session, *answer);
    if (!issued) co_return tl::unexpected<Error>(issued.error());
    next = [id, issued = *issued](Change& one) { return keep_issued(one, id, issued); };
    if (auto kept = co_await run(std::move(next)); !kept) co_return kept;
  }
  const Deadline deadline = std::chrono::steady_clock::now() + timing_.confirm_wait;
  for (;;) {
    std::set<std::string> missing;
    std::function<Result<State>(Change&)> look = [&](Change& one) -> Result<State> {
      JITWG_ASSIGN(const store::Session now, one.session(id));
      JITWG_ASSIGN(const auto reports, one.tx.reports(id));
      missing = unconfirmed(now, reports);
      return now.state;
    };
    const Result<State> state = co_await change(std::move(look));
    if (!state) co_return tl::unexpected<Error>(state.error());
    if (*state != State::opening) co_return Result<void>();
    if (std::chrono::steady_clock::now() >= deadline)
      co_return fail(Code::not_confirmed, "not confirmed in time by " + joined(missing),
                     "make a new request once it is back");
    co_await wait_for_change(id, deadline);
  }
}

asio::awaitable<Result<json::value>> Broker::ask_to_issue(SessionId id) {
  // What was signed before comes first: an incident must be open there, a lock cleared or set.
  co_await tell_signer();
  for (bool again = false;; again = true) {
    Result<json::value> question = co_await issue_question(id);
    if (!question) co_return question;
    Result<json::value> answer = co_await signer_.ask(std::move(*question));
    if (answer || answer.error().code != Code::policy_changed || again) co_return answer;
    if (const Result<void> fetched = co_await refresh_rules(); !fetched) co_return answer;
  }
}

asio::awaitable<Result<json::value>> Broker::issue_question(SessionId id) {
  std::function<Result<json::value>(Change&)> read =
      [id, digest = rules_->policy.digest](Change& one) -> Result<json::value> {
    JITWG_ASSIGN(const store::Session session, one.session(id));
    // A revoke that is committed is on its way to the signer: it must not find there nothing issued
    // yet, be refused, and have the certificate made behind it.
    if (session.state != State::opening)
      return fail(Code::session_ended, "the session ended while it was opening");
    JITWG_ASSIGN(const auto request, one.tx.statement(session.request));
    if (!request) return fail(Code::corrupt, "the request of session " + id.str() + " is missing");
    JITWG_ASSIGN(const auto decisions, one.tx.decisions(id));
    json::array documents;
    for (const store::Decision& decision : decisions) {
      JITWG_ASSIGN(const auto statement, one.tx.statement(decision.statement));
      if (!statement)
        return fail(Code::corrupt, "a decision of session " + id.str() + " is missing");
      documents.push_back(render_document(statement->document));
    }
    return json::value{{"op", "issue"},
                       {"request", render_document(request->document)},
                       {"decisions", std::move(documents)},
                       {"gateway", *session.gateway},
                       {"policy_sha256", digest}};
  };
  co_return co_await change(std::move(read));
}

}  // namespace jitwg::broker
