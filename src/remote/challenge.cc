#include <algorithm>

#include "remote/auth.h"
#include "remote/text.h"

namespace corten::remote {
namespace {

constexpr std::size_t max_text = 16 << 10;
constexpr std::size_t max_challenges = 16;
constexpr std::size_t max_parameters = 16;

bool is_token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// Reads `Scheme name=value, name="value", Scheme2 …` from the left.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text.substr(0, max_text)) {}

  void read(std::vector<Challenge>& into) {
    while (into.size() < max_challenges) {
      skip_separators();
      const auto word = token();
      if (word.empty()) return;
      into.push_back({.scheme = lower(word), .parameters = {}});
      if (!parameters(into.back())) return;
    }
  }

 private:
  void skip_separators() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t' || rest_[0] == ',')) rest_.remove_prefix(1);
  }
  void skip_blanks() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t')) rest_.remove_prefix(1);
  }
  std::string_view token() {
    const auto end = std::ranges::find_if_not(rest_, is_token_char);
    const auto word = rest_.substr(0, static_cast<std::size_t>(end - rest_.begin()));
    rest_.remove_prefix(word.size());
    return word;
  }
  // Up to the next scheme, which is a word without '='. False: not understood.
  bool parameters(Challenge& challenge) {
    for (;;) {
      skip_separators();
      const auto before = rest_;
      const auto name = token();
      skip_blanks();
      if (name.empty() || !rest_.starts_with('=')) {
        rest_ = before;
        return rest_.empty() || !name.empty();
      }
      rest_.remove_prefix(1);
      skip_blanks();
      std::string value;
      if (!quoted_or_token(value) || challenge.parameters.size() == max_parameters) return false;
      challenge.parameters.emplace(lower(name), std::move(value));
    }
  }
  bool quoted_or_token(std::string& value) {
    if (!rest_.starts_with('"')) {
      value = token();
      return true;
    }
    for (std::size_t i = 1; i < rest_.size(); ++i) {
      if (rest_[i] == '"') {
        rest_.remove_prefix(i + 1);
        return true;
      }
      if (rest_[i] == '\\' && i + 1 < rest_.size()) ++i;
      value += rest_[i];
    }
    return false;
  }

  std::string_view rest_;
};

}  // namespace

std::string_view Challenge::get(const std::string& name) const {
  const auto found = parameters.find(name);
  return found == parameters.end() ? std::string_view() : std::string_view(found->second);
}

std::vector<Challenge> parse_challenges(const http::Headers& headers) {
  std::vector<Challenge> challenges;
  for (const auto& [name, value] : headers)
    if (http::equals_ignoring_case(name, "WWW-Authenticate")) Reader(value).read(challenges);
  return challenges;
}

}  // namespace corten::remote
