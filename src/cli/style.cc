#include "cli/style.h"

#include <cstdlib>

#include "cli/terminal.h"

namespace corten::cli {
namespace {

// The length of the control character at `at`, 0 where there is none. C1 controls are two bytes of UTF-8.
std::size_t control_length(std::string_view text, std::size_t at) {
  const auto c = static_cast<unsigned char>(text[at]);
  if (c < 0x20 || c == 0x7f) return 1;
  if (c == 0xc2 && at + 1 < text.size()) {
    const auto next = static_cast<unsigned char>(text[at + 1]);
    if (next >= 0x80 && next < 0xa0) return 2;
  }
  return 0;
}

std::string cleaned(std::string_view text, bool keep_layout) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = control_length(text, at);
    if (length == 0) {
      out += text[at++];
      continue;
    }
    const bool layout = text[at] == '\t' || text[at] == '\n';
    out += !layout ? '?' : keep_layout ? text[at] : ' ';
    at += length;
  }
  return out;
}

}  // namespace

bool can_redraw(int fd) {
  if (!is_terminal(fd)) return false;
  const char* term = std::getenv("TERM");
  return term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
}

bool can_colour(int fd) {
  const char* plain = std::getenv("NO_COLOR");
  return (plain == nullptr || *plain == '\0') && can_redraw(fd);
}

bool speaks_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string_view text = value;
    for (const std::string_view word : {"UTF-8", "utf-8", "UTF8", "utf8"})
      if (text.find(word) != std::string_view::npos) return true;
    return false;
  }
  return false;
}

std::string coloured(std::string_view text, Colour colour) {
  static constexpr std::string_view codes[] = {"", "\x1b[1m", "\x1b[31m", "\x1b[33m"};
  const auto end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  if (colour == Colour::none || line.empty()) return std::string(text);
  std::string out(codes[static_cast<std::size_t>(colour)]);
  out += line;
  out += "\x1b[0m";
  if (end != std::string_view::npos) out += text.substr(end);
  return out;
}

std::string printable(std::string_view text) { return cleaned(text, false); }
std::string printable_lines(std::string_view text) { return cleaned(text, true); }

}  // namespace corten::cli
