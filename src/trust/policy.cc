#include "trust/policy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <set>

#include "oci/reference.h"
#include "remote/text.h"
#include "sys/files.h"
#include "trust/repository.h"
#include "trust/strict_json.h"

namespace corten::trust {
namespace {

constexpr std::size_t max_policy = 1U << 20;
constexpr std::size_t max_pem = 1U << 20;
constexpr std::size_t max_rules = 1000;
constexpr std::size_t max_keys = 64, max_roots = 64, max_identities = 64, max_logs = 16;

using json::Value;

Result<std::string> read_trusted_file(const std::string& path, std::size_t limit) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return sys_fail("open {}", path);
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return sys_fail("stat {}", path);
  if (!S_ISREG(status.st_mode)) return fail(ErrorKind::invalid, "{} is not a regular file", path);
  if ((status.st_mode & S_IWOTH) != 0 || (status.st_uid != 0 && status.st_uid != ::geteuid()))
    return fail(ErrorKind::invalid, "{} can be written by others than the daemon's user", path);
  return wrap(sys::read_all(fd.get(), limit), "read " + path);
}

// A PEM text as it is, or the file that holds it.
struct PemSource {
  std::string text, shown;
};
Result<PemSource> pem_source(const Value& value, const std::string& directory, std::string_view where) {
  if (!value.is_string()) return fail(ErrorKind::invalid, "{} is not a string (a file's name, or PEM)", where);
  const std::string text{std::string_view(value.get_string())};
  if (text.starts_with("-----BEGIN ")) return PemSource{text, "inline"};
  if (text.empty()) return fail(ErrorKind::invalid, "{} is empty", where);
  const std::filesystem::path path = std::filesystem::path(directory) / text;
  return PemSource{TRY_AS(read_trusted_file(path.string(), max_pem), where), path.filename().string()};
}

const Value* member(const Value& object, std::string_view name) { return object.get_object().if_contains(name); }

Result<const json::Array*> array(const Value& value, std::size_t max, std::string_view where) {
  if (!value.is_array() || value.get_array().empty())
    return fail(ErrorKind::invalid, "{} is not a list with something in it", where);
  if (value.get_array().size() > max) return fail(ErrorKind::invalid, "{} has more than {} entries", where, max);
  return &value.get_array();
}

Result<bool> flag(const Value& object, std::string_view name, std::string_view where) {
  const Value* value = member(object, name);
  if (value == nullptr) return false;
  if (!value->is_bool()) return fail(ErrorKind::invalid, "{}: \"{}\" is neither true nor false", where, name);
  return value->get_bool();
}

// One key a file, so that a threshold counts what the author sees in the list.
Result<std::vector<ListedKey>> read_keys(const Value& value, const std::string& directory, std::size_t max,
                                         std::string_view where) {
  std::vector<ListedKey> out;
  std::set<std::string> known;
  for (const Value& one : *TRY(array(value, max, where))) {
    const PemSource source = TRY(pem_source(one, directory, where));
    auto keys = TRY_AS(PublicKey::parse_pem(source.text, 1), fmt::format("{}: {}", where, source.shown));
    if (!known.insert(keys[0].id()).second)
      return fail(ErrorKind::invalid, "{} has the key {} ({}) twice", where, keys[0].id(), source.shown);
    out.push_back({std::move(keys[0]), source.shown});
  }
  return out;
}

Result<Identity> read_identity(const Value& value, std::string_view where) {
  CHECK(only_members(value, {"subject", "issuer"}, where));
  Identity out{TRY(text_member(value, "subject", where)), TRY(text_member(value, "issuer", where))};
  if (out.subject.empty()) return fail(ErrorKind::invalid, "{} has no \"subject\"", where);
  if (out.issuer.empty())
    return fail(ErrorKind::invalid, "{} has no \"issuer\": say \"*\" if any will do, or where certificates name none",
                where);
  for (const std::string& pattern : {out.subject, out.issuer})
    if (pattern.find('*') < pattern.size() - 1)
      return fail(ErrorKind::invalid, "{}: {:?} has a \"*\" that is not at its end", where, pattern);
  return out;
}

Result<CertificateSigners> read_certificates(const Value& value, const std::string& directory, std::string_view where) {
  CHECK(only_members(value, {"roots", "identities", "ignoreExpiry"}, where));
  const Value* roots = member(value, "roots");
  const Value* identities = member(value, "identities");
  if (roots == nullptr || identities == nullptr)
    return fail(ErrorKind::invalid, "{} needs \"roots\" and \"identities\"", where);
  const PemSource source = TRY(pem_source(*roots, directory, fmt::format("{}.roots", where)));
  const std::string roots_where = fmt::format("{}.roots: {}", where, source.shown);
  const auto certificates = TRY_AS(Certificate::parse_pem(source.text, max_roots), roots_where);
  CertificateSigners out{TRY_AS(Roots::make(certificates), roots_where), {}};
  for (const Value& one : *TRY(array(*identities, max_identities, fmt::format("{}.identities", where))))
    out.identities.push_back(TRY(read_identity(one, fmt::format("{}.identities", where))));
  out.ignore_expiry = TRY(flag(value, "ignoreExpiry", where));
  return out;
}

Result<> read_threshold(const Value& value, Rule& rule, std::string_view where) {
  const std::size_t signers = rule.keys.size() + (rule.certificates ? rule.certificates->identities.size() : 0);
  const Value* threshold = member(value, "threshold");
  if (threshold == nullptr) return {};
  const std::int64_t number = TRY(json::detail::to_signed(*threshold, fmt::format("{}.threshold", where)));
  if (number < 1 || static_cast<std::size_t>(number) > signers)
    return fail(ErrorKind::invalid, "{}.threshold is {}, and there are {} keys and identities", where, number, signers);
  rule.threshold = static_cast<unsigned>(number);
  return {};
}

Result<> read_signers(const Value& value, const std::string& directory, Rule& rule, const std::string& where) {
  CHECK(only_members(value, {"keys", "certificates", "threshold"}, where));
  if (const Value* keys = member(value, "keys"); keys != nullptr)
    rule.keys = TRY(read_keys(*keys, directory, max_keys, where + ".keys"));
  if (const Value* certificates = member(value, "certificates"); certificates != nullptr)
    rule.certificates = TRY(read_certificates(*certificates, directory, where + ".certificates"));
  if (rule.keys.empty() && !rule.certificates)
    return fail(ErrorKind::invalid, "{} has neither \"keys\" nor \"certificates\"", where);
  return read_threshold(value, rule, where);
}

Result<Rule> read_rule(const Value& value, const std::string& pattern, const std::string& directory) {
  const std::string where = pattern == "default" ? "\"default\"" : fmt::format("rule {:?}", pattern);
  Rule rule;
  rule.pattern = pattern;
  if (value.is_string()) {
    const auto word = std::string_view(value.get_string());
    if (word != "accept" && word != "reject")
      return fail(ErrorKind::invalid, "{} is {:?}, want \"accept\", \"reject\" or {{\"signedBy\": …}}", where,
                  remote::printable(word, 40));
    rule.action = word == "accept" ? Action::accept : Action::reject;
    return rule;
  }
  CHECK(only_members(value, {"signedBy", "reference"}, where));
  const Value* signers = member(value, "signedBy");
  if (signers == nullptr) return fail(ErrorKind::invalid, "{} has no \"signedBy\"", where);
  rule.action = Action::signed_by;
  CHECK(read_signers(*signers, directory, rule, where + ".signedBy"));
  const std::string reference = TRY(text_member(value, "reference", where));
  if (!reference.empty() && reference != "ignore" && reference != "repository")
    return fail(ErrorKind::invalid, "{}.reference is {:?}, want \"ignore\" or \"repository\"", where, reference);
  rule.match_repository = reference == "repository";
  return rule;
}

// A pattern that could match nothing, because names are written out and made canonical here, is one that protects
// nothing.
Result<> check_pattern(const std::string& pattern) {
  constexpr std::string_view below = "x/x";
  const bool prefix = pattern.ends_with("/*");
  const std::string example = prefix ? pattern.substr(0, pattern.size() - 1).append(below) : pattern;
  const auto parsed = oci::parse_reference(example);
  if (!parsed || !parsed->name_only())
    return fail(ErrorKind::invalid, "rule {:?}: want a repository with its registry or \"REGISTRY/PATH/*\"", pattern);
  std::string meant = canonical_repository(parsed->name());
  if (meant == example) return {};
  if (prefix) meant.replace(meant.size() - below.size(), below.size(), "*");
  if (parsed->name() != example)
    return fail(ErrorKind::invalid,
                "rule {:?}: want a repository with its registry, as in {:?}, or \"REGISTRY/PATH/*\"", pattern, meant);
  return fail(ErrorKind::invalid,
              "rule {:?}: write {:?}: a rule has its registry in lower case and without \":443\", and docker.io for "
              "every name of Docker Hub",
              pattern, meant);
}

}  // namespace

bool matches_pattern(std::string_view pattern, std::string_view text) {
  if (pattern.ends_with('*')) return text.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == text;
}

std::string_view action_name(Action action) {
  switch (action) {
    case Action::accept: return "accept";
    case Action::reject: return "reject";
    case Action::signed_by: return "signedBy";
  }
  return "unknown";
}

std::string Rule::wanted() const {
  std::string out = threshold > 1 ? fmt::format("{} signatures by", threshold) : "a signature by";
  std::string separator = " ";
  for (const ListedKey& key : keys) {
    out += fmt::format("{}key {} ({}, {})", std::exchange(separator, " or "), key.shown, key.key.algorithm(),
                       key.key.id());
  }
  if (certificates) {
    for (const Identity& identity : certificates->identities)
      out += fmt::format("{}{} (issuer {})", std::exchange(separator, " or "), identity.subject, identity.issuer);
  }
  return out;
}

Result<Policy> Policy::load(const std::string& path) {
  const std::string text = TRY(read_trusted_file(path, max_policy));
  return wrap(parse(text, std::filesystem::path(path).parent_path().string()), path);
}

Result<Policy> Policy::parse(std::string_view text, const std::string& directory) {
  const Value value = TRY(parse_strict(text, max_policy));
  CHECK(only_members(value, {"default", "repositories", "rekorKeys", "timestampRoots"}, "the policy"));
  const Value* otherwise = member(value, "default");
  if (otherwise == nullptr)
    return fail(ErrorKind::invalid, "the policy has no \"default\": say \"accept\" or \"reject\"");
  Policy out;
  out.default_ = TRY(read_rule(*otherwise, "default", directory));
  if (const Value* logs = member(value, "rekorKeys"); logs != nullptr)
    for (ListedKey& key : TRY(read_keys(*logs, directory, max_logs, "rekorKeys"))) out.logs_.push_back(key.key);
  if (const Value* roots = member(value, "timestampRoots"); roots != nullptr) {
    const PemSource source = TRY(pem_source(*roots, directory, "timestampRoots"));
    const std::string where = "timestampRoots: " + source.shown;
    out.timestamp_authorities_ = TRY_AS(Certificate::parse_pem(source.text, max_roots), where);
    TRY_AS(Roots::make(out.timestamp_authorities_), where);
  }
  const Value* repositories = member(value, "repositories");
  if (repositories == nullptr) return out;
  if (!repositories->is_object()) return fail(ErrorKind::invalid, "\"repositories\" is not an object");
  if (repositories->get_object().size() > max_rules)
    return fail(ErrorKind::invalid, "\"repositories\" has more than {} rules", max_rules);
  for (const auto& one : repositories->get_object()) {
    const std::string pattern{std::string_view(one.key())};
    CHECK(check_pattern(pattern));
    out.rules_.push_back(TRY(read_rule(one.value(), pattern, directory)));
  }
  return out;
}

const Rule& Policy::rule_for(std::string_view repository) const {
  const std::string name = canonical_repository(repository);
  const Rule* best = &default_;
  std::size_t length = 0;
  for (const Rule& rule : rules_) {
    if (!matches_pattern(rule.pattern, name)) continue;
    const bool exact = rule.pattern == name;
    if (const std::size_t weight = exact ? std::numeric_limits<std::size_t>::max() : rule.pattern.size();
        weight > length) {
      best = &rule;
      length = weight;
    }
  }
  return *best;
}

bool Policy::accepts_everything() const {
  return default_.action == Action::accept &&
         std::ranges::all_of(rules_, [](const Rule& rule) { return rule.action == Action::accept; });
}

}  // namespace corten::trust
