#include "broker/node/grant_store.h"

#include <functional>

#include "broker/base/limits.h"
#include "broker/os/file.h"
#include "broker/os/service.h"
#include "ssh-ca/format/document.h"

namespace jitwg::node {
namespace {

constexpr std::string_view kSuffix = ".json";
constexpr size_t kMaxFileBytes = limits::kHttpBodyBytes;
constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;

std::string path_of(const std::string& directory, const SessionId& session) {
  return directory + "/" + session.str() + std::string(kSuffix);
}

Result<json::value> read_json(const std::string& path) {
  JITWG_ASSIGN(const std::string text, read_trusted_file(path, kMaxFileBytes));
  return parse_json(text, kMaxFileBytes);
}

json::object render_mark(const ClockMark& mark) {
  return {{"boot_id", mark.boot_id},
          {"boot_ms", mark.at.boot.time_since_epoch().count()},
          {"wall_ms", mark.at.wall.time_since_epoch().count()}};
}

Result<ClockMark> parse_mark(const json::value& value) {
  JsonObject reader(value, "clocks");
  const std::string boot_id = reader.string("boot_id");
  const int64_t boot = reader.integer("boot_ms"), wall = reader.integer("wall_ms");
  JITWG_TRY(reader.finish());
  constexpr int64_t kMost = int64_t{1} << 53;  // no arithmetic with them overflows
  if (boot < 0 || boot > kMost || wall < 0 || wall > kMost) return fail(Code::bad_value, "clocks: no such time");
  using std::chrono::milliseconds;
  return ClockMark{boot_id, {std::chrono::sys_time<milliseconds>(milliseconds(wall)), BootTime(milliseconds(boot))}};
}

Result<ClockMark> read_mark(const std::string& path) {
  JITWG_ASSIGN(const json::value value, read_json(path));
  return parse_mark(value);
}

Result<Tombstone> read_tombstone(const std::string& path, const SessionId& session) {
  JITWG_ASSIGN(const std::string text, read_trusted_file(path, kMaxFileBytes));
  JITWG_ASSIGN(Tombstone tombstone, parse_tombstone(text));
  if (tombstone.session != session)
    return fail(Code::corrupt, "it speaks of session " + tombstone.session.str());
  return tombstone;
}

// Calls `take` for each ID.json of the directory; other names are said aloud and left alone.
Result<void> each_file(const std::string& directory,
                       const std::function<void(const SessionId&, const std::string&)>& take) {
  JITWG_ASSIGN(const std::vector<std::string> names, list_directory(directory));
  for (const std::string& name : names) {
    const std::string path = directory + "/" + name;
    const bool named_so = name.ends_with(kSuffix);
    const auto session = SessionId::parse(
        std::string_view(name).substr(0, name.size() - (named_so ? kSuffix.size() : 0)));
    if (named_so && session)
      take(*session, path);
    else if (!name.ends_with(std::string(kSuffix) + ".new") || !remove_file(path))
      log(Level::warning, path + " is no file of ours, ignoring");  // .new: we were stopped at it
  }
  return {};
}

}  // namespace

Result<StoredGrant> read_grant(const std::string& path) {
  JITWG_ASSIGN(json::value value, read_json(path));
  StoredGrant grant;
  if (json::object* object = value.if_object()) {
    if (const json::value* taken = object->if_contains("taken")) {
      JITWG_ASSIGN(grant.taken, parse_mark(*taken));
      object->erase("taken");
    }
  }
  JITWG_ASSIGN(grant.document, parse_document(value, "grant"));
  return grant;
}

std::string render_tombstone(const Tombstone& tombstone) {
  return render_json(json::object{{"session", tombstone.session.str()},
                                  {"not_after", render_time(tombstone.not_after)},
                                  {"reason", name(tombstone.reason)},
                                  {"evidence", tombstone.evidence},
                                  {"reported", tombstone.reported}});
}

Result<Tombstone> parse_tombstone(std::string_view text) {
  JITWG_ASSIGN(const json::value value, parse_json(text, kMaxFileBytes));
  JsonObject reader(value, "tombstone");
  const std::string id = reader.string("session"), end = reader.string("not_after");
  const std::string reason = reader.string("reason");
  const json::value* evidence = reader.value("evidence");
  const bool reported = reader.boolean("reported");
  JITWG_TRY(reader.finish());
  if (!evidence->is_null() && !evidence->is_object())
    return fail(Code::bad_value, "tombstone: evidence is no object");
  JITWG_ASSIGN(const SessionId session, SessionId::parse(id));
  Tombstone tombstone{.session = session, .evidence = *evidence, .reported = reported};
  JITWG_ASSIGN(tombstone.not_after, parse_time(end));
  JITWG_ASSIGN(tombstone.reason, parse_close_reason(reason));
  return tombstone;
}

GrantStore::GrantStore(const std::string& state_dir)
    : grants_(state_dir + "/grants"), tombstones_(state_dir + "/tombstones"), boot_(state_dir + "/boot.json") {}

Result<GrantStore> GrantStore::open(const std::string& state_dir) {
  GrantStore store(state_dir);
  JITWG_TRY(make_directory(store.grants_, kDirectoryMode));
  JITWG_TRY(make_directory(store.tombstones_, kDirectoryMode));
  return store;
}

Result<GrantStore::Contents> GrantStore::load() const {
  Contents contents;
  JITWG_TRY(each_file(grants_, [&](const SessionId& session, const std::string& path) {
    if (auto grant = read_grant(path))
      contents.grants.emplace(session, std::move(*grant));
    else
      log(Level::error, "stored grant " + path + " is damaged, ignoring: " +
                            grant.error().render() + " session=" + session.str());
  }));
  JITWG_TRY(each_file(tombstones_, [&](const SessionId& session, const std::string& path) {
    if (auto tombstone = read_tombstone(path, session)) {
      contents.tombstones.push_back(std::move(*tombstone));
    } else {
      contents.damaged_tombstones.push_back(session);
      log(Level::error, "tombstone " + path + " is damaged, the session stays closed: " +
                            tombstone.error().render() + " session=" + session.str());
    }
  }));
  return contents;
}

Result<ClockMark> GrantStore::first_mark(const ClockMark& now) const {
  const auto known = read_mark(boot_);
  const bool holds = known && known->boot_id == now.boot_id && known->at.boot <= now.at.boot;
  const ClockMark first = holds ? *known : now;
  JITWG_TRY(write_file(boot_, render_json(render_mark(first)), kFileMode));
  return first;
}

Result<void> GrantStore::store_grant(const SessionId& session, const StoredGrant& grant) const {
  json::value value = render_document(grant.document);
  if (grant.taken) value.as_object()["taken"] = render_mark(*grant.taken);
  return write_file(path_of(grants_, session), render_json(value), kFileMode);
}

Result<void> GrantStore::remove_grant(const SessionId& session) const {
  return remove_file(path_of(grants_, session));
}

Result<void> GrantStore::store_tombstone(const Tombstone& tombstone) const {
  return write_file(path_of(tombstones_, tombstone.session), render_tombstone(tombstone),
                    kFileMode);
}

Result<void> GrantStore::remove_tombstone(const SessionId& session) const {
  return remove_file(path_of(tombstones_, session));
}

}  // namespace jitwg::node
