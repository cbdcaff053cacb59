#include "oci/reference.h"

#include <algorithm>

#include "base/id.h"

namespace corten::oci {
namespace {

constexpr std::string_view default_domain = "docker.io";
constexpr std::string_view legacy_domain = "index.docker.io";
constexpr std::string_view official_prefix = "library/";
constexpr std::size_t max_name = 255;
constexpr std::size_t max_reference = 4096;

bool is_lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_alnum(char c) { return is_lower_alnum(c) || is_upper(c); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool has_upper(std::string_view text) { return std::any_of(text.begin(), text.end(), is_upper); }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (is_upper(c)) c = static_cast<char>(c - 'A' + 'a');
  return out;
}

template <class Part>
bool all_parts(std::string_view text, char separator, Part part) {
  for (;;) {
    const std::size_t end = text.find(separator);
    if (!part(text.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
}

bool valid_domain_component(std::string_view part) {
  if (part.empty() || part.front() == '-' || part.back() == '-') return false;
  return std::all_of(part.begin(), part.end(), [](char c) { return is_alnum(c) || c == '-'; });
}

bool valid_domain(std::string_view domain) {
  if (domain.starts_with('[')) {
    const std::size_t end = domain.find(']');
    if (end == std::string_view::npos || end < 2) return false;
    const std::string_view address = domain.substr(1, end - 1);
    if (!std::all_of(address.begin(), address.end(),
                     [](char c) { return c == ':' || is_hex(std::string_view(&c, 1)); }))
      return false;
    domain.remove_prefix(end + 1);
    if (domain.empty()) return true;
    return domain.size() > 1 && domain[0] == ':' && std::all_of(domain.begin() + 1, domain.end(), is_digit);
  }
  if (const std::size_t colon = domain.find(':'); colon != std::string_view::npos) {
    const std::string_view port = domain.substr(colon + 1);
    if (port.empty() || !std::all_of(port.begin(), port.end(), is_digit)) return false;
    domain = domain.substr(0, colon);
  }
  return all_parts(domain, '.', valid_domain_component);
}

// Letters and digits in runs, one separator between two runs: ".", "_", "__" or any number of "-".
bool valid_path_component(std::string_view part) {
  std::size_t at = 0;
  const auto run = [&] {
    const std::size_t start = at;
    while (at < part.size() && is_lower_alnum(part[at])) ++at;
    return at > start;
  };
  if (!run()) return false;
  while (at < part.size()) {
    if (part[at] == '.') {
      ++at;
    } else if (part[at] == '_') {
      ++at;
      if (at < part.size() && part[at] == '_') ++at;
    } else if (part[at] == '-') {
      while (at < part.size() && part[at] == '-') ++at;
    } else {
      return false;
    }
    if (!run()) return false;
  }
  return true;
}

Result<> check_digest(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return fail(ErrorKind::invalid, "invalid reference format");
  const std::string_view algorithm = text.substr(0, colon), hex = text.substr(colon + 1);
  if (algorithm.empty() || hex.size() < 32 || !is_hex(lower(hex)))
    return fail(ErrorKind::invalid, "invalid reference format");
  if (algorithm != "sha256") return fail(ErrorKind::invalid, "unsupported digest algorithm");
  if (hex.size() != 64) return fail(ErrorKind::invalid, "invalid checksum digest length");
  if (has_upper(hex)) return fail(ErrorKind::invalid, "invalid checksum digest format");
  return {};
}

struct Split {
  std::string domain, rest;
};

// An image's id, which is no name.
bool is_full_id(std::string_view text) { return text.size() == 64 && is_hex(text) && !has_upper(text); }

// A dot, a port, localhost, a capital.
bool looks_like_host(std::string_view first) {
  return first.find_first_of(".:") != std::string_view::npos || first == "localhost" || has_upper(first);
}

// "host/rest" when the first part looks like a host, Docker Hub otherwise.
Split split_domain(std::string_view text) {
  Split out{std::string(default_domain), std::string(text)};
  if (const std::size_t slash = text.find('/'); slash != std::string_view::npos) {
    const std::string_view first = text.substr(0, slash);
    if (looks_like_host(first)) out = {std::string(first), std::string(text.substr(slash + 1))};
  }
  if (out.domain == legacy_domain) out.domain = default_domain;
  if (out.domain == default_domain && out.rest.find('/') == std::string::npos) out.rest.insert(0, official_prefix);
  return out;
}

}  // namespace

std::string Reference::name() const { return domain + "/" + path; }

Result<> Reference::may_be_given() const {
  if (familiar_name() == "sha256")
    return fail(ErrorKind::invalid, "refusing to create an ambiguous tag using digest algorithm as name");
  return {};
}

std::string Reference::familiar_name() const {
  if (domain != default_domain) return name();
  const bool official =
      path.starts_with(official_prefix) && path.find('/', official_prefix.size()) == std::string::npos;
  if (official && !is_full_id(path.substr(official_prefix.size()))) return path.substr(official_prefix.size());
  // Docker Hub's a.b/c is not the c of a host a.b: without its host it would be taken for that.
  return looks_like_host(path.substr(0, path.find('/'))) ? name() : path;
}

namespace {
std::string with_suffix(std::string text, const Reference& reference) {
  if (!reference.tag.empty()) text += ":" + reference.tag;
  if (!reference.digest.empty()) text += "@" + reference.digest;
  return text;
}
}  // namespace

std::string Reference::full() const { return with_suffix(name(), *this); }
std::string Reference::familiar() const { return with_suffix(familiar_name(), *this); }

Reference Reference::with_default_tag() const {
  Reference out = *this;
  if (name_only()) out.tag = "latest";
  return out;
}

bool valid_tag(std::string_view tag) {
  if (tag.empty() || tag.size() > 128 || tag[0] == '.' || tag[0] == '-') return false;
  return std::all_of(tag.begin(), tag.end(), [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '-'; });
}

Result<Reference> parse_reference(std::string_view text) {
  if (text.empty() || text.size() > max_reference) return fail(ErrorKind::invalid, "invalid reference format");
  if (is_full_id(text))
    return fail(ErrorKind::invalid, "invalid repository name ({}), cannot specify 64-byte hexadecimal strings", text);
  Reference out;
  std::string_view rest_of_text = text;
  if (const std::size_t at = text.find('@'); at != std::string_view::npos) {
    CHECK(check_digest(text.substr(at + 1)));
    out.digest = text.substr(at + 1);
    rest_of_text = text.substr(0, at);
  }
  Split split = split_domain(rest_of_text);
  std::string_view path = split.rest;
  if (const std::size_t colon = path.find(':'); colon != std::string_view::npos) {
    out.tag = path.substr(colon + 1);
    if (!valid_tag(out.tag)) return fail(ErrorKind::invalid, "invalid reference format");
    path = path.substr(0, colon);
  }
  if (has_upper(path)) {
    if (!all_parts(lower(path), '/', valid_path_component)) return fail(ErrorKind::invalid, "invalid reference format");
    return fail(ErrorKind::invalid, "invalid reference format: repository name ({}) must be lowercase", path);
  }
  if (!valid_domain(split.domain) || !all_parts(path, '/', valid_path_component))
    return fail(ErrorKind::invalid, "invalid reference format");
  out.domain = std::move(split.domain);
  out.path = path;
  if (out.path.size() > max_name)
    return fail(ErrorKind::invalid, "repository name must not be more than {} characters", max_name);
  return out;
}

}  // namespace corten::oci
