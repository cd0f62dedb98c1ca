#include "broker/setup/input.h"

#include <fcntl.h>
#include <unistd.h>

#include "broker/os/file.h"

namespace jitwg::setup {

Result<std::string> read_input(const std::string& word, size_t max_bytes) {
  if (word != "-") return read_file(word, max_bytes);
  return read_all(Fd(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)), "stdin", max_bytes);
}

}  // namespace jitwg::setup
