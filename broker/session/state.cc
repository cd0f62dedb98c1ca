#include "broker/session/state.h"

#include <algorithm>
#include <array>
#include <utility>

namespace jitwg {
namespace {

using enum State;

constexpr std::pair<State, State> kEdges[] = {
    {pending, approved}, {pending, denied},   {pending, cancelled}, {pending, lapsed},
    {approved, opening}, {approved, cancelled}, {approved, lapsed},
    {opening, active},   {opening, closing},
    {opening, closed},  // only when the signer refused: no node was ever told
    {active, closing},   {closing, closed},
};

constexpr std::pair<State, std::string_view> kStates[] = {
    {pending, "pending"}, {approved, "approved"}, {denied, "denied"},   {cancelled, "cancelled"}, {lapsed, "lapsed"},
    {opening, "opening"}, {active, "active"},     {closing, "closing"}, {closed, "closed"},
};

constexpr std::pair<CloseReason, std::string_view> kReasons[] = {
    {CloseReason::expired, "expired"},
    {CloseReason::returned, "returned"},
    {CloseReason::revoked, "revoked"},
    {CloseReason::locked, "locked"},
    {CloseReason::incident_closed, "incident_closed"},
    {CloseReason::lost_contact, "lost_contact"},
    {CloseReason::failed, "failed"},
};

template <typename Rows, typename Value>
std::string_view word_of(const Rows& rows, Value value) {
  for (const auto& [v, word] : rows)
    if (v == value) return word;
  JITWG_CHECK(!"a value outside its enum");
  return {};
}

}  // namespace

std::string_view name(State state) { return word_of(kStates, state); }
std::string_view name(CloseReason reason) { return word_of(kReasons, reason); }

Result<State> parse_state(std::string_view word) {
  for (const auto& [state, text] : kStates)
    if (text == word) return state;
  return fail(Code::bad_value, "unknown state");
}

Result<CloseReason> parse_close_reason(std::string_view word) {
  for (const auto& [reason, text] : kReasons)
    if (text == word) return reason;
  return fail(Code::bad_value, "unknown close reason");
}

bool may_become(State from, State to) {
  return std::find(std::begin(kEdges), std::end(kEdges), std::pair{from, to}) != std::end(kEdges);
}

bool is_final(State state) {
  return std::none_of(std::begin(kEdges), std::end(kEdges), [&](const auto& e) { return e.first == state; });
}

bool is_live(State state) { return state == opening || state == active || state == closing; }

}  // namespace jitwg
