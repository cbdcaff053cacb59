// Variables in words: $name, ${name}, ${name:-word} and all other modifiers of the Dockerfile reference, with the
// quoting of the shell that it describes.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace corten::dockerfile {

// The value of a variable, or none where it is not set.
using Lookup = std::function<std::optional<std::string>(std::string_view name)>;

struct Expanded {
  std::string text;
  std::set<std::string> used;   // variables that were looked at, set or not
  std::set<std::string> unset;  // used without a default and not set
};

struct ExpandOptions {
  char escape = '\\';
  bool keep_quotes = false;  // single and double quotes stay in the result (RUN's flags, labels of old clients)
};

// One word, quotes removed: "a b" stays one. `invalid` says what is wrong (a brace that is not closed, an unknown
// modifier, ${x:?text} without x). The result is bounded: 1 MiB.
Result<Expanded> expand(std::string_view word, const Lookup& lookup, const ExpandOptions& options = {});
// Several words: unquoted blanks in values split them (EXPOSE $PORTS, COPY $FILES /).
Result<std::vector<std::string>> expand_words(std::string_view text, const Lookup& lookup,
                                              const ExpandOptions& options = {}, Expanded* seen = nullptr);
// The body of a here-document: variables, no quotes.
Result<Expanded> expand_heredoc(std::string_view text, const Lookup& lookup, const ExpandOptions& options = {});

}  // namespace corten::dockerfile
