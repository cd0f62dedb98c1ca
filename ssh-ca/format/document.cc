#include "ssh-ca/format/document.h"

#include "broker/base/encoding.h"

namespace jitwg {

json::value render_document(const ssh::SignedDocument& document) {
  return {{"body", base64_encode(document.body)}, {"signature", document.signature}};
}

Result<ssh::SignedDocument> parse_document(const json::value& value, std::string_view what) {
  JsonObject reader(value, what);
  const std::string body = reader.string("body");
  std::string signature = reader.string("signature");
  JITWG_TRY(reader.finish());
  auto bytes = base64_decode(body);
  if (!bytes) return within(std::string(what) + ".body", bytes.error());
  return ssh::SignedDocument{std::move(*bytes), std::move(signature)};
}

}  // namespace jitwg
