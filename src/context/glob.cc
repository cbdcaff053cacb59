#include "context/glob.h"

#include <algorithm>

namespace corten::context {
namespace {

constexpr std::size_t max_pattern = 4096;
constexpr char32_t not_utf8 = 0x110000;  // + the byte: beyond all characters

struct Decoded {
  char32_t character;
  std::size_t length;
};

// One character; a byte that begins none stands for itself.
Decoded decode(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return {first, 1};
  const Decoded raw{not_utf8 + first, 1};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return raw;
  char32_t out = first & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0U) != 0x80) return raw;
    out = out << 6 | (next & 0x3fU);
  }
  constexpr char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (out < least[length] || out > 0x10ffff || (out >= 0xd800 && out < 0xe000)) return raw;
  return {out, length};
}

void encode(char32_t c, std::string& out) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (c >= not_utf8) return put(c - not_utf8);
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xc0 | c >> 6);
  } else {
    if (c < 0x10000) {
      put(0xe0 | c >> 12);
    } else {
      put(0xf0 | c >> 18);
      put(0x80 | (c >> 12 & 0x3f));
    }
    put(0x80 | (c >> 6 & 0x3f));
  }
  put(0x80 | (c & 0x3f));
}

std::unexpected<Error> bad(std::string_view pattern, std::string_view why) {
  return fail(ErrorKind::invalid, "syntax error in pattern {:?}: {}", pattern, why);
}

}  // namespace

// `at` is behind the "["; gives where the class ends.
Result<std::size_t> Glob::read_set(std::string_view pattern, std::size_t at) {
  Token token{.kind = Kind::set, .ranges = static_cast<std::uint32_t>(sets_.size())};
  Ranges ranges;
  if (at < pattern.size() && pattern[at] == '^') {
    token.negated = true;
    ++at;
  }
  const auto one = [&]() -> Result<char32_t> {
    if (at == pattern.size()) return bad(pattern, "a class is not closed");
    if (pattern[at] == '-' || pattern[at] == ']') return bad(pattern, "a class has a range without its ends");
    if (pattern[at] == '\\') ++at;
    if (at == pattern.size()) return bad(pattern, "a class is not closed");
    const Decoded next = decode(pattern.substr(at));
    at += next.length;
    return next.character;
  };
  while (ranges.empty() || at == pattern.size() || pattern[at] != ']') {
    const char32_t low = TRY(one());
    char32_t high = low;
    if (at < pattern.size() && pattern[at] == '-') {
      ++at;
      high = TRY(one());
    }
    ranges.emplace_back(low, high);
  }
  sets_.push_back(std::move(ranges));
  tokens_.push_back(token);
  return at + 1;
}

Result<Glob> Glob::compile(std::string_view pattern, Rules rules) {
  if (pattern.size() > max_pattern)
    return fail(ErrorKind::invalid, "pattern of {} bytes is longer than {}", pattern.size(), max_pattern);
  Glob out;
  for (std::size_t at = 0; at < pattern.size();) {
    const char c = pattern[at];
    if (c == '*' && rules == Rules::deep && pattern.substr(at, 2) == "**") {
      const bool first = at == 0;
      at += 2;
      const bool slash = at < pattern.size() && pattern[at] == '/';
      if (slash) ++at;
      // "**x" at the very beginning is any text that ends in x, unless x has wildcards: so it is in the field.
      if (at == pattern.size() || (first && !slash && pattern.find_first_of("*?[]\\", at) == std::string_view::npos)) {
        out.tokens_.push_back({.kind = Kind::deep});
      } else {
        out.tokens_.push_back({.kind = Kind::deep_first});
        out.tokens_.push_back({.kind = Kind::deep_rest});
      }
    } else if (c == '*') {
      ++at;
      if (out.tokens_.empty() || out.tokens_.back().kind != Kind::star) out.tokens_.push_back({.kind = Kind::star});
    } else if (c == '?') {
      ++at;
      out.tokens_.push_back({.kind = Kind::any});
    } else if (c == '[') {
      at = TRY(out.read_set(pattern, at + 1));
    } else {
      if (c == '\\') ++at;
      if (at == pattern.size()) return bad(pattern, "nothing comes after the last \"\\\"");
      const Decoded next = decode(pattern.substr(at));
      at += next.length;
      out.tokens_.push_back({.character = next.character});
    }
  }
  out.finish();
  return out;
}

void Glob::finish() {
  const auto wild = [](const Token& token) { return token.kind != Kind::character; };
  const auto first = std::ranges::find_if(tokens_, wild);
  literal_ = first == tokens_.end();
  for (auto token = tokens_.begin(); token != first; ++token) encode(token->character, head_);
  if (literal_) return;
  auto last = tokens_.end();
  while (!wild(*std::prev(last))) --last;
  for (auto token = last; token != tokens_.end(); ++token) encode(token->character, tail_);
}

// The state "all before this token has matched", and those that follow from it without a character.
void Glob::set(States& states, std::size_t token) const {
  for (;;) {
    states[token / 64] |= 1ULL << (token % 64);
    if (token == tokens_.size()) return;
    const Kind kind = tokens_[token].kind;
    if (kind == Kind::star || kind == Kind::deep) {
      ++token;
    } else if (kind == Kind::deep_first) {
      token += 2;
    } else {
      return;
    }
  }
}

bool Glob::in_set(const Token& token, char32_t c) const {
  const bool found = std::ranges::any_of(sets_[token.ranges],
                                         [c](const auto& range) { return range.first <= c && c <= range.second; });
  return found != token.negated;
}

void Glob::step(const States& from, char32_t c, States& to) const {
  for (std::size_t word = 0; word < from.size(); ++word) {
    for (std::uint64_t bits = from[word]; bits != 0; bits &= bits - 1) {
      const std::size_t at = word * 64 + static_cast<std::size_t>(__builtin_ctzll(bits));
      if (at == tokens_.size()) continue;
      const Token& token = tokens_[at];
      switch (token.kind) {
        case Kind::character:
          if (token.character == c) set(to, at + 1);
          break;
        case Kind::any:
          if (c != '/') set(to, at + 1);
          break;
        case Kind::set:
          if (c != '/' && in_set(token, c)) set(to, at + 1);
          break;
        case Kind::star:
          if (c != '/') set(to, at);
          break;
        case Kind::deep: set(to, at); break;
        case Kind::deep_first:
        case Kind::deep_rest: {
          // (.*/)?: within it, it can only be left behind a slash.
          const std::size_t rest = at + (token.kind == Kind::deep_first ? 1 : 0);
          to[rest / 64] |= 1ULL << (rest % 64);
          if (c == '/') set(to, rest + 1);
        }
      }
    }
  }
}

// False: nothing that begins with this text can match.
bool Glob::run(std::string_view text, States& states) const {
  states.assign(tokens_.size() / 64 + 1, 0);
  States next(states.size());
  set(states, 0);
  while (!text.empty()) {
    const Decoded character = decode(text);
    text.remove_prefix(character.length);
    std::ranges::fill(next, 0);
    step(states, character.character, next);
    if (std::ranges::all_of(next, [](std::uint64_t word) { return word == 0; })) return false;
    std::swap(states, next);
  }
  return true;
}

bool Glob::matches(std::string_view path) const {
  if (literal_) return path == head_;
  if (!path.starts_with(head_) || !path.ends_with(tail_)) return false;
  States states;
  return run(path, states) && (states[tokens_.size() / 64] >> (tokens_.size() % 64) & 1) != 0;
}

bool Glob::may_match_below(std::string_view directory) const {
  if (directory.empty()) return true;
  const std::size_t common = std::min(directory.size(), head_.size());
  if (directory.substr(0, common) != std::string_view(head_).substr(0, common)) return false;
  States states;
  return run(std::string(directory) + '/', states);
}

bool has_wildcards(std::string_view pattern) {
  for (std::size_t at = 0; at < pattern.size(); ++at) {
    if (pattern[at] == '\\') {
      ++at;
    } else if (pattern[at] == '*' || pattern[at] == '?' || pattern[at] == '[') {
      return true;
    }
  }
  return false;
}

std::string clean_path(std::string_view path) {
  const bool rooted = path.starts_with('/');
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == ".." && !parts.empty() && parts.back() != "..") {
      parts.pop_back();
    } else if (part != ".." || !rooted) {
      parts.push_back(part);
    }
  }
  std::string out = rooted ? "/" : "";
  for (const std::string_view part : parts) {
    if (!out.empty() && out.back() != '/') out += '/';
    out += part;
  }
  return out.empty() ? "." : out;
}

}  // namespace corten::context
