#include "broker/audit/event.h"

#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "broker/base/encoding.h"
#include "broker/os/service.h"

namespace jitwg {
namespace {

struct Row {
  EventName event;
  std::string_view name;
  std::string_view message_id;
  int priority;
};

// MESSAGE_IDs are part of the contract with message catalogs and readers: a row's ID is never
// changed or reused.
// clang-format off
constexpr std::array kRows = {
    Row{EventName::request_submitted, "request.submitted", "c700e1450ac3411b858d95aba0c327be", LOG_NOTICE},
    Row{EventName::request_decided, "request.decided", "e207cf40503c4b1d9c66e29afe96637d", LOG_NOTICE},
    Row{EventName::request_lapsed, "request.lapsed", "aed457bfc51a41a0876f2da731601587", LOG_NOTICE},
    Row{EventName::request_cancelled, "request.cancelled", "fb4451d797f74aa4ba17fdeb027b4d97", LOG_NOTICE},
    Row{EventName::session_opening, "session.opening", "30d16f0ca07c4f5f866d21c2b2f8c96b", LOG_NOTICE},
    Row{EventName::session_activated, "session.activated", "8a72fbaa1f3945559a225bac6d50f65f", LOG_NOTICE},
    Row{EventName::tunnel_opened, "tunnel.opened", "22afc5161567436bbc4605f7c370a533", LOG_NOTICE},
    Row{EventName::tunnel_first_packet, "tunnel.first_packet", "e246677a5964426899ad6f6dcfeff713", LOG_INFO},
    Row{EventName::tunnel_closed, "tunnel.closed", "74549d7b2326460ca2e5eaf40f8ab665", LOG_NOTICE},
    Row{EventName::login_allowed, "login.allowed", "d734cd607f6b4da8993c27aaac141f08", LOG_NOTICE},
    Row{EventName::login_denied, "login.denied", "c53bead205e64f7f8ca0aa71033389e2", LOG_WARNING},
    Row{EventName::login_opened, "login.opened", "8eeb8ad53f6149ec9ff5a80aa3559eee", LOG_NOTICE},
    Row{EventName::login_closed, "login.closed", "1358296c22b74b7ab9f43a48c190f4f6", LOG_NOTICE},
    Row{EventName::login_left_behind, "login.left_behind", "94da4a144f65439d90d9ff619795ad68", LOG_WARNING},
    Row{EventName::command_executed, "command.executed", "bffdacf0a2934af59a8a05398201ca6e", LOG_INFO},
    Row{EventName::sudo_checked, "sudo.checked", "2c5448a39fcd4bfe810ce67b5e1a4623", LOG_INFO},
    Row{EventName::session_closing, "session.closing", "ba9928a8487e436bbeb816eaca87b13c", LOG_NOTICE},
    Row{EventName::session_closed, "session.closed", "00054a093bc8465ab29be460fd3fd1c1", LOG_NOTICE},
    Row{EventName::session_sealed, "session.sealed", "928e30150d484f64b6cbbeda4251cea4", LOG_NOTICE},
    Row{EventName::revoke_submitted, "revoke.submitted", "3dd635d71bfb46d3889bed905bdb36c4", LOG_NOTICE},
    Row{EventName::lock_set, "lock.set", "84d0dca6508e42c999570c3f6ebe200a", LOG_WARNING},
    Row{EventName::lock_cleared, "lock.cleared", "f4af197b66674e1d9b9a9748e89113aa", LOG_NOTICE},
    Row{EventName::incident_opened, "incident.opened", "99b4f5c03436424aa616570ef0411a82", LOG_NOTICE},
    Row{EventName::incident_extended, "incident.extended", "700c5caf94ca4ae88958109d9d0061b6", LOG_NOTICE},
    Row{EventName::incident_closed, "incident.closed", "e1dec09e323f4f0287098172a64bd2a3", LOG_NOTICE},
    Row{EventName::incident_reviewed, "incident.reviewed", "703cf9e6fca34635bb23c367305bd9e3", LOG_NOTICE},
    Row{EventName::policy_loaded, "policy.loaded", "d4a10bfa2d33466ea0d17bc114f27260", LOG_NOTICE},
    Row{EventName::policy_refused, "policy.refused", "9f0befbbb59b431799acb17131e8132d", LOG_ERR},
    Row{EventName::statement_refused, "statement.refused", "478336c4582f481f8247b0d3fc1fc5f2", LOG_WARNING},
    Row{EventName::node_joined, "node.joined", "34ef7375bf4d4747b70578c94f52dd95", LOG_NOTICE},
    Row{EventName::node_lost, "node.lost", "475142f3af9243abbe88d19ce68c7d96", LOG_WARNING},
    Row{EventName::node_back, "node.back", "c2cb1da563dc4cd38f1169a17845c63e", LOG_NOTICE},
    Row{EventName::node_clock, "node.clock", "869bb98c65b74ee2961b608bc0caa34a", LOG_WARNING},
    Row{EventName::audit_read, "audit.read", "46cb271c2760474dae0e76ac46f7d16f", LOG_INFO},
    Row{EventName::audit_gap, "audit.gap", "0cb5190f295c4dba96cf6b37132ab2b3", LOG_WARNING},
    Row{EventName::clock_stepped, "clock.stepped", "8fc7fd91bcd64d3aa0d9c605c4cd4876", LOG_WARNING},
    Row{EventName::break_glass_used, "break_glass.used", "a03ecb58d03d4b65b45ff4b94f376233", LOG_WARNING},
    Row{EventName::session_written_off, "session.written_off", "57e0f7c64557497ca90ef5857d119a15", LOG_WARNING},
    Row{EventName::rescue_login, "rescue.login", "1b545a135136475db7e68aa518a384f4", LOG_ALERT},
};
// clang-format on

constexpr bool in_order() {
  for (size_t i = 0; i < kRows.size(); ++i)
    if (static_cast<size_t>(kRows[i].event) != i) return false;
  return kRows.size() == kEventNames;
}
static_assert(in_order());

const Row& row(EventName event) {
  JITWG_CHECK(static_cast<size_t>(event) < kRows.size());
  return kRows[static_cast<size_t>(event)];
}

// libsystemd reports success when journald's socket is missing, so that has to be looked at first.
constexpr const char* kJournalSocket = "/run/systemd/journal/socket";

int send_to_journal(const std::vector<std::string>& fields) {
  if (::access(kJournalSocket, F_OK) != 0) return errno;
  std::vector<iovec> parts;
  for (const std::string& field : fields)
    parts.push_back({const_cast<char*>(field.data()), field.size()});
  return -sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
}

}  // namespace

std::string_view name(EventName event) { return row(event).name; }
std::string_view message_id(EventName event) { return row(event).message_id; }
int priority(EventName event) { return row(event).priority; }

Result<EventName> parse_event_name(std::string_view word) {
  for (const Row& r : kRows)
    if (r.name == word) return r.event;
  return fail(Code::bad_value, "no event is called \"" + escape_for_terminal(word) + "\"");
}

std::vector<std::string> render_fields(const Event& event, uint64_t seq) {
  std::vector<std::string> fields;
  std::string line = std::string(name(event.name));
  if (!event.text.empty()) line += ": " + escape_for_terminal(event.text);
  const auto add = [&](const char* field, const char* word, std::string_view value) {
    if (value.empty()) return;
    const std::string shown = escape_for_terminal(value);
    fields.push_back(std::string(field) + "=" + shown);
    if (word) line += std::string(" ") + word + "=" + shown;
  };
  add("JITWG_EVENT", nullptr, name(event.name));
  add("JITWG_PERSON", "person", event.person);
  add("JITWG_TARGET", "target", event.target);
  add("JITWG_NODE", "node", event.node);
  if (event.code) add("JITWG_CODE", "code", jitwg::name(*event.code));
  add("JITWG_SEQ", nullptr, std::to_string(seq));
  add("MESSAGE_ID", nullptr, message_id(event.name));
  add("PRIORITY", nullptr, std::to_string(priority(event.name)));
  add("JITWG_SESSION_ID", nullptr, event.session ? event.session->str() : "");
  line += " session=" + (event.session ? event.session->str() : std::string("-"));
  fields.push_back("MESSAGE=" + line);
  return fields;
}

void JournalSink::emit(const Event& event) {
  const uint64_t seq = event.seq.value_or(++count_);
  const std::vector<std::string> fields = render_fields(event, seq);
  if (const int error = send_to_journal(fields); error != 0)
    log(static_cast<Level>(priority(event.name)), std::string("(journald: ") +
                                                      std::strerror(error) + ") " +
                                                      fields.back().substr(sizeof "MESSAGE=" - 1));
}

}  // namespace jitwg
