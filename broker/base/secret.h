// Fixed-size secret bytes: wiped at the end of life, not copyable, not printable, not comparable with ==.
#pragma once

#include <sodium.h>

#include <array>
#include <cstddef>

namespace jitwg {

template <size_t N>
class Secret {
 public:
  Secret() = default;
  Secret(Secret&& other) noexcept : bytes_(other.bytes_) { other.wipe(); }
  Secret& operator=(Secret&& other) noexcept {
    bytes_ = other.bytes_;
    other.wipe();
    return *this;
  }
  ~Secret() { wipe(); }

  unsigned char* data() { return bytes_.data(); }
  const unsigned char* data() const { return bytes_.data(); }
  static constexpr size_t size() { return N; }

 private:
  void wipe() { sodium_memzero(bytes_.data(), N); }
  std::array<unsigned char, N> bytes_{};
};

}  // namespace jitwg
