// allowed_signers: what is accepted means the same when written plainly, and ssh-keygen takes each key for the same person
// at the same times.
#include "ssh-ca/format/allowed_signers.h"

#include "ssh-ca/format/sshsig.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/openssh.h"

namespace jitwg::fuzz {
namespace {

std::string digits(WallTime time) {  // 20261122133000Z
  std::string text;
  for (const char c : render_time(time))
    if (isalnum(static_cast<unsigned char>(c)) && c != 'T') text += c;
  return text;
}

std::string line_of(const ssh::AllowedSigner& signer) {
  std::string line = signer.person + " namespaces=\"jitwg\"";
  if (signer.valid_after) line += ",valid-after=\"" + digits(*signer.valid_after) + "\"";
  if (signer.valid_before) line += ",valid-before=\"" + digits(*signer.valid_before) + "\"";
  return line + " " + signer.key.str() + "\n";
}

}  // namespace

bool try_input(std::string_view input) {
  const auto people = ssh::AllowedSigners::parse(input);
  if (!people) {
    check_error(people.error());
    return false;
  }
  std::string plain;
  for (const auto& signer : people->entries()) plain += line_of(signer);
  const auto again = ssh::AllowedSigners::parse(plain);
  JITWG_CHECK(again && again->entries().size() == people->entries().size());
  for (size_t i = 0; i < again->entries().size(); ++i) {
    const auto &a = people->entries()[i], &b = again->entries()[i];
    JITWG_CHECK(a.person == b.person && a.key == b.key && a.valid_after == b.valid_after && a.valid_before == b.valid_before);
    JITWG_CHECK(people->knows_person(a.person) && people->knows_key(a.key));
  }
  return !people->entries().empty();
}

void compare(std::string_view input) {
  const auto people = ssh::AllowedSigners::parse(input);
  if (!people) return;
  const OpenSsh openssh;
  const ssh::PrivateKey own = ssh::PrivateKey::generate();
  const auto document = ssh::sign("words", "jitwg", own);
  const std::string words = openssh.file("words", document.body), signature = openssh.file("sig", document.signature);
  for (const auto& entry : people->entries()) {
    // The same file, with a key that we can sign with in place of this entry's.
    std::string text(input);
    const size_t at = text.find(entry.key.str());
    ASSERT_NE(at, std::string::npos);
    text.replace(at, entry.key.str().size(), own.public_key().str());
    const auto changed = ssh::AllowedSigners::parse(text);
    ASSERT_TRUE(changed) << changed.error().render();
    const std::string file = openssh.file("signers", text);
    std::vector<WallTime> times{*parse_time("2026-03-02T10:00:00Z")};
    for (const auto& edge : {entry.valid_after, entry.valid_before})
      if (edge)
        for (const int offset : {-1, 0, 1}) times.push_back(*edge + Seconds(offset));
    for (const WallTime time : times) {
      const auto ours = changed->person_of(own.public_key(), time);
      const Ran theirs = OpenSsh::keygen({"-Y", "verify", "-f", file, "-I", entry.person, "-n", "jitwg", "-s", signature,
                                          "-Overify-time=" + digits(time)}, words);
      // The one difference: at valid-before itself OpenSSH still takes the key, and a key that ends here ends at once.
      const bool their_last_second = time == entry.valid_before;
      EXPECT_TRUE(!ours || *ours == entry.person);
      EXPECT_EQ(ours || their_last_second, theirs.code == 0) << entry.person << " at " << render_time(time) << ": " << theirs.output;
      const Ran found = OpenSsh::keygen({"-Y", "find-principals", "-f", file, "-s", signature, "-Overify-time=" + digits(time)});
      if (ours) {
        EXPECT_TRUE(found.output.ends_with(*ours + "\n")) << found.output;  // it complains about empty lines, and reads on
      }
    }
  }
}

}  // namespace jitwg::fuzz
