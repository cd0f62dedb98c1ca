#include "broker/cli/verify.h"

#include "broker/base/encoding.h"
#include "broker/base/limits.h"

namespace jitwg::cli {
namespace {

constexpr const char* kHint =
    "tell your administrator: the broker handed out what the signer did not make for you";

tl::unexpected<Error> foreign_grant(const std::string& what) {
  return fail(Code::foreign_grant, "the grant " + what, kHint);
}
tl::unexpected<Error> foreign_certificate(const std::string& what) {
  return fail(Code::foreign_certificate, "the certificate " + what, kHint);
}

Result<void> check_times(const RequestStatement& own, const Grant& grant, WallTime now) {
  if (grant.not_after - grant.not_before > own.duration)
    return foreign_grant("lasts longer than you asked for");
  if (grant.not_before > now + limits::kClockSkew)
    return fail(Code::clock,
                "the grant begins " + render_time(grant.not_before) +
                    ", this machine's clock says " + render_time(now),
                "set this machine's clock");
  if (grant.not_after <= now)
    return fail(Code::session_ended,
                "the session's time was over " + render_time(grant.not_after) +
                    "; this machine's clock says " + render_time(now),
                "make a new request");
  return {};
}

// What verify_grant() has read is well-formed in itself; here it is held against the request.
Result<void> check_grant(const RequestStatement& own, const Grant& grant) {
  if (grant.session != own.session) return foreign_grant("is another session's");
  if (grant.person != own.head.by) return foreign_grant("is another person's");
  if (grant.target != own.target) return foreign_grant("is for another target");
  if (grant.wg_public_key != own.wg_public_key)
    return foreign_grant("is for another WireGuard key");
  if (grant.incident != own.incident) return foreign_grant("names another incident");
  if (grant.break_glass) return foreign_grant("is a break-glass one, which nobody asked for");
  return {};
}

Result<void> check_certificate(const RequestStatement& own, const Grant& grant,
                               const std::string& blob, const ssh::CaKeys& ca) {
  const auto parsed = ssh::parse_certificate(blob);
  if (!parsed) return foreign_certificate("is not one: " + parsed.error().message);
  if (!ca.contains(parsed->ca)) return foreign_certificate("is of another CA: " + parsed->ca.fingerprint());
  if (parsed->key != own.ssh_public_key) return foreign_certificate("is for another key");
  if (parsed->key_id != "jitwg1:" + own.session.str())
    return foreign_certificate("has another session's key ID");
  if (parsed->principals != std::vector<std::string>{"jitwg:" + own.session.str()})
    return foreign_certificate("has other principals than the session's one");
  std::string addresses;
  for (const Prefix& prefix : grant.address)
    addresses += (addresses.empty() ? "" : ",") + prefix.str();
  if (parsed->critical_options != decltype(parsed->critical_options){{"source-address", addresses}})
    return foreign_certificate("is not bound to the session's inner addresses");
  if (sha256_hex(blob) != *grant.certificate_sha256)
    return foreign_certificate("is not the one that the grant names");
  if (!grant.serial || std::to_string(parsed->serial) != *grant.serial)
    return foreign_certificate("has another serial than the grant names");
  if (parsed->valid_before != grant.not_after)
    return foreign_certificate("ends at another second than the grant");
  return {};
}

}  // namespace

Result<Verified> verify_activation(const RequestStatement& own, const ssh::SignedDocument& document,
                                   const std::optional<std::string>& certificate,
                                   const ssh::CaKeys& ca, std::string_view realm, WallTime now) {
  auto grant = verify_grant(document, ca, realm);
  if (!grant) {
    if (kind(grant.error().code) == Kind::denied) return tl::unexpected<Error>(grant.error());
    return foreign_grant("cannot be read: " + grant.error().message);
  }
  JITWG_TRY(check_grant(own, *grant));
  Verified verified{std::move(*grant), std::nullopt};
  if (certificate.has_value() != verified.grant.certificate_sha256.has_value())
    return foreign_certificate(certificate ? "came without being in the grant" : "is missing");
  if (certificate) {
    const auto blob = ssh::parse_certificate_line(*certificate);
    if (!blob) return foreign_certificate("is not one: " + blob.error().message);
    JITWG_TRY(check_certificate(own, verified.grant, *blob, ca));
    verified.certificate = ssh::render_certificate_line(*blob);
  }
  // Last, so that "over" is only ever said of a grant that is ours.
  JITWG_TRY(check_times(own, verified.grant, now));
  return verified;
}

}  // namespace jitwg::cli
