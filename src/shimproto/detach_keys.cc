#include "shimproto/log_options.h"

namespace corten::shimproto {
namespace {

constexpr std::string_view default_keys = "ctrl-p,ctrl-q";

// "a", or "ctrl-" and a letter or one of @ [ \ ] ^ _: the ASCII control character. 0 with ok false if neither.
bool parse_key(std::string_view key, char& out) {
  constexpr std::string_view prefix = "ctrl-";
  if (key.size() == 1) {
    out = key[0];
    return true;
  }
  if (!key.starts_with(prefix) || key.size() != prefix.size() + 1) return false;
  const char c = key.back();
  if (c >= 'a' && c <= 'z') {
    out = static_cast<char>(c - 'a' + 1);
    return true;
  }
  constexpr std::string_view others = "@[\\]^_";
  if (others.find(c) == std::string_view::npos) return false;
  out = static_cast<char>(c - '@');
  return true;
}

}  // namespace

Result<std::string> parse_detach_keys(std::string_view keys) {
  std::string bytes;
  std::string_view rest = keys.empty() ? default_keys : keys;
  for (;;) {
    const std::size_t comma = rest.find(',');
    char key = 0;
    if (!parse_key(rest.substr(0, comma), key))
      return fail(ErrorKind::invalid, "Invalid detach keys ({}) provided", keys);
    bytes.push_back(key);
    if (comma == std::string_view::npos) return bytes;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace corten::shimproto
