#include "ssh-ca/signer/frames.h"

#include "broker/base/limits.h"

namespace jitwg::signer {

std::string render_frame(const json::value& message) {
  const std::string body = render_json(message);
  const auto size = static_cast<uint32_t>(body.size());
  std::string frame;
  for (int shift = 24; shift >= 0; shift -= 8) frame.push_back(static_cast<char>(size >> shift));
  return frame + body;
}

Result<std::optional<json::value>> take_frame(std::string& buffer) {
  if (buffer.size() < 4) return std::nullopt;
  uint32_t size = 0;
  for (size_t i = 0; i < 4; ++i) size = size << 8 | static_cast<uint8_t>(buffer[i]);
  if (size > limits::kSignerFrameBytes)
    return fail(Code::too_large, "a frame of " + std::to_string(size) + " bytes",
                "at most " + std::to_string(limits::kSignerFrameBytes));
  if (buffer.size() < 4 + size_t{size}) return std::nullopt;
  JITWG_ASSIGN(json::value message, parse_json(std::string_view(buffer).substr(4, size), limits::kSignerFrameBytes));
  buffer.erase(0, 4 + size_t{size});
  return std::optional<json::value>(std::move(message));
}

}  // namespace jitwg::signer
