#include "broker/node/watch_stream.h"

#include "broker/base/limits.h"
#include "ssh-ca/format/document.h"

namespace jitwg::node {
namespace {

json::value render_entry(const Entry& entry) {
  json::object object{{"session", entry.session.str()}, {"want", entry.grant ? "open" : "closed"}};
  if (entry.grant)
    object["grant"] = render_document(*entry.grant);
  else
    object["reason"] = name(entry.reason);
  return object;
}

Result<Entry> parse_entry(const json::value& value) {
  JsonObject reader(value, "entry");
  const std::string id = reader.string("session"), want = reader.string("want");
  const bool open = want == "open";
  if (!open && want != "closed")
    reader.problem({Code::bad_value, "an entry that wants neither open nor closed", {}});
  const json::value* document = open ? reader.value("grant") : nullptr;
  const std::string reason = open ? "" : reader.string("reason");
  JITWG_TRY(reader.finish());
  JITWG_ASSIGN(const SessionId session, SessionId::parse(id));
  Entry entry{.session = session};
  if (open) {
    JITWG_ASSIGN(entry.grant, parse_document(*document, "grant"));
  } else {
    JITWG_ASSIGN(entry.reason, parse_close_reason(reason));
  }
  return entry;
}

}  // namespace

std::string render_update(const Update& update) {
  json::object object{{"revision", update.revision}, {"now", render_time(update.now)}};
  if (update.kind != Update::Kind::heartbeat) {
    json::array entries;
    for (const Entry& entry : update.entries) entries.push_back(render_entry(entry));
    object[update.kind == Update::Kind::snapshot ? "snapshot" : "set"] = std::move(entries);
  }
  return render_json(object);
}

Result<Update> parse_update(std::string_view line) {
  JITWG_ASSIGN(const json::value value, parse_json(line, limits::kStreamLineBytes));
  JsonObject reader(value, "update");
  Update update{.revision = reader.integer("revision")};
  const std::string now = reader.string("now");
  const json::value* snapshot = reader.optional_value("snapshot");
  const json::value* set = reader.optional_value("set");
  JITWG_TRY(reader.finish());
  JITWG_ASSIGN(update.now, parse_time(now));
  if (!snapshot && !set) return update;
  if (snapshot && set) return fail(Code::bad_value, "an update that is both snapshot and set");
  update.kind = snapshot ? Update::Kind::snapshot : Update::Kind::set;
  const json::array* entries = (snapshot ? snapshot : set)->if_array();
  if (!entries) return fail(Code::bad_value, "an update whose entries are no list");
  for (const json::value& entry : *entries) {
    JITWG_ASSIGN(Entry parsed, parse_entry(entry));
    update.entries.push_back(std::move(parsed));
  }
  return update;
}

}  // namespace jitwg::node
