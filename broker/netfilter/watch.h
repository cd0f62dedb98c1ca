// Says that somebody else changed a table of family inet: `nft flush ruleset` of a firewall's
// reload, an administrator, a mistake. For then nothing of it may hold any more, and a look every
// 30 s would leave it so for that long.
#pragma once

#include <cstdint>
#include <string>

#include "broker/base/error.h"
#include "broker/os/fd.h"

namespace jitwg::netfilter {

class Watch {
 public:
  // Changes that come from `own_port` (Table::port) are not news.
  static Result<Watch> open(std::string table, uint32_t own_port);
  // Readable: something changed. Its owner is this object.
  int fd() const { return fd_.get(); }
  // Takes all that is there, without waiting. True: the table was changed, or messages were lost.
  bool take();

 private:
  Watch(Fd fd, std::string table, uint32_t own_port)
      : fd_(std::move(fd)), table_(std::move(table)), own_port_(own_port) {}
  Fd fd_;
  std::string table_;
  uint32_t own_port_;
};

}  // namespace jitwg::netfilter
