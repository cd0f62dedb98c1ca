#include "broker/base/session_id.h"

#include <sodium.h>

#include "broker/base/encoding.h"

namespace jitwg {

Result<SessionId> SessionId::parse(std::string_view text) {
  const auto bad = [&] {
    return fail(Code::bad_value, "\"" + std::string(text.substr(0, 40)) + "\" is no session ID",
                "a session ID is a lower-case UUID of version 7");
  };
  if (text.size() != 36) return bad();
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (dash ? c != '-' : !hex) return bad();
  }
  const char variant = text[19];
  if (text[14] != '7' || (variant != '8' && variant != '9' && variant != 'a' && variant != 'b'))
    return bad();
  return SessionId(std::string(text));
}

SessionId SessionId::make(WallTime now) {
  unsigned char b[16];
  randombytes_buf(b, sizeof b);
  const auto ms = static_cast<uint64_t>(now.time_since_epoch().count()) * 1000;
  for (int i = 0; i < 6; ++i) b[i] = static_cast<unsigned char>(ms >> (40 - 8 * i));
  b[6] = static_cast<unsigned char>(0x70 | (b[6] & 0x0f));
  b[8] = static_cast<unsigned char>(0x80 | (b[8] & 0x3f));
  const std::string h = hex_encode(std::string_view(reinterpret_cast<char*>(b), sizeof b));
  return SessionId(h.substr(0, 8) + "-" + h.substr(8, 4) + "-" + h.substr(12, 4) + "-" +
                   h.substr(16, 4) + "-" + h.substr(20));
}

}  // namespace jitwg
