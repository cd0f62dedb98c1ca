#include "broker/gateway/wireguard_uapi.h"

#include <sodium.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "broker/base/encoding.h"
#include "broker/base/number.h"
#include "broker/base/time.h"

namespace jitwg::wireguard {
namespace {

constexpr timeval kAnswerWithin{5, 0};
constexpr size_t kPeersAtOnce = 500;     // wireguard-go takes 0.3 ms for each: far below the answer's time
constexpr size_t kAnswerBytes = 64 << 20;  // 20,000 peers take about 8 MiB

tl::unexpected<Error> bad_line(std::string_view line) {
  return fail(Code::corrupt, "WireGuard's answer has a line that cannot be read: " +
                                 escape_for_terminal(line.substr(0, 80)));
}

template <typename Number>
bool read_number(std::string_view text, Number& out) {
  const auto number = parse_number<Number>(text);
  if (number) out = *number;
  return number.has_value();
}

// One line of the interface's or the last peer's; false when its value cannot be read.
bool read_interface_line(Interface& interface, std::string_view key, std::string_view value) {
  if (key == "listen_port") return read_number(value, interface.listen_port);
  if (key != "private_key") return true;
  auto bytes = hex_decode(value);
  if (!bytes || bytes->size() != PrivateKey::size()) return false;
  PrivateKey secret;
  std::memcpy(secret.data(), bytes->data(), secret.size());
  sodium_memzero(bytes->data(), bytes->size());
  if (!sodium_is_zero(secret.data(), secret.size())) interface.public_key = public_key_of(secret);
  return true;
}

bool read_peer_line(Peer& peer, std::string_view key, std::string_view value) {
  if (key == "rx_bytes") return read_number(value, peer.rx);
  if (key == "tx_bytes") return read_number(value, peer.tx);
  if (key == "endpoint") {
    if (const auto endpoint = Endpoint::parse(value)) peer.endpoint = *endpoint;
    return true;
  }
  if (key == "last_handshake_time_sec") {
    int64_t seconds = 0;
    if (!read_number(value, seconds)) return false;
    if (seconds > 0) peer.last_handshake = WallTime(Seconds(seconds));
    return true;
  }
  if (key != "allowed_ip") return true;
  const auto prefix = Prefix::parse(value);
  if (prefix) peer.allowed_ips.push_back(*prefix);
  return prefix.has_value();
}

Result<Interface> parse_get(std::string_view text) {
  Interface interface;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) break;
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) return bad_line(line);
    const std::string_view key = line.substr(0, equals), value = line.substr(equals + 1);
    if (key == "errno") {
      int64_t number = 0;
      if (!read_number(value, number) || text != "\n") return bad_line(line);
      if (number != 0) return fail_errno("WireGuard refuses", static_cast<int>(std::abs(number)));
      for (Peer& peer : interface.peers)
        std::sort(peer.allowed_ips.begin(), peer.allowed_ips.end());
      return interface;
    }
    bool good = true;
    if (key == "public_key") {
      const auto bytes = hex_decode(value);
      auto peer_key = bytes ? PublicKey::from_bytes(*bytes) : fail(Code::bad_key, "not hex");
      good = peer_key.has_value();
      if (good) interface.peers.push_back({std::move(*peer_key), {}, {}, {}});
    } else if (interface.peers.empty()) {
      good = read_interface_line(interface, key, value);
    } else {
      good = read_peer_line(interface.peers.back(), key, value);
    }
    if (!good) return bad_line(key);  // never the value: it may be a key
  }
  return fail(Code::corrupt, "WireGuard's answer ends too early");
}

}  // namespace

std::string uapi_socket_path(const std::string& interface) {
  return "/var/run/wireguard/" + interface + ".sock";
}

Result<Interface> parse_uapi_get(std::string& text) {
  auto interface = parse_get(text);
  sodium_memzero(text.data(), text.size());
  return interface;
}

Result<void> parse_uapi_set(std::string_view text) {
  constexpr std::string_view kPrefix = "errno=";
  if (!text.starts_with(kPrefix) || !text.ends_with("\n\n"))
    return fail(Code::corrupt, "WireGuard's answer cannot be read");
  int64_t number = 0;
  if (!read_number(text.substr(kPrefix.size(), text.size() - kPrefix.size() - 2), number))
    return fail(Code::corrupt, "WireGuard's answer cannot be read");
  if (number != 0)
    return fail_errno("WireGuard refuses the change", static_cast<int>(std::abs(number)));
  return {};
}

std::string render_uapi_change(std::span<const PublicKey> remove, std::span<const Peer> add) {
  std::string text = "set=1\n";
  for (const PublicKey& key : remove)
    text += "public_key=" + hex_encode(key.bytes()) + "\nremove=true\n";
  for (const Peer& peer : add) {
    text += "public_key=" + hex_encode(peer.key.bytes()) + "\nreplace_allowed_ips=true\n";
    for (const Prefix& prefix : peer.allowed_ips) text += "allowed_ip=" + prefix.str() + "\n";
  }
  return text + "\n";
}

Uapi Uapi::at(const std::string& interface) {
  return Uapi([path = uapi_socket_path(interface)] { return connect_uapi(path); });
}

Result<Interface> Uapi::get() {
  JITWG_ASSIGN(std::string text, ask("get=1\n\n"));
  return parse_uapi_get(text);
}

Result<void> Uapi::configure(const PrivateKey& key, uint16_t listen_port) {
  std::string secret(key.size() * 2 + 1, '\0');
  sodium_bin2hex(secret.data(), secret.size(), key.data(), key.size());
  secret.pop_back();
  std::string question =
      "set=1\nprivate_key=" + secret + "\nlisten_port=" + std::to_string(listen_port) + "\n\n";
  const auto answer = ask(question);
  sodium_memzero(secret.data(), secret.size());
  sodium_memzero(question.data(), question.size());
  if (!answer) return tl::unexpected(answer.error());
  return parse_uapi_set(*answer);
}

Result<void> Uapi::change(const std::vector<PublicKey>& remove, const std::vector<Peer>& add) {
  std::span<const PublicKey> gone(remove);
  std::span<const Peer> fresh(add);
  while (!gone.empty() || !fresh.empty()) {
    const size_t leave = std::min(gone.size(), kPeersAtOnce);
    const size_t come = std::min(fresh.size(), kPeersAtOnce - leave);
    JITWG_ASSIGN(const std::string text, ask(render_uapi_change(gone.first(leave), fresh.first(come))));
    JITWG_TRY(parse_uapi_set(text));
    gone = gone.subspan(leave);
    fresh = fresh.subspan(come);
  }
  return {};
}

Result<std::string> Uapi::ask(std::string_view question) {
  JITWG_ASSIGN(const Fd socket, connect_());
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerWithin, sizeof kAnswerWithin);
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kAnswerWithin, sizeof kAnswerWithin);
  while (!question.empty()) {
    const ssize_t sent = ::send(socket.get(), question.data(), question.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return fail_errno("question to WireGuard", errno);
    question.remove_prefix(static_cast<size_t>(sent));
  }
  std::string answer;
  std::vector<char> buffer(64 * 1024);
  // Every answer ends in "errno=N\n\n"; the other side may keep the connection open.
  while (!answer.ends_with("\n\n")) {
    const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("answer of WireGuard", errno);
    if (got == 0) break;
    answer.append(buffer.data(), static_cast<size_t>(got));
    if (answer.size() > kAnswerBytes) return fail(Code::too_large, "WireGuard's answer has no end");
  }
  sodium_memzero(buffer.data(), buffer.size());
  return answer;
}

Result<Fd> connect_uapi(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(Code::bad_config, path + " is too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail_errno("socket", errno);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(path, errno);
  return fd;
}

}  // namespace jitwg::wireguard
