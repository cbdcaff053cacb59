#include "build/git_address.h"

#include <algorithm>
#include <charconv>

#include "build/copy.h"
#include "build/copy_sources.h"
#include "remote/text.h"

namespace corten::build {
namespace {

constexpr std::size_t max_address = 8192;
constexpr std::size_t max_ref = 1024;

bool is_plain(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; });
}

bool is_word(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

bool is_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_web(std::string_view text) { return text.starts_with("https://") || text.starts_with("http://"); }

std::string_view before_query(std::string_view text) { return text.substr(0, text.find_first_of("#?")); }

// user@host:path
bool is_scp(std::string_view text) {
  const std::size_t at = text.find('@');
  if (at == std::string_view::npos || !is_word(text.substr(0, at))) return false;
  const std::string_view rest = text.substr(at + 1);
  const std::size_t colon = rest.find(':');
  return colon != std::string_view::npos && colon > 0 && rest.find('/') > colon && rest.size() > colon + 1;
}

bool is_repository(std::string_view text) {
  if (is_web(text)) return before_query(text).ends_with(".git");
  return text.starts_with("git://") || text.starts_with("ssh://") || is_scp(text);
}

Result<bool> boolean(std::string_view name, std::string_view value) {
  if (value.empty() || value == "1" || value == "true") return true;
  if (value == "0" || value == "false") return false;
  return fail(ErrorKind::invalid, "Git address: {}={:?} is neither true nor false", name, value.substr(0, 40));
}

// What comes after '?' and '#'.
class Rest {
 public:
  explicit Rest(GitAddress& address) : address_(address) {}

  Result<> query(std::string_view text) {
    const auto query = TRY_AS(http::Query::parse(text), "Git address");
    for (const auto& [name, value] : query) {
      if (name == "ref")
        CHECK(set(address_.ref, value, name));
      else if (name == "tag")
        CHECK(set(address_.ref, "refs/tags/" + value, name));
      else if (name == "branch")
        CHECK(set(address_.ref, "refs/heads/" + value, name));
      else if (name == "subdir")
        CHECK(set(address_.folder, value, name));
      else if (name == "checksum" || name == "commit")
        CHECK(set(address_.commit, value, name));
      else if (name == "keep-git-dir")
        address_.keep_git_dir = TRY(boolean(name, value));
      else if (name == "submodules")
        address_.submodules = TRY(boolean(name, value));
      else
        return fail(ErrorKind::invalid, "Git address: unexpected query {:?}", name.substr(0, 40));
    }
    return {};
  }

  // ref:folder
  Result<> fragment(std::string_view text) {
    const std::size_t colon = text.find(':');
    const auto ref = TRY_AS(http::percent_decode(text.substr(0, colon)), "Git address");
    CHECK(set(address_.ref, ref, "the fragment's ref"));
    if (colon == std::string_view::npos) return {};
    return set(address_.folder, TRY_AS(http::percent_decode(text.substr(colon + 1)), "Git address"),
               "the fragment's folder");
  }

 private:
  static Result<> set(std::string& field, std::string_view value, std::string_view what) {
    if (value.empty()) return {};
    if (!field.empty() && field != value) return fail(ErrorKind::invalid, "Git address: {} is given twice", what);
    if (value.size() > max_ref) return fail(ErrorKind::invalid, "Git address: {} is too long", what);
    field = std::string(value);
    return {};
  }
  GitAddress& address_;
};

Result<> check(GitAddress& address) {
  if (!is_plain(address.ref)) return fail(ErrorKind::invalid, "Git address: the ref has blanks or control characters");
  if (address.commit.size() > 64 || !is_hex(address.commit) || (!address.commit.empty() && address.commit.size() < 7))
    return fail(ErrorKind::invalid, "Git address: the checksum is no commit, want 7 to 40 hexadecimal digits");
  address.folder = in_tree(address.folder);
  return {};
}

// host[:port]/path
Result<> read_host(GitAddress& address, std::string_view text) {
  const std::size_t slash = text.find('/');
  std::string_view authority = text.substr(0, slash);
  if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
  const auto parsed = TRY_AS(remote::parse_authority(authority, false), "Git address");
  address.host = parsed.host;
  address.port = parsed.port;
  address.path =
      slash == std::string_view::npos ? "/" : TRY_AS(http::percent_decode(text.substr(slash)), "Git address");
  if (address.path.size() < 2) return fail(ErrorKind::invalid, "Git address: no repository is named");
  return {};
}

Result<> read_place(GitAddress& address, std::string_view text) {
  if (is_web(text)) {
    address.web = TRY(WebAddress::parse(text));
    while (address.web.url.target.ends_with('/')) address.web.url.target.pop_back();
    address.shown = address.web.url.shown();
    return {};
  }
  if (text.starts_with("git://")) {
    address.transport = GitAddress::Transport::git;
    CHECK(read_host(address, text.substr(6)));
  } else if (text.starts_with("ssh://")) {
    address.transport = GitAddress::Transport::ssh;
    CHECK(read_host(address, text.substr(6)));
  } else {
    address.transport = GitAddress::Transport::ssh;
    const std::size_t colon = text.find(':');
    CHECK(read_host(address, fmt::format("{}/{}", text.substr(0, colon), text.substr(colon + 1))));
  }
  address.shown = fmt::format("{}://{}{}", address.transport == GitAddress::Transport::git ? "git" : "ssh",
                              address.host, remote::printable(address.path, 300));
  return {};
}

}  // namespace

SourceKind source_kind(std::string_view source, bool as_context) {
  if (is_repository(source) || (as_context && source.starts_with("github.com/"))) return SourceKind::repository;
  return is_web(source) ? SourceKind::url : SourceKind::path;
}

std::string without_users(std::string_view text) {
  std::string out;
  for (;;) {
    const std::size_t scheme = text.find("://");
    if (scheme == std::string_view::npos) return out += text;
    out += text.substr(0, scheme + 3);
    text.remove_prefix(scheme + 3);
    const std::string_view authority = text.substr(0, text.find_first_of("/?# \t\n\"'"));
    if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) text.remove_prefix(at + 1);
  }
}

Result<std::optional<GitAddress>> GitAddress::parse(std::string_view text, bool as_context) {
  std::string whole(text);
  if (as_context && text.starts_with("github.com/"))
    whole.insert(0, "https://");
  else if (!is_repository(text))
    return std::nullopt;
  if (whole.size() > max_address) return fail(ErrorKind::invalid, "Git address: it is too long");
  if (!is_plain(whole)) return fail(ErrorKind::invalid, "Git address: it has blanks or control characters");
  GitAddress address;
  Rest rest(address);
  std::string_view place = whole;
  if (const std::size_t hash = place.find('#'); hash != std::string_view::npos) {
    CHECK(rest.fragment(place.substr(hash + 1)));
    place = place.substr(0, hash);
  }
  if (const std::size_t mark = place.find('?'); mark != std::string_view::npos) {
    CHECK(rest.query(place.substr(mark + 1)));
    place = place.substr(0, mark);
  }
  CHECK(check(address));
  CHECK(read_place(address, place));
  return address;
}

}  // namespace corten::build
