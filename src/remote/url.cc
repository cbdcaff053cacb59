#include "remote/url.h"

#include <algorithm>
#include <charconv>

#include "http/headers.h"
#include "remote/address.h"
#include "remote/text.h"

namespace corten::remote {
namespace {

constexpr std::size_t max_url = 16 << 10;
constexpr std::size_t max_host = 253;
constexpr std::uint16_t https_port = 443;
constexpr std::uint16_t http_port = 80;

std::uint16_t usual_port(bool tls) { return tls ? https_port : http_port; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::unexpected<Error> refuse(std::string_view text, std::string_view why) {
  return fail(ErrorKind::invalid, "invalid URL \"{}\": {}", printable(text, 200), why);
}

// Resolvers read "127.1", "0x7f000001" and "017700000001" as addresses, too; a name ends in a label with a letter.
bool looks_numeric(std::string_view host) {
  const auto label = host.substr(host.rfind('.') + 1);
  return std::ranges::all_of(label, is_digit) || label.starts_with("0x");
}

bool valid_host(std::string_view host) {
  if (host.empty() || host.size() > max_host) return false;
  if (Address::parse(host)) return host.find('%') == std::string_view::npos;
  if (host.front() == '.' || host.front() == '-' || host.find("..") != std::string_view::npos || looks_numeric(host))
    return false;
  return std::ranges::all_of(
      host, [](char c) { return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '.' || c == '_'; });
}

// "host:port" with the port left at 0 where there is none.
bool split_authority(std::string_view text, Url& url) {
  std::string_view host = text;
  std::string_view port;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return false;
    host = text.substr(1, end - 1);
    if (host.find(':') == std::string_view::npos) return false;
    const auto rest = text.substr(end + 1);
    if (!rest.empty() && (rest[0] != ':' || rest.size() == 1)) return false;
    if (!rest.empty()) port = rest.substr(1);
  } else if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.empty()) return false;
  }
  url.host = lower(host);
  url.port = 0;
  if (!port.empty()) {
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), url.port);
    if (error != std::errc() || end != port.data() + port.size() || url.port == 0) return false;
  }
  return valid_host(url.host);
}

// Bytes that do not belong in a request line are escaped; what is escaped stays.
std::string safe_target(std::string_view text) {
  std::string target;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f) {
      target += c;
    } else {
      target += http::percent_encode(std::string_view(&c, 1));
    }
  }
  return target;
}

bool has_control(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

}  // namespace

std::string Url::authority() const {
  const auto name = host.find(':') != std::string::npos ? "[" + host + "]" : host;
  return port == usual_port(tls) ? name : fmt::format("{}:{}", name, port);
}

std::string Url::origin() const { return (tls ? "https://" : "http://") + authority(); }

std::string Url::shown() const { return printable(origin() + target.substr(0, target.find('?')), 300); }

Result<Url> parse_url(std::string_view text) {
  if (text.size() > max_url) return refuse(text, "it is too long");
  if (has_control(text)) return refuse(text, "it has control characters in it");
  text = text.substr(0, text.find('#'));
  Url url;
  const auto scheme_end = text.find("://");
  const auto scheme = scheme_end == std::string_view::npos ? std::string() : lower(text.substr(0, scheme_end));
  if (scheme != "http" && scheme != "https") return refuse(text, "want http:// or https://");
  url.tls = scheme == "https";
  text.remove_prefix(scheme_end + 3);
  const auto end = text.find_first_of("/?\\");
  const auto authority = text.substr(0, end);
  if (authority.find('@') != std::string_view::npos) return refuse("", "it carries a user name");
  if (!split_authority(authority, url)) return refuse(authority, "no host that can be used");
  if (url.port == 0) url.port = usual_port(url.tls);
  if (end != std::string_view::npos) {
    url.target = safe_target(text.substr(end));
    if (!url.target.starts_with('/')) url.target.insert(0, "/");
  }
  return url;
}

Result<Url> resolve_url(const Url& base, std::string_view text) {
  if (text.size() > max_url) return refuse(text, "it is too long");
  if (has_control(text)) return refuse(text, "it has control characters in it");
  if (text.empty()) return refuse(text, "it is empty");
  const auto scheme_end = text.find("://");
  if (scheme_end != std::string_view::npos && scheme_end < text.find_first_of("/?#")) return parse_url(text);
  if (text.starts_with("//")) return parse_url((base.tls ? "https:" : "http:") + std::string(text));
  text = text.substr(0, text.find('#'));
  Url url = base;
  const auto path = base.target.substr(0, base.target.find('?'));
  if (text.starts_with('/')) {
    url.target = safe_target(text);
  } else if (text.starts_with('?') || text.empty()) {
    url.target = path + safe_target(text);
  } else {
    const auto colon = text.find(':');
    if (colon != std::string_view::npos && colon < text.find_first_of("/?")) return refuse(text, "want http or https");
    url.target = path.substr(0, path.rfind('/') + 1) + safe_target(text);
  }
  return url;
}

Result<Url> parse_authority(std::string_view text, bool tls) {
  Url url;
  url.tls = tls;
  if (!split_authority(text, url)) return fail(ErrorKind::invalid, "invalid host \"{}\"", printable(text, 200));
  return url;
}

std::string with_parameter(std::string_view target, std::string_view name, std::string_view value) {
  const char separator = target.find('?') == std::string_view::npos ? '?' : '&';
  return fmt::format("{}{}{}={}", target, separator, name, http::percent_encode(value));
}

}  // namespace corten::remote
