// Past a broker that swallows what people signed: the statement goes straight to the signer on its own host.
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "broker/base/limits.h"
#include "broker/os/file.h"
#include "broker/setup/input.h"
#include "policy/statement.h"
#include "ssh-ca/admin/commands.h"
#include "ssh-ca/format/document.h"
#include "ssh-ca/signer/frames.h"

namespace jitwg::signer {
namespace {

constexpr timeval kPatience{10, 0};

// {"body", "signature"} as JSON, or the bare bytes with their signature in FILE.sig, as ssh-keygen -Y sign leaves it.
Result<ssh::SignedDocument> read_document(const std::string& word) {
  JITWG_ASSIGN(std::string text, setup::read_input(word, limits::kHttpBodyBytes));
  if (word == "-" || !read_file(word + ".sig", limits::kStatementBytes)) {
    JITWG_ASSIGN(const json::value value, parse_json(text, limits::kHttpBodyBytes));
    return parse_document(value, word);
  }
  JITWG_ASSIGN(std::string signature, read_file(word + ".sig", limits::kStatementBytes));
  return ssh::SignedDocument{std::move(text), std::move(signature)};
}

tl::unexpected<Error> unreachable(const std::string& path) {
  return fail(Code::signer_unavailable, path + ": " + std::strerror(errno), "is jitwg-signer running? systemctl status jitwg-signer");
}

Result<json::value> ask(const std::string& path, const json::value& question) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail(Code::bad_config, path + " is too long for a socket's path");
  std::memcpy(address.sun_path, path.data(), path.size());
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail_errno("socket", errno);
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return unreachable(path);
  const std::string frame = render_frame(question);
  for (size_t sent = 0; sent < frame.size();) {
    const ssize_t n = ::send(fd.get(), frame.data() + sent, frame.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return unreachable(path);
    sent += static_cast<size_t>(n);
  }
  std::string buffer;
  char bytes[4096];
  for (;;) {
    JITWG_ASSIGN(auto answer, take_frame(buffer));
    if (answer) return std::move(*answer);
    const ssize_t n = ::recv(fd.get(), bytes, sizeof bytes, 0);
    if (n == 0) errno = ECONNRESET;
    if (n <= 0) return unreachable(path);
    buffer.append(bytes, static_cast<size_t>(n));
  }
}

}  // namespace

Result<void> apply(const Config& config) {
  JITWG_ASSIGN(const ssh::SignedDocument document, read_document(config.positional()[1]));
  JITWG_ASSIGN(const Statement statement, parse_statement(document.body));
  JITWG_ASSIGN(const json::value answer, ask(config.get("runtime-dir") + "/signer.sock",
                                             {{"op", "apply"}, {"statement", render_document(document)}}));
  if (const auto refusal = parse_error(answer)) return tl::unexpected<Error>(*refusal);
  const std::string text = "applied: the " + std::string(type_of(statement)) + " of " + head_of(statement).by +
                           ", kept in the ledger\n# The broker does not know of it: give it the same file when it can be trusted again.\n";
  std::fputs((config.has("json") ? render_json(answer) + "\n" : text).c_str(), stdout);
  return {};
}

}  // namespace jitwg::signer
