#include "dockerfile/glob.h"

#include <algorithm>

#include "dockerfile/text.h"

namespace corten::dockerfile {
namespace {

// The second and later bytes of a character in UTF-8.
bool continues(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// How many bytes the character that ends (or begins) at `at` has. Bytes that are no UTF-8 stand for themselves.
std::size_t character(std::string_view text, std::size_t at, bool backwards) {
  std::size_t length = 1;
  if (backwards) {
    while (length < 4 && length < at && continues(text[at - length])) ++length;
  } else {
    while (length < 4 && at + length < text.size() && continues(text[at + length])) ++length;
  }
  return length;
}

}  // namespace

Result<Glob> Glob::parse(std::string_view pattern, char escape) {
  Glob glob;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (c == '*') {
      if (glob.tokens_.empty() || glob.tokens_.back().kind != Kind::any) glob.tokens_.push_back({Kind::any, 0});
      continue;
    }
    if (c == '?') {
      glob.tokens_.push_back({Kind::one, 0});
      continue;
    }
    if (c == '\\' || c == escape) {
      const std::string_view next = pattern.substr(i + 1, 1);
      const bool known =
          !next.empty() && (std::string_view("*?\\}/").find(next[0]) != std::string_view::npos || next[0] == escape);
      if (!known)
        return fail(ErrorKind::invalid, "invalid pattern ({}) in substitution: invalid escape '{}{}'", shown(pattern),
                    c, shown(next));
      c = pattern[++i];
    }
    glob.tokens_.push_back({Kind::byte, c});
  }
  return glob;
}

// All places in the pattern that the text so far can have led to, side by side: never more work than the product of
// both lengths, whatever the pattern.
Glob::Found Glob::match(std::string_view text, bool longest, bool backwards, std::size_t& budget) const {
  const std::size_t count = tokens_.size();
  const auto token = [&](std::size_t i) { return backwards ? tokens_[count - 1 - i] : tokens_[i]; };
  // A character of several bytes leads as many places ahead: four sets, one for each byte that may come.
  std::vector<std::vector<bool>> ahead(5, std::vector<bool>(count + 1, false));
  ahead[0][0] = true;
  std::optional<std::size_t> best;
  for (std::size_t done = 0;; ++done) {
    if (budget <= count) return fail(ErrorKind::invalid, "the pattern is too costly for this text");
    budget -= count + 1;
    std::vector<bool>& now = ahead[0];
    bool alive = false;
    for (std::size_t i = 0; i < count; ++i) {
      if (!now[i]) continue;
      alive = true;
      if (token(i).kind == Kind::any) now[i + 1] = true;
    }
    if (now[count]) {
      best = done;
      if (!longest) return best;
    }
    if (done == text.size()) return best;
    const std::size_t at = backwards ? text.size() - done : done;
    const char c = backwards ? text[at - 1] : text[at];
    const std::size_t width = character(text, at, backwards);
    for (std::size_t i = 0; alive && i < count; ++i) {
      if (!now[i]) continue;
      const Token want = token(i);
      if (want.kind == Kind::any) ahead[width][i] = true;
      if (want.kind == Kind::one) ahead[width][i + 1] = true;
      if (want.kind == Kind::byte && want.byte == c) ahead[1][i + 1] = true;
    }
    bool any = false;
    now.assign(count + 1, false);
    std::rotate(ahead.begin(), ahead.begin() + 1, ahead.end());
    for (const auto& set : ahead)
      for (const bool place : set) any = any || place;
    if (!any) return best;
  }
}

Glob::Found Glob::prefix(std::string_view text, bool longest, std::size_t& budget) const {
  return match(text, longest, false, budget);
}

Glob::Found Glob::suffix(std::string_view text, bool longest, std::size_t& budget) const {
  return match(text, longest, true, budget);
}

}  // namespace corten::dockerfile
