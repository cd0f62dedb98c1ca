#include "ssh-ca/signer/server.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <list>

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
  bool closing = false;  // after `out` is written
};

// Reads what is there. False when the peer is gone.
bool read_some(Client& client) {
  char buffer[65536];
  const ssize_t n = ::recv(client.fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  client.in.append(buffer, static_cast<size_t>(n));
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
                   const std::function<void()>& on_hup) {
  std::list<Client> clients;
  const auto watchdog = watchdog_interval();
  BootTime next_ping{};
  while (true) {
    if (const BootTime now = boot_now(); now >= next_ping) {
      notify("WATCHDOG=1");
      next_ping = now + watchdog;
    }
    std::vector<pollfd> polled{{signals.get(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    if (clients.size() >= kMaxClients) polled[1].events = 0;
    for (const Client& c : clients)
      polled.push_back({c.fd.get(), static_cast<short>(c.out.empty() ? POLLIN : POLLIN | POLLOUT), 0});
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
    if (polled[1].revents & POLLIN)
      if (Fd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)); fd.valid())
        clients.push_back({std::move(fd), {}, {}, false});
  }
}

}  // namespace jitwg::signer
