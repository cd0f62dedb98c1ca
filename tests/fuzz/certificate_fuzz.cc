// Certificates: as they are, and with a CA's key and signature put behind the input, because no fuzzer finds a signature.
// What is accepted renders to the same bytes, and ssh-keygen -L reads the same from it.
#include "ssh-ca/format/certificate.h"

#include "ssh-ca/format/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/openssh.h"

namespace jitwg::fuzz {
namespace {

std::string signed_by_a_ca(std::string_view input) {
  static const ssh::PrivateKey ca = ssh::PrivateKey::generate();
  std::string body(input);
  body += ssh::WireWriter().string(ca.public_key().blob()).bytes();
  const std::string signature = ssh::WireWriter().string("ssh-ed25519").string(ca.sign(body)).bytes();
  return body + ssh::WireWriter().string(signature).bytes();
}

// Blobs to try for one input; a line is its blob.
std::vector<std::string> blobs_of(std::string_view input) {
  if (const auto blob = ssh::parse_certificate_line(input)) return {*blob};
  return {std::string(input), signed_by_a_ca(input)};
}

bool try_blob(const std::string& blob) {
  const auto certificate = ssh::parse_certificate(blob);
  if (!certificate) {
    check_error(certificate.error());
    return false;
  }
  // The signature's own 64 bytes are the blob's last.
  JITWG_CHECK(ssh::assemble_certificate(*certificate, std::string_view(blob).substr(blob.size() - 64)) == blob);
  const auto line = ssh::parse_certificate_line(ssh::render_certificate_line(blob));
  JITWG_CHECK(line && *line == blob);
  return true;
}

// What ssh-keygen -L prints of it, from what we read.
std::string listing(const ssh::Certificate& c) {
  const auto time = [](WallTime t) { return render_time(t).substr(0, 19); };
  const ssh::PublicKey& key = c.key;
  std::string text = "        Type: ssh-ed25519-cert-v01@openssh.com user certificate\n        Public key: ED25519-CERT " +
                     key.fingerprint() + "\n        Signing CA: ED25519 " + c.ca.fingerprint() +
                     " (using ssh-ed25519)\n        Key ID: \"" + c.key_id + "\"\n        Serial: " +
                     std::to_string(c.serial) + "\n        Valid: " +
                     (c.valid_after == WallTime{} ? "before " : "from " + time(c.valid_after) + " to ") +
                     time(c.valid_before) + "\n        Principals: ";
  text += c.principals.empty() ? "(none)\n" : "\n";
  for (const auto& name : c.principals) text += "                " + name + "\n";
  text += "        Critical Options: ";
  text += c.critical_options.empty() ? "(none)\n" : "\n";
  for (const auto& [name, value] : c.critical_options) text += "                " + name + (value.empty() ? "" : " " + value) + "\n";
  text += "        Extensions: ";
  text += c.extensions.empty() ? "(none)\n" : "\n";
  for (const auto& name : c.extensions) text += "                " + name + "\n";
  return text;
}

}  // namespace

bool try_input(std::string_view input) {
  bool accepted = false;
  for (const std::string& blob : blobs_of(input)) accepted = try_blob(blob) || accepted;
  return accepted;
}

void compare(std::string_view input) {
  const OpenSsh openssh;
  for (const std::string& blob : blobs_of(input)) {
    const auto certificate = ssh::parse_certificate(blob);
    if (!certificate) continue;
    const std::string path = openssh.file("cert.pub", ssh::render_certificate_line(blob) + "\n");
    const Ran ran = OpenSsh::keygen({"-L", "-f", path});
    EXPECT_EQ(ran.code, 0) << ran.output;
    EXPECT_EQ(ran.output, path + ":\n" + listing(*certificate));
  }
}

}  // namespace jitwg::fuzz
