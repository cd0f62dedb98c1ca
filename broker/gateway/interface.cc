#include "broker/gateway/interface.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "broker/gateway/link.h"
#include "broker/gateway/plan.h"
#include "broker/gateway/wireguard_netlink.h"
#include "broker/gateway/wireguard_uapi.h"
#include "broker/os/fd.h"
#include "broker/os/file.h"

namespace jitwg::gateway {
namespace {

constexpr auto kStartWithin = std::chrono::seconds(10);
constexpr int kPollMillis = 20;

// wireguard-go makes the interface and its socket, and goes to the background.
Result<void> start_wireguard_go(const std::string& program, const std::string& interface) {
  struct Actions : posix_spawn_file_actions_t {
    Actions() { posix_spawn_file_actions_init(this); }
    ~Actions() { posix_spawn_file_actions_destroy(this); }
  } actions;
  // Nothing of ours is read or written by what outlives us.
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::string name = program, argument = interface, quiet = "LOG_LEVEL=error";
  const std::array<char*, 3> arguments = {name.data(), argument.data(), nullptr};
  const std::array<char*, 2> environment = {quiet.data(), nullptr};
  pid_t child = 0;
  const int error =
      posix_spawn(&child, program.c_str(), &actions, nullptr, arguments.data(), environment.data());
  if (error != 0) {
    Error why = fail_errno(program, error).value();
    return fail(
        why.code, why.message,
        "install wireguard-go, set `wireguard-go` to its path, or make the interface beforehand");
  }
  const auto deadline = std::chrono::steady_clock::now() + kStartWithin;
  int status = 0;
  for (;;) {
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) break;
    if (ended < 0 && errno != EINTR) return fail_errno("wait for " + program, errno);
    if (std::chrono::steady_clock::now() > deadline) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return fail(Code::timeout, program + " does not finish starting",
                  "run `" + program + " -f " + interface + "` to see why");
    }
    poll(nullptr, 0, kPollMillis);
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return fail(Code::io, program + " cannot make interface " + interface,
                "run `" + program + " -f " + interface +
                    "` to see why; it needs CAP_NET_ADMIN and /dev/net/tun");
  const std::string path = wireguard::uapi_socket_path(interface);
  while (!wireguard::connect_uapi(path)) {
    if (std::chrono::steady_clock::now() > deadline)
      return fail(Code::timeout, path + " does not appear", "is /var/run/wireguard writable?");
    poll(nullptr, 0, kPollMillis);
  }
  return {};
}

// wireguard-go would go on without a socket, and say nothing.
Result<void> check_port_is_free(uint16_t port) {
  for (const int family : {AF_INET, AF_INET6}) {
    const Fd socket(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    sockaddr_in6 address{};  // all zeros, it does for both
    address.sin6_family = static_cast<sa_family_t>(family);
    address.sin6_port = htons(port);
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 && errno == EADDRINUSE)
      return fail(Code::bad_config, "UDP port " + std::to_string(port) + " is in use",
                  "`ss -ulpn` says by whom; end that, or choose another `listen-port` and tell it to the policy");
  }
  return {};
}

constexpr std::string_view kKernelKind = "wireguard";

// Unless it is there.
Result<void> make_interface(const InterfaceSettings& settings) {
  const std::string& name = settings.name;
  JITWG_ASSIGN(const auto kind, find_link_kind(name));
  bool in_kernel = settings.transport == TransportChoice::kernel;
  if (kind) {
    const bool is_in_kernel = *kind == kKernelKind;
    if (settings.transport == TransportChoice::automatic || in_kernel == is_in_kernel) return {};
    return fail(
        Code::bad_config,
        "interface " + name + " is " + (is_in_kernel ? "the kernel's" : "not the kernel's"),
        "`ip link delete " + name + "` (its sessions are set up anew), or `transport = auto`");
  }
  if (settings.transport == TransportChoice::automatic) {
    JITWG_ASSIGN(in_kernel, wireguard::kernel_has_wireguard());
  }
  return in_kernel ? add_wireguard_link(name) : start_wireguard_go(settings.wireguard_go, name);
}

}  // namespace

Result<std::unique_ptr<wireguard::Transport>> find_transport(const std::string& interface) {
  JITWG_ASSIGN(const auto kind, find_link_kind(interface));
  if (!kind) return fail(Code::io, "there is no interface " + interface);
  if (*kind == kKernelKind) return std::make_unique<wireguard::Netlink>(interface);
  const std::string path = wireguard::uapi_socket_path(interface);
  if (!wireguard::connect_uapi(path))
    return fail(
        Code::bad_config,
        "interface " + interface + " is not the kernel's WireGuard, and nothing answers at " + path,
        "use another `interface`");
  return std::make_unique<wireguard::Uapi>(wireguard::Uapi::at(interface));
}

Result<void> set_up_link(const InterfaceSettings& settings) {
  JITWG_TRY(set_link_up(settings.name, settings.mtu));
  return add_routes(settings.name, settings.pools);
}

namespace {

Result<wireguard::PrivateKey> load_key(const InterfaceSettings& settings) {
  JITWG_ASSIGN(std::string text, read_secret_file(settings.key_file, 1024));
  auto key = wireguard::parse_private_key(text);
  if (!key) return within(settings.key_file, key.error());
  return key;
}

// Another key or port would cut other people's peers off.
Result<void> check_adoption(const InterfaceSettings& settings, const wireguard::PublicKey& key,
                            const wireguard::Interface& interface) {
  const bool other_key = interface.public_key != key;
  const bool other_port = interface.listen_port != settings.listen_port;
  const bool has_others = std::ranges::any_of(interface.peers, [&](const wireguard::Peer& peer) {
    return !peer.allowed_ips.empty() && !has_address_in(peer, settings.pools);
  });
  if (interface.public_key && has_others && (other_key || other_port))
    return fail(Code::bad_config,
                "interface " + settings.name + " serves peers of others, with another " + (other_key ? "key" : "port"),
                other_key ? "give its key as `wireguard-key`, or use another `interface`"
                          : "give its port as `listen-port`, or use another `interface`");
  return {};
}

}  // namespace

Result<void> check_interface(const InterfaceSettings& settings) {
  JITWG_ASSIGN(const auto key, load_key(settings));
  const auto transport = find_transport(settings.name);
  const auto interface = transport ? (*transport)->get() : tl::unexpected(transport.error());
  if (!interface) return {};  // nothing to adopt, or prepare_interface() says why
  return check_adoption(settings, wireguard::public_key_of(key), *interface);
}

Result<ReadyInterface> prepare_interface(const InterfaceSettings& settings) {
  JITWG_ASSIGN(const auto key, load_key(settings));
  JITWG_TRY(make_interface(settings));
  JITWG_ASSIGN(auto transport, find_transport(settings.name));
  JITWG_ASSIGN(const auto interface, transport->get());
  const auto public_key = wireguard::public_key_of(key);
  JITWG_TRY(check_adoption(settings, public_key, interface));
  const bool other_key = interface.public_key != public_key;
  const bool other_port = interface.listen_port != settings.listen_port;
  if (other_port) JITWG_TRY(check_port_is_free(settings.listen_port));
  if (other_key || other_port) JITWG_TRY(transport->configure(key, settings.listen_port));
  JITWG_TRY(set_up_link(settings));
  return ReadyInterface{std::move(transport), public_key};
}

}  // namespace jitwg::gateway
