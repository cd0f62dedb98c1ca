#include "broker/daemon/change.h"

#include "broker/base/json.h"

namespace jitwg::broker {

Result<void> Change::save(const store::Session& session) {
  JITWG_TRY(tx.save_session(session));
  effects_.sessions.insert_or_assign(session.id, session);
  return {};
}

Result<void> Change::record(EventName event_name, const store::Session& session, std::string text,
                            const std::string& person, const std::string& node,
                            std::optional<Code> code) {
  Event event{.name = event_name,
              .session = session.id,
              .person = person.empty() ? session.person : person,
              .target = session.target,
              .node = node,
              .code = code,
              .text = std::move(text)};
  json::object body{{"at", render_time(now)},      {"event", name(event.name)},
                    {"session", session.id.str()}, {"person", event.person},
                    {"target", event.target},      {"text", event.text}};
  if (!node.empty()) body["node"] = node;
  if (code) body["code"] = name(*code);
  JITWG_ASSIGN(event.seq, tx.add_event(session.id, render_json(body)));
  effects_.events.push_back(std::move(event));
  return {};
}

Result<void> Change::queue_for_signer(const std::string& digest) {
  effects_.for_signer = true;
  return tx.queue_for_signer(digest);
}

Result<store::Session> Change::session(const SessionId& id) {
  JITWG_ASSIGN(std::optional<store::Session> found, tx.session(id));
  if (!found) return fail(Code::unknown_session, "there is no session " + id.str());
  return std::move(*found);
}

Result<store::Incident> Change::incident(const SessionId& id) {
  JITWG_ASSIGN(std::optional<store::Incident> found, tx.incident(id));
  if (!found) return fail(Code::unknown_incident, "there is no incident " + id.str());
  return std::move(*found);
}

}  // namespace jitwg::broker
