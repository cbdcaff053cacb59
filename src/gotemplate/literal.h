// Go's literals as values.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "gotemplate/value.h"

namespace corten::gotemplate {

// "quoted" with escapes, or `raw`.
Result<std::string> unquote(std::string_view text);
// An integer (any base, underscores), a float or a character constant 'x'.
Result<Value> parse_number(std::string_view text);
void append_utf8(std::string& out, char32_t rune);
// The rune at the front of `text` and its length in bytes; a bad sequence gives U+FFFD of one byte.
std::pair<char32_t, std::size_t> decode_utf8(std::string_view text);

}  // namespace corten::gotemplate
