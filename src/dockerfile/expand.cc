#include "dockerfile/expand.h"

#include <utility>

#include "dockerfile/glob.h"
#include "dockerfile/text.h"

namespace corten::dockerfile {
namespace {

constexpr std::size_t max_result = 1U << 20;
constexpr std::size_t max_depth = 64;          // of ${a:-${b:-…
constexpr std::size_t max_steps = 20'000'000;  // of patterns, in one call

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_part(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_'; }

// Where the words of a text begin and end: blanks that come from the text or a variable part them, those that were
// quoted or escaped do not.
class Words {
 public:
  void add(char c) {
    if (!is_blank(c)) {
      word_ += c;
    } else if (!word_.empty()) {
      words_.push_back(std::exchange(word_, {}));
    }
  }
  void add(std::string_view text) {
    for (const char c : text) add(c);
  }
  void add_whole(std::string_view text) { word_ += text; }
  std::vector<std::string> take() {
    if (!word_.empty()) words_.push_back(std::move(word_));
    return std::move(words_);
  }

 private:
  std::vector<std::string> words_;
  std::string word_;
};

class Expander {
 public:
  Expander(std::string_view text, const Lookup& lookup, const ExpandOptions& options, bool quotes)
      : text_(text), lookup_(lookup), options_(options), quotes_(quotes) {}

  Result<Expanded> run() {
    auto done = until('\0');
    if (!done) return fail(ErrorKind::invalid, "failed to process {}: {}", quoted(text_), done.error().text());
    seen_.text = std::move(*done);
    return std::move(seen_);
  }
  std::vector<std::string> words() { return words_.take(); }

 private:
  bool at_end() const { return at_ >= text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  char next() { return at_end() ? '\0' : text_[at_++]; }

  Result<> put(std::string& out, std::string_view text) {
    if (out.size() + text.size() > max_result) return fail(ErrorKind::invalid, "the result is larger than 1 MiB");
    out += text;
    return {};
  }

  // To the end (`stop` is '\0') or behind `stop`. Words are noted at the outermost level only.
  Result<std::string> until(char stop) {
    const bool outer = stop == '\0';
    std::string out;
    while (!at_end()) {
      const char c = peek();
      if (!outer && c == stop) {
        ++at_;
        return out;
      }
      std::string piece;
      if (c == '$') {
        piece = TRY(dollar());
        if (outer) words_.add(piece);
      } else if (quotes_ && (c == '\'' || c == '"')) {
        piece = c == '"' ? TRY(double_quoted()) : TRY(single_quoted());
        if (outer) words_.add_whole(piece);
      } else if (c == options_.escape) {
        ++at_;
        if (raw_escapes_) piece += c;
        if (!at_end()) piece += next();
        if (outer) words_.add_whole(piece);
      } else {
        piece = next();
        if (outer) words_.add(c);
      }
      CHECK(put(out, piece));
    }
    if (outer) return out;
    return fail(ErrorKind::invalid, "syntax error: missing '{}'{}", stop, stop == '/' ? " in ${}" : "");
  }

  Result<std::string> single_quoted() {
    const std::size_t start = at_++;
    const std::size_t end = text_.find('\'', at_);
    if (end == std::string_view::npos)
      return fail(ErrorKind::invalid, "unexpected end of statement while looking for matching single-quote");
    at_ = end + 1;
    return std::string(options_.keep_quotes ? text_.substr(start, at_ - start)
                                            : text_.substr(start + 1, end - start - 1));
  }

  Result<std::string> double_quoted() {
    ++at_;
    std::string out(options_.keep_quotes ? "\"" : "");
    while (!at_end()) {
      if (peek() == '"') {
        ++at_;
        if (options_.keep_quotes) out += '"';
        return out;
      }
      if (peek() == '$') {
        const std::string value = TRY(dollar());
        CHECK(put(out, value));
        continue;
      }
      char c = next();
      if (c == options_.escape) {
        if (raw_escapes_) out += c;
        if (at_end()) break;
        // Only these have a meaning of their own within double quotes; before any other the escape stays.
        if (peek() == '"' || peek() == '$' || peek() == options_.escape) c = next();
      }
      CHECK(put(out, std::string_view(&c, 1)));
    }
    return fail(ErrorKind::invalid, "unexpected end of statement while looking for matching double-quote");
  }

  // A name, a number, or one of the shell's special parameters, which are never set here.
  std::string name() {
    const std::size_t start = at_;
    if (is_digit(peek())) {
      while (is_digit(peek())) ++at_;
    } else if (!at_end() && std::string_view("@*#?-$!").find(peek()) != std::string_view::npos) {
      ++at_;
    } else {
      while (is_name_part(peek())) ++at_;
    }
    return std::string(text_.substr(start, at_ - start));
  }

  // `excused`: it may be unset, because something is said for that case.
  std::optional<std::string> look_up(const std::string& variable, bool excused) {
    auto value = lookup_(variable);
    seen_.used.insert(variable);
    if (!value && !excused && !unused_) seen_.unset.insert(variable);
    return value;
  }

  Result<std::string> dollar() {
    ++at_;
    if (peek() != '{') {
      const std::string variable = name();
      if (variable.empty()) return std::string("$");
      return look_up(variable, false).value_or("");
    }
    ++at_;
    if (at_end()) return fail(ErrorKind::invalid, "syntax error: missing '}}'");
    if (peek() == '{' || peek() == '}' || peek() == ':')
      return fail(ErrorKind::invalid, "syntax error: bad substitution");
    if (depth_ == max_depth) return fail(ErrorKind::invalid, "variables within variables, {} levels deep", max_depth);
    ++depth_;
    auto value = braced();
    --depth_;
    return value;
  }

  // Behind "${".
  Result<std::string> braced() {
    const std::string variable = name();
    if (at_end()) return fail(ErrorKind::invalid, "syntax error: missing '}}'");
    const std::size_t start = at_;
    char modifier = next();
    if (modifier == '}') return look_up(variable, false).value_or("");
    const bool colon = modifier == ':';
    if (colon) modifier = next();
    switch (modifier) {
      case '-':
      case '+': return alternative(variable, modifier, colon);
      case '?': return required(variable, colon);
      case '#':
      case '%': return trimmed(variable, modifier);
      case '/':
        if (!colon) return replaced(variable);
        break;
      default: break;
    }
    return fail(ErrorKind::invalid, "unsupported modifier ({}) in substitution",
                shown(text_.substr(start, at_ - start)));
  }

  // The word behind a modifier. Where it will not be used, nothing in it is missed.
  Result<std::string> word(char stop, bool used, bool raw) {
    const bool was_unused = std::exchange(unused_, unused_ || !used);
    const bool was_raw = std::exchange(raw_escapes_, raw);
    auto text = until(stop);
    unused_ = was_unused;
    raw_escapes_ = was_raw;
    return text;
  }

  Result<std::string> alternative(const std::string& variable, char modifier, bool colon) {
    const auto value = look_up(variable, true);
    const bool there = value && !(colon && value->empty());
    const bool want_word = there == (modifier == '+');
    std::string other = TRY(word('}', want_word, false));
    if (want_word) return other;
    return there ? *value : std::string();
  }

  Result<std::string> required(const std::string& variable, bool colon) {
    const auto value = look_up(variable, true);
    const bool there = value && !(colon && value->empty());
    const std::string message = TRY(word('}', !there, false));
    if (there || unused_) return value.value_or("");
    return fail(ErrorKind::invalid, "{}: {}", variable,
                !message.empty() ? shown(message)
                : value          ? "is not allowed to be empty"
                                 : "is not allowed to be unset");
  }

  Result<std::string> trimmed(const std::string& variable, char modifier) {
    const bool longest = peek() == modifier;
    if (longest) ++at_;
    const std::string text = TRY(word('}', true, true));
    const Glob pattern = TRY(Glob::parse(text, options_.escape));
    const std::string value = look_up(variable, false).value_or("");
    if (modifier == '#') return value.substr(TRY(pattern.prefix(value, longest, budget_)).value_or(0));
    return value.substr(0, value.size() - TRY(pattern.suffix(value, longest, budget_)).value_or(0));
  }

  Result<std::string> replaced(const std::string& variable) {
    const bool all = peek() == '/';
    if (all) ++at_;
    const std::string text = TRY(word('/', true, true));
    const Glob pattern = TRY(Glob::parse(text, options_.escape));
    const std::string replacement = TRY(word('}', true, true));
    const std::string value = look_up(variable, false).value_or("");
    std::string out;
    std::size_t at = 0;
    // An empty match counts where no other ended.
    for (bool just_matched = false; at <= value.size();) {
      const std::string_view rest = std::string_view(value).substr(at);
      const auto length = TRY(pattern.prefix(rest, true, budget_));
      if (length && (*length > 0 || !just_matched)) {
        CHECK(put(out, replacement));
        at += *length;
        just_matched = *length > 0;
        if (!all) break;
        if (just_matched) continue;
      }
      just_matched = false;
      if (at < value.size()) out += value[at];
      ++at;
    }
    if (at < value.size()) CHECK(put(out, std::string_view(value).substr(at)));
    return out;
  }

  std::string_view text_;
  const Lookup& lookup_;
  const ExpandOptions& options_;
  bool quotes_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
  std::size_t budget_ = max_steps;
  bool raw_escapes_ = false;
  bool unused_ = false;  // within a word that will be thrown away
  Expanded seen_;
  Words words_;
};

}  // namespace

Result<Expanded> expand(std::string_view word, const Lookup& lookup, const ExpandOptions& options) {
  return Expander(word, lookup, options, true).run();
}

Result<std::vector<std::string>> expand_words(std::string_view text, const Lookup& lookup, const ExpandOptions& options,
                                              Expanded* seen) {
  Expander expander(text, lookup, options, true);
  Expanded found = TRY(expander.run());
  if (seen != nullptr) {
    seen->text = std::move(found.text);
    seen->used.merge(found.used);
    seen->unset.merge(found.unset);
  }
  return expander.words();
}

Result<Expanded> expand_heredoc(std::string_view text, const Lookup& lookup, const ExpandOptions& options) {
  return Expander(text, lookup, options, false).run();
}

}  // namespace corten::dockerfile
