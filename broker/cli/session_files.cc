#include "broker/cli/session_files.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/cli/ssh_config.h"
#include "broker/cli/wg_quick.h"
#include "broker/os/file.h"

namespace jitwg::cli {
namespace {

constexpr size_t kMaxFile = 128 * 1024;

std::string first_line(std::string text) { return text.substr(0, text.find('\n')); }

// Best effort: a copy may live on in a journal or on flash, which is why the keys are also
// worthless by then.
Result<void> overwrite_and_remove(const std::string& path) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  if (fd.valid() && fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode) &&
      info.st_size < off_t(kMaxFile)) {
    const std::string zeros(static_cast<size_t>(info.st_size), '\0');
    if (write(fd.get(), zeros.data(), zeros.size()) >= 0) fdatasync(fd.get());
  }
  return remove_file(path);
}

Result<ssh::SignedDocument> read_document(const std::string& path, std::string_view what) {
  JITWG_ASSIGN(const std::string text, read_secret_file(path, kMaxFile));
  JITWG_ASSIGN(const json::value value, parse_json(text, kMaxFile));
  return parse_document(value, what);
}

}  // namespace

Result<Fd> lock_directory(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return fail_errno(path, errno);
  while (flock(fd.get(), LOCK_EX) != 0)
    if (errno != EINTR) return fail_errno(path, errno);
  return fd;
}

WireguardKey WireguardKey::generate() {
  Secret<crypto_scalarmult_SCALARBYTES> secret;
  randombytes_buf(secret.data(), secret.size());
  secret.data()[0] &= 248;  // clamped as RFC 7748 §5 and wg(8) do
  secret.data()[31] = static_cast<unsigned char>((secret.data()[31] & 127) | 64);
  unsigned char point[crypto_scalarmult_BYTES];
  JITWG_CHECK(crypto_scalarmult_base(point, secret.data()) == 0);
  const auto text = [](const unsigned char* bytes) {
    return base64_encode(std::string_view(reinterpret_cast<const char*>(bytes), 32));
  };
  return {text(secret.data()), text(point)};
}

SessionFiles::SessionFiles(const std::string& state_directory, SessionId id)
    : id_(std::move(id)), directory_(state_directory + "/" + id_.str()) {}

std::string SessionFiles::wg_quick_path() const { return path(interface_name(id_) + ".conf"); }

Result<void> SessionFiles::create(const ssh::SignedDocument& request, const WireguardKey& wireguard,
                                  const ssh::PrivateKey& ssh_key, const std::string& token) const {
  JITWG_TRY(make_directory(directory_, 0700));
  JITWG_TRY(write_file(path("wg.key"), wireguard.private_key + "\n", 0600));
  JITWG_TRY(write_file(path("id"), ssh_key.render_openssh("jitwg:" + id_.str()), 0600));
  JITWG_TRY(write_file(path("token"), token + "\n", 0600));
  return write_file(path("request.json"), render_json(render_document(request)) + "\n", 0600);
}

Result<ssh::SignedDocument> SessionFiles::request_document() const {
  return read_document(path("request.json"), "request");
}

Result<RequestStatement> SessionFiles::request() const {
  JITWG_ASSIGN(const ssh::SignedDocument document, request_document());
  JITWG_ASSIGN(Statement statement, parse_statement(document.body));
  auto* request = std::get_if<RequestStatement>(&statement);
  if (request == nullptr || request->session != id_)
    return fail(Code::corrupt, path("request.json") + " is not this session's request");
  return std::move(*request);
}

Result<std::string> SessionFiles::token() const {
  auto text = read_secret_file(path("token"), 256);
  if (text) return first_line(*text);
  if (request_document()) {
    const Meta last = meta();
    const std::string over = "session " + id_.str() + " is over";
    if (last.state == State::denied)
      return fail(Code::decision_denied, over + ": it was denied",
                  "jitwg list says by whom; make a new request");
    return fail(Code::session_ended,
                over + (last.close_reason ? ": " + std::string(name(*last.close_reason)) : ""),
                "make a new request");
  }
  return tl::unexpected<Error>(text.error());
}

Result<void> SessionFiles::store_activation(const Verified& verified,
                                            const ssh::SignedDocument& grant) const {
  JITWG_ASSIGN(const Fd lock, lock_directory(directory_));
  JITWG_ASSIGN(std::string key, read_secret_file(path("wg.key"), 256));
  key = first_line(std::move(key));
  std::string tunnel = render_wg_quick(verified.grant, key);
  const auto written = write_file(wg_quick_path(), tunnel, 0600);
  sodium_memzero(key.data(), key.size());
  sodium_memzero(tunnel.data(), tunnel.size());
  JITWG_TRY(written);
  if (verified.certificate) {
    JITWG_TRY(write_file(path("id-cert.pub"), *verified.certificate + "\n", 0600));
    JITWG_TRY(write_file(path("known_hosts"), render_known_hosts(verified.grant), 0600));
  }
  return write_file(path("grant.json"), render_json(render_document(grant)) + "\n", 0600);
}

Result<Verified> SessionFiles::load_activation(const ssh::CaKeys& ca, std::string_view realm,
                                               WallTime now) const {
  const auto document = read_document(path("grant.json"), "grant");
  if (!document)
    return fail(Code::not_live, "session " + id_.str() + " is not active on this machine",
                "jitwg up " + id_.str().substr(id_.str().size() - 8));
  JITWG_ASSIGN(const RequestStatement own, request());
  std::optional<std::string> certificate;
  if (auto text = read_secret_file(path("id-cert.pub"), kMaxFile)) certificate = first_line(*text);
  return verify_activation(own, *document, certificate, ca, realm, now);
}

Result<void> SessionFiles::note_state(const SessionObject& session) const {
  const json::object meta{
      {"state", name(session.state)},
      {"close_reason",
       session.close_reason ? json::value(name(*session.close_reason)) : json::value(nullptr)}};
  JITWG_ASSIGN(const Fd lock, lock_directory(directory_));
  return write_file(path("meta"), render_json(meta) + "\n", 0600);
}

Meta SessionFiles::meta() const {
  Meta meta;
  const auto text = read_secret_file(path("meta"), 4096);
  if (!text) return meta;
  const auto value = parse_json(*text, 4096);
  if (!value) return meta;
  JsonObject object(*value, "meta");
  if (const auto state = parse_state(object.string("state"))) meta.state = *state;
  const json::value* reason = object.optional_value("close_reason");
  if (reason != nullptr && reason->is_string())
    if (const auto parsed = parse_close_reason(std::string(reason->get_string())))
      meta.close_reason = *parsed;
  return meta;
}

Result<void> SessionFiles::wipe() const {
  for (const std::string& file : {path("wg.key"), path("id"), path("token"), wg_quick_path(),
                                  path("id-cert.pub"), path("known_hosts")})
    JITWG_TRY(overwrite_and_remove(file));
  return {};
}

Result<void> SessionFiles::remove() const {
  JITWG_TRY(wipe());
  for (const char* file : {"request.json", "grant.json", "meta"})
    JITWG_TRY(remove_file(path(file)));
  if (rmdir(directory_.c_str()) != 0 && errno != ENOENT) return fail_errno(directory_, errno);
  return {};
}

std::vector<SessionFiles> local_sessions(const std::string& state_directory) {
  std::vector<SessionFiles> sessions;
  const auto names = list_directory(state_directory);
  if (!names) return sessions;  // nothing was ever requested here
  for (const std::string& name : *names)
    if (auto id = SessionId::parse(name)) sessions.emplace_back(state_directory, std::move(*id));
  return sessions;
}

}  // namespace jitwg::cli
