#include "ssh-ca/format/certificate.h"

#include <sodium.h>

#include "broker/base/encoding.h"
#include "ssh-ca/format/wire.h"

namespace jitwg::ssh {
namespace {

constexpr std::string_view kType = "ssh-ed25519-cert-v01@openssh.com";
constexpr uint32_t kUserCertificate = 1;
constexpr size_t kMaxBlob = 8192;  // ours are about 600 bytes

tl::unexpected<Error> bad(std::string why) {
  return fail(Code::bad_certificate, "certificate: " + std::move(why));
}

// OpenSSH reads names as C strings, and no certificate with a NUL in one: what ends there for it must not go on for us.
bool has_nul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

// Options and flags: (name, data) pairs in ascending order of names, each once; data of an option is itself a string.
Result<std::vector<std::pair<std::string, std::string>>> parse_options(std::string_view bytes) {
  std::vector<std::pair<std::string, std::string>> options;
  WireReader reader(bytes);
  while (!reader.at_end()) {
    const std::string name(reader.string());
    const std::string_view data = reader.string();
    if (!reader.ok()) return bad("an option is cut short");
    if (has_nul(name)) return bad("an option's name holds a NUL");
    if (!options.empty() && name <= options.back().first) return bad("options unordered or twice");
    std::string value;
    if (!data.empty()) {
      WireReader inner(data);
      value = inner.string();
      if (!inner.ok() || !inner.at_end() || value.empty() || has_nul(value)) return bad("an option's value has the wrong form");
    }
    options.emplace_back(name, value);
  }
  return options;
}

std::string render_option(std::string_view name, std::string_view value) {
  WireWriter writer;
  writer.string(name).string(value.empty() ? std::string() : WireWriter().string(value).bytes());
  return writer.bytes();
}

uint64_t seconds_of(WallTime time) { return static_cast<uint64_t>(time.time_since_epoch().count()); }

}  // namespace

std::string Certificate::to_be_signed() const {
  WireWriter names, critical, flags, out;
  for (const std::string& principal : principals) names.string(principal);
  for (const auto& [option, value] : critical_options) critical.raw(render_option(option, value));
  for (const std::string& flag : extensions) flags.raw(render_option(flag, ""));
  out.string(kType).string(nonce).string(key.ed25519()).u64(serial).u32(kUserCertificate).string(key_id)
      .string(names.bytes()).u64(seconds_of(valid_after)).u64(seconds_of(valid_before))
      .string(critical.bytes()).string(flags.bytes()).string("").string(ca.blob());
  return out.bytes();
}

std::string assemble_certificate(const Certificate& certificate, std::string_view raw_signature) {
  const std::string signature = WireWriter().string("ssh-ed25519").string(raw_signature).bytes();
  return certificate.to_be_signed() + WireWriter().string(signature).bytes();
}

Result<Certificate> parse_certificate(std::string_view blob) {
  if (blob.size() > kMaxBlob) return bad("over " + std::to_string(kMaxBlob) + " bytes");
  WireReader reader(blob);
  if (reader.string() != kType) return bad("not an ed25519 certificate");
  const std::string nonce(reader.string());
  const std::string_view key32 = reader.string();
  const uint64_t serial = reader.u64();
  const uint32_t kind = reader.u32();
  const std::string key_id(reader.string());
  const std::string_view principals = reader.string();
  const uint64_t after = reader.u64(), before = reader.u64();
  const std::string_view critical = reader.string(), flags = reader.string(), reserved = reader.string();
  const std::string_view ca_blob = reader.string();
  const size_t signed_length = blob.size() - reader.rest().size();
  const std::string_view signature = reader.string();
  if (!reader.ok() || !reader.at_end()) return bad("cut short or too long");
  if (kind != kUserCertificate) return bad("not a user certificate");
  if (key32.size() != 32 || is_weak_ed25519(key32)) return bad("its key is no ed25519 key");
  if (!reserved.empty()) return bad("its reserved field is used");
  if (has_nul(key_id)) return bad("its key ID holds a NUL");
  // Anything but a plain ed25519 key, such as a certificate in its place, ends here.
  auto ca = PublicKey::parse_blob(ca_blob);
  if (!ca) return within("certificate: its CA key", ca.error());
  constexpr uint64_t kLastSecond = 253402300799;  // the year 9999: also keeps for-ever out
  if (before > kLastSecond || after >= before) return bad("its times are no window");

  Certificate c{nonce, PublicKey::from_ed25519(key32), serial, key_id, {}, WallTime{Seconds{after}},
                WallTime{Seconds{before}}, {}, {}, std::move(*ca)};
  for (WireReader names(principals); !names.at_end();) {
    c.principals.emplace_back(names.string());
    if (!names.ok() || has_nul(c.principals.back())) return bad("its principals are cut short, or hold a NUL");
  }
  JITWG_ASSIGN(c.critical_options, parse_options(critical));
  JITWG_ASSIGN(const auto extensions, parse_options(flags));
  for (const auto& [option, value] : extensions) {
    if (!value.empty()) return bad("an extension carries a value");
    c.extensions.push_back(option);
  }
  WireReader inner(signature);
  const std::string_view type = inner.string(), raw = inner.string();
  if (!inner.ok() || !inner.at_end() || type != "ssh-ed25519" || raw.size() != 64)
    return bad("its signature has the wrong form");
  if (crypto_sign_verify_detached(reinterpret_cast<const unsigned char*>(raw.data()),
                                  reinterpret_cast<const unsigned char*>(blob.data()), signed_length,
                                  reinterpret_cast<const unsigned char*>(c.ca.ed25519().data())) != 0)
    return fail(Code::bad_signature, "certificate: its CA's signature does not fit");
  return c;
}

std::string render_certificate_line(std::string_view blob) {
  return std::string(kType) + " " + base64_encode(blob);
}

Result<std::string> parse_certificate_line(std::string_view line) {
  if (!line.starts_with(kType) || line.size() <= kType.size() || line[kType.size()] != ' ')
    return bad("not a line that starts with " + std::string(kType));
  auto blob = base64_decode(line.substr(kType.size() + 1));
  if (!blob) return bad("its base64 is damaged");
  return blob;
}

}  // namespace jitwg::ssh
