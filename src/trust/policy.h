// The policy file: which repositories need whose signatures. docs/trust.md describes it for the one who writes it.
//
//   {
//     "default": "reject",
//     "repositories": {
//       "docker.io/library/*": "accept",
//       "registry.example/team/*": {"signedBy": {"keys": ["team.pub"]}},
//       "registry.example/shop": {"signedBy": {
//         "certificates": {"roots": "fulcio.pem", "identities": [
//           {"subject": "https://ci.example/shop/*", "issuer": "https://ci.example"}]},
//         "threshold": 1}, "reference": "repository"}
//     },
//     "rekorKeys": ["rekor.pub"],
//     "timestampRoots": "tsa.pem"
//   }
//
// Whoever writes such a file means it: what is misspelt, unknown, there twice or too weak is an error, never passed
// over.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "trust/certificates.h"
#include "trust/keys.h"

namespace corten::trust {

enum class Action : std::uint8_t { accept, reject, signed_by };
// As in the file: "accept", "reject", "signedBy".
std::string_view action_name(Action action);

struct ListedKey {
  PublicKey key;
  std::string shown;  // the file's name, or "inline"
};

// A text, or with a "*" at its end the beginning of one.
bool matches_pattern(std::string_view pattern, std::string_view text);

struct Identity {
  std::string subject;  // pattern on the certificate's e-mail address or URI
  std::string issuer;   // pattern on Fulcio's issuer; "*" for certificates that name none, too
};

struct CertificateSigners {
  Roots roots;
  std::vector<Identity> identities;
  bool ignore_expiry = false;
};

struct Rule {
  std::string pattern;  // as in the file; "default"
  Action action = Action::accept;
  // Of signed_by:
  std::vector<ListedKey> keys;
  std::optional<CertificateSigners> certificates;
  unsigned threshold = 1;         // so many of the keys and identities must have signed, each counts once
  bool match_repository = false;  // a signature must name the repository itself

  // "signedBy 1 of: key team.pub (ECDSA P-256 sha256:…), …"
  std::string wanted() const;
};

class Policy {
 public:
  // Accepts everything: what holds where there is no file.
  Policy() = default;
  // `invalid` with the file's name and where in it. Keys and certificates that it names are read here, relative to its
  // directory. File and keys must not be writable for everybody.
  static Result<Policy> load(const std::string& path);
  static Result<Policy> parse(std::string_view text, const std::string& directory);

  // `repository` in full, "docker.io/library/nginx", however its registry is spelt (trust/repository.h). The exact name
  // before the longest beginning before the default.
  const Rule& rule_for(std::string_view repository) const;
  bool accepts_everything() const;
  // Who is believed about when something was signed: keys of transparency logs, certificates of timestamp authorities.
  const std::vector<PublicKey>& logs() const { return logs_; }
  const std::vector<Certificate>& timestamp_authorities() const { return timestamp_authorities_; }
  const std::vector<Rule>& rules() const { return rules_; }
  const Rule& otherwise() const { return default_; }

 private:
  Rule default_{.pattern = "default", .keys = {}, .certificates = {}};
  std::vector<Rule> rules_;
  std::vector<PublicKey> logs_;
  std::vector<Certificate> timestamp_authorities_;
};

}  // namespace corten::trust
