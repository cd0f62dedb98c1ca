// SSH wire encoding (RFC 4251 §5): uint32, uint64, string. The reader never reads past its end; after a
// failure every further read yields nothing and ok() stays false.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace jitwg::ssh {

class WireWriter {
 public:
  WireWriter& raw(std::string_view bytes);
  WireWriter& u32(uint32_t value);
  WireWriter& u64(uint64_t value);
  WireWriter& string(std::string_view bytes);
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}
  std::string_view raw(size_t count);
  uint8_t u8();
  uint32_t u32();
  uint64_t u64();
  std::string_view string();
  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace jitwg::ssh
