#include "trust/gate.h"

#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "oci/digest.h"
#include "remote/text.h"
#include "trust/collect.h"
#include "trust/evidence.h"
#include "trust/verdict.h"

namespace corten::trust {
namespace {

// Looks for signatures until there are enough: those of what the reference stands for first, of the manifest below it
// then; cosign's tag before referrers.
class Admission {
 public:
  Admission(const Policy& policy, const Rule& rule, const Arrival& arrival)
      : policy_(policy), rule_(rule), arrival_(arrival), repository_(arrival.reference.name()), time_(now()) {
    evidence_.repository = repository_;
    for (const remote::ResolvedManifest& document : arrival.documents) evidence_.documents.push_back(document.bytes);
  }

  Result<std::string> run() {
    const std::string image = TRY(image_of(evidence_.documents));
    std::set<std::string> asked;
    for (const std::string& document : evidence_.documents) {
      const oci::Digest subject = oci::Digest::of(document);
      if (!asked.insert(subject.text()).second) continue;
      for (const auto find : {find_cosign, find_referrers}) {
        const Found found = TRY_AS(find(arrival_.registry, arrival_.reference.path, subject, arrival_.stop),
                                   fmt::format("look for signatures of {}", repository_));
        take(found, document);
        if (verdict_.signers.size() >= rule_.threshold) return kept(image);
      }
    }
    verdict_.rule = rule_.pattern;
    verdict_.wanted = rule_.wanted();
    return std::unexpected(refusal(repository_, verdict_));
  }

 private:
  // The first that counts of each signer is kept, so that repeats, which cost nobody a key, do not make the record too
  // large; those that do not count are only spoken of.
  void take(const Found& found, const std::string& document) {
    for (const Signature& signature : found.signatures) {
      ++number_;
      const auto signer = signer_of(signature, document, policy_, rule_, repository_, time_);
      if (!signer) {
        add_reason(verdict_, signature_name(signature, number_) + ": " + signer.error().text());
        continue;
      }
      if (std::ranges::find(verdict_.signers, *signer) != verdict_.signers.end()) continue;
      verdict_.signers.push_back(*signer);
      evidence_.signatures.push_back(signature);
    }
    for (const std::string& text : found.notes) add_reason(verdict_, text);
  }

  // What run will read is what counts: a record that does not say the same is none.
  Result<std::string> kept(const std::string& image) const {
    std::string text = encode(evidence_);
    const Evidence again = TRY(decode(text));
    const Verdict verdict = judge(policy_, repository_, {&again, 1}, image, time_);
    if (!verdict.accepted) return std::unexpected(refusal(repository_, verdict));
    return text;
  }

  const Policy& policy_;
  const Rule& rule_;
  const Arrival& arrival_;
  const std::string repository_;
  const Timestamp time_;
  Evidence evidence_;
  Verdict verdict_;
  std::size_t number_ = 0;
};

struct Known {
  std::vector<Evidence> evidence;
  std::vector<std::string> repositories;  // each once; "" for an image without a name
};

Known known_of(const Resident& resident) {
  Known out;
  for (const std::string& record : resident.records) {
    // A damaged record is no evidence; the refusal then says that there is no signature.
    if (auto evidence = decode(record)) out.evidence.push_back(std::move(*evidence));
  }
  out.repositories = resident.repositories;
  std::ranges::sort(out.repositories);
  const auto rest = std::ranges::unique(out.repositories);
  out.repositories.erase(rest.begin(), rest.end());
  if (out.repositories.empty()) out.repositories.emplace_back();
  return out;
}

}  // namespace

Result<> Gate::load(const std::string& path, bool required) {
  // A link that leads nowhere is not "no file": somebody meant it to be there.
  struct stat status{};
  if (!required && ::lstat(path.c_str(), &status) != 0 && errno == ENOENT) {
    const std::string before = file();
    if (before.empty()) return {};
    return fail(ErrorKind::not_found,
                "there is no {}: to have no policy, write {{\"default\": \"accept\"}} into it or restart the daemon",
                path);
  }
  auto policy = std::make_shared<const Policy>(TRY_AS(Policy::load(path), "signature policy"));
  const MutexLock lock(mutex_);
  policy_ = std::move(policy);
  file_ = path;
  return {};
}

std::shared_ptr<const Policy> Gate::policy() const {
  const MutexLock lock(mutex_);
  return policy_;
}

std::string Gate::file() const {
  const MutexLock lock(mutex_);
  return file_;
}

Result<std::string> Gate::admit(const Arrival& arrival) const {
  const auto policy = this->policy();
  const std::string repository = arrival.reference.name();
  const Rule& rule = policy->rule_for(repository);
  if (rule.action == Action::accept) return std::string();
  if (rule.action == Action::reject)
    return std::unexpected(refusal(repository, judge(*policy, repository, {}, "", now())));
  return Admission(*policy, rule, arrival).run();
}

Result<> Gate::check(const Resident& resident) const {
  const auto policy = this->policy();
  if (policy->accepts_everything()) return {};
  const Known known = known_of(resident);
  const Timestamp time = now();
  for (const std::string& repository : known.repositories) {
    const Verdict verdict = judge(*policy, repository, known.evidence, resident.id, time);
    if (verdict.accepted) continue;
    Error error = refusal(repository, verdict);
    const bool absent = known.evidence.empty() && !repository.empty() && !verdict.wanted.starts_with("to reject");
    return fail(error.kind(), "image {}: {}{}", resident.id.substr(0, 19), error.text(),
                absent ? "; if the registry has one by now, pull the image again" : "");
  }
  return {};
}

json::Value Gate::describe(const Resident& resident) const {
  const auto policy = this->policy();
  const Known known = known_of(resident);
  const Timestamp time = now();
  json::Array verdicts;
  for (const std::string& repository : known.repositories) {
    const Verdict verdict = judge(*policy, repository, known.evidence, resident.id, time);
    verdicts.push_back(json::Object{{"Repository", repository},
                                    {"Rule", verdict.rule},
                                    {"Wants", verdict.wanted},
                                    {"Accepted", verdict.accepted},
                                    {"SignedBy", json::to_json(verdict.signers)},
                                    {"NotCounted", json::to_json(verdict.reasons)}});
  }
  json::Array signatures;
  for (const Evidence& evidence : known.evidence) {
    for (const Signature& signature : evidence.signatures)
      signatures.push_back(
          json::Object{{"Repository", evidence.repository}, {"Kind", signature.kind}, {"Digest", signature.subject}});
  }
  return json::Object{{"Id", resident.id},
                      {"Policy", file()},
                      {"Accepted", check(resident).has_value()},
                      {"Verdicts", std::move(verdicts)},
                      {"Signatures", std::move(signatures)}};
}

}  // namespace corten::trust
