#include "dockerfile/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace corten::dockerfile {
namespace {

constexpr std::size_t longest_shown = 100;

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// The length of the UTF-8 sequence at the front, 0 where there is none.
std::size_t sequence(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const std::size_t length = first < 0x80                    ? 1
                             : first >= 0xc2 && first < 0xe0 ? 2
                             : first >= 0xe0 && first < 0xf0 ? 3
                             : first >= 0xf0 && first < 0xf5 ? 4
                                                             : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  return length;
}

// U+0080 to U+009F are control characters, too: 0xc2 and a byte below 0xa0.
bool is_control(std::string_view text, std::size_t length) {
  const auto first = static_cast<unsigned char>(text[0]);
  return first < 0x20 || first == 0x7f || (length == 2 && first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0);
}

std::string escaped(std::string_view text, bool quotes) {
  std::string out;
  const bool cut = text.size() > longest_shown;
  const std::size_t end = cut ? longest_shown : text.size();
  for (std::size_t i = 0; i < end;) {
    const char c = text[i];
    const std::size_t length = sequence(text.substr(i));
    const bool control = is_control(text.substr(i), length);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (length == 0 || control) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      if (quotes && (c == '"' || c == '\\')) out += '\\';
      out += text.substr(i, length);
      i += length;
      continue;
    }
    ++i;
  }
  return cut ? out + "…" : out;
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0U);
  std::vector<std::size_t> before;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::vector<std::size_t> above = row;
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      row[j + 1] = std::min({above[j + 1] + 1, row[j] + 1, above[j] + (a[i] == b[j] ? 0U : 1U)});
      // Two letters in the wrong order are one slip of the fingers.
      if (i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j]) row[j + 1] = std::min(row[j + 1], before[j - 1] + 1);
    }
    before = above;
  }
  return row.back();
}

}  // namespace

std::string to_upper(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), upper);
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

bool equal_fold(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

bool contains(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

std::string quoted(std::string_view text) { return "\"" + escaped(text, true) + "\""; }
std::string shown(std::string_view text) { return escaped(text, false); }

std::string visible(std::string_view text, std::size_t widest) {
  std::string out;
  std::size_t i = 0;
  while (i < text.size() && i < widest) {
    const std::size_t length = sequence(text.substr(i));
    if (text[i] == '\t') {
      out += "    ";
    } else if (length == 0 || is_control(text.substr(i), length)) {
      out += '?';
    } else {
      out += text.substr(i, length);
    }
    i += std::max<std::size_t>(length, 1);
  }
  return i < text.size() ? out + "…" : out;
}

std::string did_you_mean(std::string_view written, std::span<const std::string_view> known, std::string_view prefix) {
  constexpr std::size_t longest_name = 64;
  if (written.empty() || written.size() > longest_name) return {};
  const std::string folded = to_lower(written);
  std::string_view best;
  std::size_t least = 4;  // further away it is another word
  for (const std::string_view name : known) {
    const std::size_t far = distance(folded, to_lower(name));
    if (far < least && far < name.size() && far * 2 <= std::max(name.size(), written.size())) {
      least = far;
      best = name;
    }
  }
  return best.empty() || best == written ? std::string() : fmt::format(" (did you mean {}{}?)", prefix, shown(best));
}

std::vector<std::string> split_blanks(std::string_view text) {
  std::vector<std::string> words;
  for (std::size_t i = 0; i < text.size();) {
    while (i < text.size() && is_blank(text[i])) ++i;
    const std::size_t start = i;
    while (i < text.size() && !is_blank(text[i])) ++i;
    if (i > start) words.emplace_back(text.substr(start, i - start));
  }
  return words;
}

std::vector<std::string> split_quoted(std::string_view text, char escape) {
  std::vector<std::string> words;
  std::string word;
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote == 0 && is_blank(c)) {
      if (!word.empty()) words.push_back(std::exchange(word, {}));
      continue;
    }
    if (c == escape && quote != '\'') {
      if (i + 1 == text.size()) break;  // at the very end it escapes nothing
      word += c;
      word += text[++i];
      continue;
    }
    if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else if (c == quote) {
      quote = 0;
    }
    word += c;
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

std::vector<std::string> split_commas(std::string_view text) {
  std::vector<std::string> fields(1);
  bool in_quotes = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"' && (in_quotes || fields.back().empty())) {
      if (in_quotes && i + 1 < text.size() && text[i + 1] == '"') {
        fields.back() += text[++i];
      } else {
        in_quotes = !in_quotes;
      }
    } else if (c == ',' && !in_quotes) {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  return fields;
}

}  // namespace corten::dockerfile
