#include "trust/verdict.h"

#include <algorithm>
#include <set>

#include "oci/digest.h"
#include "oci/reference.h"
#include "remote/text.h"
#include "trust/repository.h"
#include "trust/timestamp.h"

namespace corten::trust {
namespace {

constexpr std::size_t max_reason_length = 400;

Result<> check_reference(const Claim& claim, std::string_view repository) {
  if (claim.reference.empty()) return fail(ErrorKind::invalid, "it does not say which repository it is for");
  const auto reference = oci::parse_reference(claim.reference);
  if (!reference || canonical_repository(reference->name()) != canonical_repository(repository))
    return fail(ErrorKind::invalid, "it is for the repository {}", remote::printable(claim.reference, 200));
  return {};
}

// The identity of the rule that the certificate has. The first one counts: no certificate is two signers.
Result<const Identity*> identity_of(const Certificate& certificate, const CertificateSigners& signers) {
  const auto names = TRY(certificate.identities());
  const std::string issuer = TRY(certificate.issuer());
  for (const Identity& identity : signers.identities) {
    const bool name =
        std::ranges::any_of(names, [&](const std::string& one) { return matches_pattern(identity.subject, one); });
    if (name && matches_pattern(identity.issuer, issuer)) return &identity;
  }
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return fail(ErrorKind::invalid, "its certificate is of {} (issuer {}), whom the rule does not name",
              all.empty() ? "nobody" : remote::printable(all, 200),
              issuer.empty() ? "not said" : remote::printable(issuer, 100));
}

// At what time the certificate must have been valid; nullopt where the policy does not ask.
Result<std::optional<Timestamp>> time_of(const Claim& claim, const Policy& policy, const CertificateSigners& signers,
                                         Timestamp time) {
  if (signers.ignore_expiry) return std::nullopt;
  if (!claim.timestamp.empty() && !policy.timestamp_authorities().empty())
    return TRY(timestamp_of(claim.timestamp, policy.timestamp_authorities(), claim.signature));
  if (claim.log && !policy.logs().empty())
    return TRY(
        trusted_time(*claim.log, policy.logs(),
                     {claim.message, claim.payload, claim.signature, std::string_view(claim.certificates[0].der())}));
  return time;
}

// What would have told when it was signed.
std::string_view missing_time(const Claim& claim, const Policy& policy) {
  if (policy.logs().empty() && policy.timestamp_authorities().empty())
    return "the policy has neither \"rekorKeys\" nor \"timestampRoots\" to know when it was signed";
  if (policy.timestamp_authorities().empty() && !claim.timestamp.empty())
    return "it has a timestamp, for which the policy has no \"timestampRoots\"";
  if (policy.logs().empty() && claim.log) return "it has a log entry, for which the policy has no \"rekorKeys\"";
  return "it has neither log entry nor timestamp to know when it was signed";
}

Result<std::string> certified_signer(const Claim& claim, const Policy& policy, const CertificateSigners& signers,
                                     Timestamp time) {
  if (claim.certificates.empty()) return fail(ErrorKind::invalid, "it has no certificate");
  const Certificate& leaf = claim.certificates[0];
  if (!TRY(leaf.key()).verifies(claim.message, claim.signature))
    return fail(ErrorKind::invalid, "it is not by its certificate's key");
  const Identity* identity = TRY(identity_of(leaf, signers));
  const std::vector<Certificate> chain(claim.certificates.begin() + 1, claim.certificates.end());
  // First at any time: what strangers attach as proof of time is not even read.
  CHECK(signers.roots.check(leaf, chain, std::nullopt));
  const auto when = TRY(time_of(claim, policy, signers, time));
  if (auto valid = signers.roots.check(leaf, chain, when); !valid) {
    if (when != time) return std::unexpected(std::move(valid).error());
    return fail(ErrorKind::invalid, "{} ({}; \"ignoreExpiry\" would do without)", valid.error().text(),
                missing_time(claim, policy));
  }
  return fmt::format("{} (issuer {})", identity->subject, identity->issuer);
}

// One repository's rule against all that is known.
class Judge {
 public:
  Judge(const Policy& policy, const Rule& rule, std::string_view repository, Timestamp time, Verdict& verdict)
      : policy_(policy), rule_(rule), repository_(repository), time_(time), verdict_(verdict) {}

  void look_at(const Evidence& evidence, std::string_view image_id) {
    const auto image = image_of(evidence.documents);
    if (!image || *image != image_id) {
      if (evidence.signatures.empty()) return;
      note(image ? fmt::format("signatures from {} are for another image", evidence.repository)
                 : fmt::format("signatures from {}: {}", evidence.repository, image.error().text()));
      return;
    }
    for (const Signature& signature : evidence.signatures) look_at(signature, evidence);
  }

 private:
  void look_at(const Signature& signature, const Evidence& evidence) {
    ++number_;
    const auto document = std::ranges::find(evidence.documents, signature.subject,
                                            [](const std::string& one) { return oci::Digest::of(one).text(); });
    const auto signer =
        document == evidence.documents.end()
            ? Result<std::string>(fail(ErrorKind::invalid, "what it is for is none of the image's manifests"))
            : signer_of(signature, *document, policy_, rule_, repository_, time_);
    if (!signer) {
      note(fmt::format("{}: {}", signature_name(signature, number_), signer.error().text()));
    } else if (std::ranges::find(verdict_.signers, *signer) == verdict_.signers.end()) {
      verdict_.signers.push_back(*signer);
    }
  }

  void note(const std::string& reason) { add_reason(verdict_, reason); }

  const Policy& policy_;
  const Rule& rule_;
  const std::string_view repository_;
  const Timestamp time_;
  Verdict& verdict_;
  std::size_t number_ = 0;
};

}  // namespace

void add_reason(Verdict& verdict, std::string_view reason) {
  std::string text = remote::printable(reason, max_reason_length);
  if (std::ranges::find(verdict.reasons, text) != verdict.reasons.end()) return;
  if (verdict.reasons.size() < max_reasons) {
    verdict.reasons.push_back(std::move(text));
  } else {
    ++verdict.unsaid;
  }
}

std::string short_digest(std::string_view digest) { return std::string(digest.substr(0, 19)); }

std::string signature_name(const Signature& signature, std::size_t number) {
  return fmt::format("signature {} ({} for {})", number, signature.kind == "cosign" ? "cosign" : "sigstore bundle",
                     short_digest(signature.subject));
}

Result<std::string> signer_of(const Signature& signature, std::string_view document, const Policy& policy,
                              const Rule& rule, std::string_view repository, Timestamp time) {
  const Claim claim = TRY(read_claim(signature, document));
  if (rule.match_repository) CHECK(check_reference(claim, repository));
  for (const ListedKey& key : rule.keys)
    if (key.key.verifies(claim.message, claim.signature)) return "key " + key.shown + " " + key.key.id();
  if (!rule.certificates)
    return fail(ErrorKind::invalid, "it is not by {}",
                rule.keys.size() == 1 ? "the rule's key" : "any of the rule's keys");
  return certified_signer(claim, policy, *rule.certificates, time);
}

Verdict judge(const Policy& policy, std::string_view repository, std::span<const Evidence> known,
              std::string_view image_id, Timestamp time) {
  const Rule& rule = policy.rule_for(repository);
  Verdict verdict;
  verdict.accepted = rule.action == Action::accept;
  verdict.action = rule.action;
  verdict.rule = rule.pattern;
  if (rule.action != Action::signed_by) {
    verdict.wanted = verdict.accepted ? "nothing" : "to reject it";
    return verdict;
  }
  verdict.wanted = rule.wanted();
  Judge judge(policy, rule, repository, time, verdict);
  for (const Evidence& evidence : known) judge.look_at(evidence, image_id);
  verdict.accepted = verdict.signers.size() >= rule.threshold;
  return verdict;
}

Error refusal(std::string_view repository, const Verdict& verdict) {
  std::string text =
      fmt::format("the signature policy refuses {}: ", repository.empty() ? "an image without a name" : repository);
  text += verdict.rule == "default" ? "its default" : fmt::format("its rule {:?}", verdict.rule);
  text += fmt::format(" wants {}", verdict.wanted);
  if (verdict.action != Action::reject) {
    if (!verdict.signers.empty()) text += fmt::format("; signed by {} only", fmt::join(verdict.signers, " and "));
    if (verdict.signers.empty() && verdict.reasons.empty()) text += "; there is no signature";
    for (const std::string& reason : verdict.reasons) text += "; " + reason;
    if (verdict.unsaid > 0) text += fmt::format("; and {} more", verdict.unsaid);
  }
  return {ErrorKind::forbidden, text};
}

}  // namespace corten::trust
