// The listening side of pam_jitwg/PROTOCOL.md: SOCK_SEQPACKET, one packet each way, then the
// connection ends. A slow or silent asker holds nothing but its own connection, and that not beyond
// the deadline; any local user may connect, so each uid but root has only so many connections at
// once.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>

#include "broker/os/fd.h"
#include "broker/os/service.h"
#include "pam_jitwg/hostd/wire.h"

namespace jitwg::hostd {

// Called on the event loop. `socket`: the connection, for what the kernel knows of the asker.
using Handler = std::function<Answer(const Question& question, const Peer& peer, int socket)>;

class Server {
 public:
  Server(boost::asio::io_context& io, Fd listener, Handler handler);
  ~Server();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace jitwg::hostd
