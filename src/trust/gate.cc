#include "trust/gate.h"

#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "base/log.h"
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
    verdict_.action = rule_.action;
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
  std::vector<std::string> damaged;       // what is wrong with records that cannot be read
  std::vector<std::string> repositories;  // each once; "" for an image without a name
};

Known known_of(const Resident& resident) {
  Known out;
  for (const std::string& record : resident.records) {
    // A damaged record is no evidence, and no reason to hide what others say.
    if (auto evidence = decode(record)) {
      out.evidence.push_back(std::move(*evidence));
    } else {
      log::warn("image {}: what was kept of its signatures is damaged: {}", resident.id, evidence.error().text());
      out.damaged.push_back("what was kept of its signatures is damaged: " + evidence.error().text());
    }
  }
  out.repositories = resident.repositories;
  std::ranges::sort(out.repositories);
  const auto rest = std::ranges::unique(out.repositories);
  out.repositories.erase(rest.begin(), rest.end());
  if (out.repositories.empty()) out.repositories.emplace_back();
  return out;
}

struct Judged {
  std::string repository;
  Verdict verdict;
};

// All that the policy has to say of one image.
struct Opinion {
  std::string id;
  bool ancestor = false;
  std::vector<Evidence> evidence;
  std::vector<Judged> verdicts;

  std::optional<Error> problem() const {
    for (const auto& [repository, verdict] : verdicts) {
      if (verdict.accepted) continue;
      const Error error = refusal(repository, verdict);
      const bool absent = evidence.empty() && !repository.empty() && verdict.action != Action::reject;
      return Error(error.kind(),
                   fmt::format("{}image {}: {}{}", ancestor ? "what the image was made from: " : "", short_digest(id),
                               error.text(), absent ? "; if the registry has one by now, pull the image again" : ""));
    }
    return std::nullopt;
  }
};

Opinion opinion_of(const Policy& policy, const Resident& resident, bool ancestor, Timestamp time) {
  Known known = known_of(resident);
  Opinion out{.id = resident.id, .ancestor = ancestor, .evidence = {}, .verdicts = {}};
  for (const std::string& repository : known.repositories) {
    Verdict verdict = judge(policy, repository, known.evidence, resident.id, time);
    if (verdict.action == Action::signed_by)
      for (const std::string& text : known.damaged) add_reason(verdict, text);
    out.verdicts.push_back({repository, std::move(verdict)});
  }
  out.evidence = std::move(known.evidence);
  return out;
}

// The image, then what it stands on, until `keep_on` has enough. `forbidden` where there is no end of it.
Result<> walk(const Policy& policy, const Resident& image, const FindResident& find,
              const std::function<bool(const Opinion&)>& keep_on) {
  const Timestamp time = now();
  if (!keep_on(opinion_of(policy, image, false, time)) || policy.accepts_everything()) return {};
  std::string parent = image.parent;
  for (std::size_t depth = 0; !parent.empty(); ++depth) {
    if (depth == max_ancestors)
      return fail(
          ErrorKind::forbidden,
          "image {}: it stands on more than {} images that were committed one from the other, and the signature "
          "policy cannot be held against all of them; make it anew, from fewer",
          short_digest(image.id), max_ancestors);
    const std::optional<Resident> below = TRY_AS(find(parent), "what the image was made from");
    if (!below) return {};  // removed since
    // One without a name is a step of a build, about which there is no rule.
    if (!below->repositories.empty() && !keep_on(opinion_of(policy, *below, true, time))) return {};
    parent = below->parent;
  }
  return {};
}

json::Value verdict_json(const Opinion& opinion, const Judged& judged) {
  const auto& [repository, verdict] = judged;
  return json::Object{{"Image", opinion.id},
                      {"Ancestor", opinion.ancestor},
                      {"Repository", repository},
                      {"Rule", verdict.rule},
                      {"Action", action_name(verdict.action)},
                      {"Wants", verdict.wanted},
                      {"Accepted", verdict.accepted},
                      {"SignedBy", json::to_json(verdict.signers)},
                      {"NotCounted", json::to_json(verdict.reasons)}};
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
  loaded_ = {std::move(policy), path};
  return {};
}

Gate::Loaded Gate::loaded() const {
  const MutexLock lock(mutex_);
  return loaded_;
}

std::shared_ptr<const Policy> Gate::policy() const { return loaded().policy; }

std::string Gate::file() const { return loaded().file; }

Result<std::string> Gate::admit(const Arrival& arrival) const {
  const auto policy = this->policy();
  const std::string repository = arrival.reference.name();
  const Rule& rule = policy->rule_for(repository);
  if (rule.action == Action::accept) return std::string();
  if (rule.action == Action::reject)
    return std::unexpected(refusal(repository, judge(*policy, repository, {}, "", now())));
  return Admission(*policy, rule, arrival).run();
}

Result<> Gate::check(const Resident& image, const FindResident& find) const {
  const auto policy = this->policy();
  if (policy->accepts_everything()) return {};
  std::optional<Error> problem;
  CHECK(walk(*policy, image, find, [&](const Opinion& opinion) {
    problem = opinion.problem();
    return !problem;
  }));
  if (problem) return std::unexpected(*std::move(problem));
  return {};
}

Result<json::Value> Gate::describe(const Resident& image, const FindResident& find) const {
  const Loaded loaded = this->loaded();
  json::Array verdicts, signatures;
  std::optional<Error> problem;
  const auto walked = walk(*loaded.policy, image, find, [&](const Opinion& opinion) {
    if (!problem) problem = opinion.problem();
    for (const Judged& one : opinion.verdicts) verdicts.push_back(verdict_json(opinion, one));
    for (const Evidence& evidence : opinion.evidence)
      for (const Signature& signature : evidence.signatures)
        signatures.push_back(json::Object{{"Image", opinion.id},
                                          {"Repository", evidence.repository},
                                          {"Kind", signature.kind},
                                          {"Digest", signature.subject}});
    return true;
  });
  if (!walked && walked.error().kind() != ErrorKind::forbidden) return std::unexpected(walked.error());
  if (!walked && !problem) problem = walked.error();
  return json::Object{{"Id", image.id},
                      {"Policy", loaded.file},
                      {"Accepted", !problem},
                      {"Refusal", problem ? problem->text() : std::string()},
                      {"Verdicts", std::move(verdicts)},
                      {"Signatures", std::move(signatures)}};
}

}  // namespace corten::trust
