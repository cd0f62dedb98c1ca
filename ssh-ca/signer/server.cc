#include "ssh-ca/signer/server.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <list>

#include "broker/base/limits.h"
#include "broker/os/clock.h"
#include "broker/os/service.h"
#include "ssh-ca/signer/frames.h"

namespace jitwg::signer {
namespace {

constexpr size_t kMaxClients = 64;  // the broker, and an admin at the host
constexpr size_t kMaxUnread = 16 << 20;

struct Client {
  Fd fd;
  std::string in, out;
  BootTime heard;
  bool closing = false;  // after `out` is written

  bool may_send() const { return !closing && in.size() <= limits::kSignerFrameBytes + 4; }
  short events() const { return static_cast<short>((may_send() ? POLLIN : 0) | (out.empty() ? 0 : POLLOUT)); }
};

// Reads what is there. False when the peer is gone.
bool read_some(Client& client) {
  char buffer[65536];
  const ssize_t n = ::recv(client.fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  client.in.append(buffer, static_cast<size_t>(n));
  client.heard = boot_now();
  return n > 0;
}

bool write_some(Client& client) {
  const ssize_t n = ::send(client.fd.get(), client.out.data(), client.out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  client.out.erase(0, static_cast<size_t>(n));
  return true;
}

void answer_all(Signer& signer, Client& client, WallTime now) {
  // A client that does not read its answers gets no more of them.
  while (!client.closing && client.out.size() < kMaxUnread) {
    auto frame = take_frame(client.in);
    if (!frame) {
      client.out += render_frame(render_error(frame.error()));
      client.closing = true;
    } else if (!*frame) {
      return;
    } else {
      client.out += render_frame(signer.answer(**frame, now));
    }
  }
}

}  // namespace

Result<void> serve(Signer& signer, const Fd& listener, const Fd& signals, const Clock& clock,
                   const std::function<void()>& on_hup, const std::function<void(WallTime)>& before_answers) {
  std::list<Client> clients;
  const auto watchdog = watchdog_interval();
  BootTime next_ping{};
  while (true) {
    if (const BootTime now = boot_now(); now >= next_ping) {
      notify("WATCHDOG=1");
      next_ping = now + watchdog;
    }
    std::vector<pollfd> polled{{signals.get(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    for (const Client& c : clients) polled.push_back({c.fd.get(), c.events(), 0});
    if (::poll(polled.data(), polled.size(), static_cast<int>(watchdog.count())) < 0) {
      if (errno == EINTR) continue;
      return fail_errno("poll", errno);
    }
    if (polled[0].revents) {
      signalfd_siginfo info{};
      if (::read(signals.get(), &info, sizeof info) == sizeof info) {
        if (info.ssi_signo != SIGHUP) return {};
        on_hup();
      }
    }
    const WallTime now = clock.now();
    before_answers(now);
    size_t i = 2;
    for (auto it = clients.begin(); it != clients.end(); ++i) {
      bool alive = true;
      if (polled[i].revents & (POLLIN | POLLHUP | POLLERR)) alive = read_some(*it);
      answer_all(signer, *it, now);
      it = alive ? std::next(it) : clients.erase(it);
    }
    // Durable first, then out.
    JITWG_TRY(signer.sync());
    for (auto it = clients.begin(); it != clients.end();) {
      const bool alive = (it->out.empty() || write_some(*it)) && !(it->closing && it->out.empty());
      it = alive ? std::next(it) : clients.erase(it);
    }
    if (polled[1].revents & POLLIN) {
      // An owned broker that holds them all must not keep out the admin, who applies what it swallows.
      if (clients.size() >= kMaxClients)
        clients.erase(std::ranges::min_element(clients, {}, [](const Client& c) { return c.heard; }));
      if (Fd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)); fd.valid())
        clients.push_back({std::move(fd), {}, {}, boot_now(), false});
    }
  }
}

}  // namespace jitwg::signer
