// The decision: may an image be used under a repository's name?
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "trust/evidence.h"
#include "trust/policy.h"

namespace corten::trust {

// Which of the rule's signers made the signature: "key team.pub", "https://ci.example/x (issuer …)"; the same text for
// the same entry of the policy, so that a threshold can count. `invalid` says why it does not count. `document` is what
// the signature's subject is the digest of.
Result<std::string> signer_of(const Signature& signature, std::string_view document, const Policy& policy,
                              const Rule& rule, std::string_view repository, Timestamp time);

struct Verdict {
  bool accepted = false;
  Action action = Action::reject;    // the rule's
  std::string rule;                  // its pattern
  std::string wanted;                // what it asks for: "nothing", "a signature by …"
  std::vector<std::string> signers;  // who was found
  std::vector<std::string> reasons;  // each signature that does not count, and why; the first max_reasons
  std::size_t unsaid = 0;            // further reasons
};

// By what is known of the image, whichever repositories it was found in.
Verdict judge(const Policy& policy, std::string_view repository, std::span<const Evidence> known,
              std::string_view image_id, Timestamp time);

// "sha256:" and twelve digits of it.
std::string short_digest(std::string_view digest);
// How a signature is named in reasons; `number` counts from 1.
std::string signature_name(const Signature& signature, std::size_t number);
inline constexpr std::size_t max_reasons = 20;
// Made fit to be shown. The same one again says nothing new.
void add_reason(Verdict& verdict, std::string_view reason);

// The refusal in one line of at most some kilobytes, kind `forbidden`.
Error refusal(std::string_view repository, const Verdict& verdict);

}  // namespace corten::trust
