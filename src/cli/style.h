// What a terminal gets beyond plain text, and what it must not get.
#pragma once

#include <string>
#include <string_view>

namespace corten::cli {

// Whether `fd` is a terminal that may be written to with cursor movements: TERM names one and is not "dumb".
bool can_redraw(int fd);
// The same, and the user has not asked for plain text (NO_COLOR set to anything).
bool can_colour(int fd);

// Whether the locale says that terminals show UTF-8.
bool speaks_utf8();

enum class Colour : unsigned char { none, bold, red, yellow };
// `text` in that colour, its first line only; line breaks at its end stay outside.
std::string coloured(std::string_view text, Colour colour);

// Text of foreign origin (names, labels, paths, command lines) for a terminal or a table's cell: control characters,
// with which a container could move the cursor or retitle the window, become '?'; tabs and line breaks become blanks.
std::string printable(std::string_view text);
// The same for whole lines of output: tabs and line breaks stay.
std::string printable_lines(std::string_view text);

}  // namespace corten::cli
