#include "dockerfile/lines.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "dockerfile/directives.h"
#include "dockerfile/text.h"

namespace corten::dockerfile {
namespace {

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

// The lines of a text, numbered from 1. `whole` has the line's end, which a here-document keeps as it is.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}
  bool at_end() const { return rest_.empty(); }
  unsigned number() const { return number_; }

  std::string_view next_whole() {
    const std::size_t end = rest_.find('\n');
    const std::string_view whole = rest_.substr(0, end == std::string_view::npos ? end : end + 1);
    rest_.remove_prefix(whole.size());
    ++number_;
    return whole;
  }
  std::string_view next() { return without_end(next_whole()); }

  static std::string_view without_end(std::string_view line) {
    if (line.ends_with('\n')) line.remove_suffix(1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }

 private:
  std::string_view rest_;
  unsigned number_ = 0;
};

bool is_comment(std::string_view line) { return trim(line).starts_with('#'); }

// Takes the escape character off the end where it continues the line. Two of them are one that is escaped.
bool take_continuation(std::string& line, char escape) {
  const std::size_t last = line.find_last_not_of(" \t");
  if (last == std::string::npos || line[last] != escape) return false;
  if (last > 0 && line[last - 1] == escape) return false;
  line.resize(last);
  return true;
}

bool takes_heredocs(std::string_view line) {
  const auto first = [&line] {
    line = trim(line);
    const std::string_view word = line.substr(0, std::ranges::find_if(line, is_blank) - line.begin());
    line.remove_prefix(word.size());
    return word;
  };
  std::string_view word = first();
  if (equal_fold(word, "ONBUILD")) word = first();
  return std::ranges::any_of(std::array<std::string_view, 3>{"RUN", "COPY", "ADD"},
                             [word](std::string_view name) { return equal_fold(word, name); });
}

// The words of a shell's line with their quotes; none where a quote is not closed.
std::vector<std::string> shell_words(std::string_view line) {
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && quote != '\'') {
      ++i;
    } else if (quote == 0 && (line[i] == '"' || line[i] == '\'')) {
      quote = line[i];
    } else if (line[i] == quote) {
      quote = 0;
    }
  }
  return quote == 0 ? split_quoted(line, '\\') : std::vector<std::string>();
}

class Builder {
 public:
  Builder(std::string_view text, std::optional<char> escape)
      : reader_(text), plain_(escape.has_value()), directives_(escape.value_or('\\')) {}

  std::expected<FileLines, Problem> build() {
    std::string comment;
    while (!reader_.at_end()) {
      const std::string_view line = reader_.next();
      const std::string_view trimmed = trim(line);
      if (!plain_) {
        if (auto read = directives_.line(trimmed); !read)
          return std::unexpected(Problem{here(), "", std::move(read).error()});
      }
      if (trimmed.starts_with('#')) {
        const std::string_view said = trim(trimmed.substr(1));
        if (said.empty()) comment.clear();
        if (!said.empty() && !comment.empty()) comment += '\n';
        comment += said;
        continue;
      }
      if (trimmed.empty()) {
        comment.clear();
        continue;
      }
      if (auto taken = instruction(line, std::exchange(comment, {})); !taken)
        return std::unexpected(std::move(taken).error());
    }
    result_.directives = directives_.result();
    result_.count = reader_.number();
    return std::move(result_);
  }

 private:
  Lines here() const { return {reader_.number(), reader_.number()}; }

  std::expected<void, Problem> instruction(std::string_view first, std::string comment) {
    LogicalLine logical{{}, here(), {}, std::move(comment), 0};
    const char escape = directives_.result().escape;
    std::string line(first.substr(std::min(first.size(), first.find_first_not_of(" \t\v\f\r"))));
    bool more = take_continuation(line, escape);
    std::string text = std::move(line);
    while (more && !reader_.at_end()) {
      std::string next(reader_.next());
      if (is_comment(next)) continue;
      if (trim(next).empty()) {
        if (logical.empty_continuation == 0) logical.empty_continuation = reader_.number();
        continue;
      }
      more = take_continuation(next, escape);
      text += next;
    }
    logical.text = trim(text);
    logical.lines.last = reader_.number();
    if (logical.text.empty()) return {};  // nothing but continuations
    if (result_.lines.size() == max_instructions)
      return std::unexpected(
          Problem{logical.lines, "", fmt::format("a Dockerfile has at most {} instructions", max_instructions)});
    if (takes_heredocs(logical.text)) {
      if (auto read = heredocs(logical); !read) return read;
    }
    result_.lines.push_back(std::move(logical));
    return {};
  }

  std::expected<void, Problem> heredocs(LogicalLine& logical) {
    const unsigned head = logical.lines.last;
    for (const std::string& word : shell_words(logical.text)) {
      auto heredoc = heredoc_word(word);
      if (!heredoc) continue;
      if (!read_body(*heredoc)) {
        const std::string keyword = to_upper(logical.text.substr(0, logical.text.find_first_of(" \t")));
        const std::string name = quoted(heredoc->name);
        return std::unexpected(
            Problem{{logical.lines.first, head},
                    shown(keyword),
                    fmt::format("unterminated heredoc {}: no line up to the end of the file is {}", name, name)});
      }
      logical.heredocs.push_back(std::move(*heredoc));
    }
    logical.lines.last = reader_.number();
    return {};
  }

  // False: the file ends before the document does.
  bool read_body(Heredoc& heredoc) {
    while (!reader_.at_end()) {
      std::string_view whole = reader_.next_whole();
      if (heredoc.strip_tabs) whole.remove_prefix(std::min(whole.find_first_not_of('\t'), whole.size()));
      if (Reader::without_end(whole) == heredoc.name) return true;
      heredoc.content += whole;
    }
    return false;
  }

  Reader reader_;
  bool plain_;
  DirectiveReader directives_;
  FileLines result_;
};

}  // namespace

std::optional<Heredoc> heredoc_word(std::string_view word) {
  std::size_t at = 0;
  while (at < word.size() && word[at] >= '0' && word[at] <= '9') ++at;  // a file descriptor, which the shell minds
  if (word.substr(at, 2) != "<<") return std::nullopt;
  at += 2;
  Heredoc heredoc;
  heredoc.strip_tabs = at < word.size() && word[at] == '-';
  if (heredoc.strip_tabs) ++at;
  const std::string_view written = word.substr(at);
  if (written.empty() || written.find('<') != std::string_view::npos) return std::nullopt;
  char quote = 0;
  for (std::size_t i = 0; i < written.size(); ++i) {
    const char c = written[i];
    if (quote == 0 && is_blank(c)) return std::nullopt;
    if (c == '\\' && quote != '\'') {
      heredoc.expand = false;
      if (i + 1 < written.size()) heredoc.name += written[++i];
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
      heredoc.expand = false;
    } else if (c == quote) {
      quote = 0;
    } else {
      heredoc.name += c;
    }
  }
  if (quote != 0 || heredoc.name.empty()) return std::nullopt;
  return heredoc;
}

std::expected<FileLines, Problem> read_lines(std::string_view text, std::optional<char> escape) {
  if (text.size() > max_file_bytes)
    return std::unexpected(Problem{{}, "", fmt::format("the file is larger than {} MiB", max_file_bytes / (1U << 20))});
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {
    const auto line = 1 + static_cast<unsigned>(std::ranges::count(text.substr(0, zero), '\n'));
    return std::unexpected(Problem{{line, line}, "", "a zero byte: the file is not text in UTF-8"});
  }
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  return Builder(text, escape).build();
}

}  // namespace corten::dockerfile
