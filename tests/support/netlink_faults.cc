// Preloaded by tests: makes one call on a netlink socket fail. The file named by JITWG_TEST_FAULTS says which: "KIND N ERROR"
// with KIND send or recv, N the number of the call from when the file was put there, ERROR an errno, or 0: recv gives an
// answer cut short. ENOBUFS also loses what was there to be received, as the kernel does. What came to pass is added to the
// file: "hit". Without the file, nothing fails.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

template <typename Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

bool is_netlink(int fd) {
  int domain = 0;
  socklen_t length = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_NETLINK;
}

// The error that this call is to fail with; -1: none.
int due(const char* kind, int fd) {
  static long count = 0;
  static ino_t order = 0;  // each order is a new file
  const char* path = std::getenv("JITWG_TEST_FAULTS");
  struct stat st {};
  if (path == nullptr || !is_netlink(fd) || stat(path, &st) != 0) return -1;
  if (st.st_ino != order) {
    order = st.st_ino;
    count = 0;
  }
  char text[64] = {}, wanted[8] = {};
  const int file = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
  if (file < 0) return -1;
  int error = -1, number = 0;
  if (read(file, text, sizeof text - 1) > 0 && std::strstr(text, "hit") == nullptr &&
      std::sscanf(text, "%7s %d %d", wanted, &number, &error) == 3 && std::strcmp(wanted, kind) == 0 && ++count == number) {
    if (write(file, " hit", 4) != 4) std::abort();
  } else {
    error = -1;
  }
  close(file);
  return error;
}

ssize_t failed(int error, int fd = -1) {
  char lost[1];
  if (error == ENOBUFS && fd >= 0) next<decltype(recvfrom)>("recvfrom")(fd, lost, sizeof lost, MSG_DONTWAIT, nullptr, nullptr);
  errno = error;
  return -1;
}

// Half of an answer, as far as it is one.
ssize_t cut(ssize_t got, int error) { return error == 0 && got > 1 ? got / 2 : got; }

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT ssize_t send(int fd, const void* data, size_t size, int flags) {
  if (const int error = due("send", fd); error > 0) return failed(error);
  return next<decltype(send)>("send")(fd, data, size, flags);
}

EXPORT ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t length) {
  if (const int error = due("send", fd); error > 0) return failed(error);
  return next<decltype(sendto)>("sendto")(fd, data, size, flags, to, length);
}

EXPORT ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  if (const int error = due("send", fd); error > 0) return failed(error);
  return next<decltype(sendmsg)>("sendmsg")(fd, message, flags);
}

EXPORT ssize_t recv(int fd, void* data, size_t size, int flags) {
  const int error = due("recv", fd);
  if (error > 0) return failed(error, fd);
  return cut(next<decltype(recv)>("recv")(fd, data, size, flags), error);
}

EXPORT ssize_t recvfrom(int fd, void* data, size_t size, int flags, sockaddr* from, socklen_t* length) {
  const int error = due("recv", fd);
  if (error > 0) return failed(error, fd);
  return cut(next<decltype(recvfrom)>("recvfrom")(fd, data, size, flags, from, length), error);
}

EXPORT ssize_t recvmsg(int fd, msghdr* message, int flags) {
  const int error = due("recv", fd);
  if (error > 0) return failed(error, fd);
  return cut(next<decltype(recvmsg)>("recvmsg")(fd, message, flags), error);
}
