#include "ssh-ca/format/wire.h"

namespace jitwg::ssh {

WireWriter& WireWriter::raw(std::string_view bytes) {
  bytes_ += bytes;
  return *this;
}

WireWriter& WireWriter::u32(uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes_.push_back(static_cast<char>(value >> shift));
  return *this;
}

WireWriter& WireWriter::u64(uint64_t value) {
  return u32(static_cast<uint32_t>(value >> 32)).u32(static_cast<uint32_t>(value));
}

WireWriter& WireWriter::string(std::string_view bytes) {
  return u32(static_cast<uint32_t>(bytes.size())).raw(bytes);
}

std::string_view WireReader::raw(size_t count) {
  if (!ok_ || count > rest_.size()) {
    ok_ = false;
    return {};
  }
  const std::string_view bytes = rest_.substr(0, count);
  rest_.remove_prefix(count);
  return bytes;
}

uint8_t WireReader::u8() {
  const std::string_view b = raw(1);
  return b.empty() ? 0 : static_cast<uint8_t>(b[0]);
}

uint32_t WireReader::u32() {
  uint32_t value = 0;
  for (const char c : raw(4)) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

uint64_t WireReader::u64() {
  const uint64_t high = u32();
  return high << 32 | u32();
}

std::string_view WireReader::string() { return raw(u32()); }

}  // namespace jitwg::ssh
