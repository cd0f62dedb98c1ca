#include "broker/os/fd.h"

#include <unistd.h>

namespace jitwg {

void Fd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

}  // namespace jitwg
