// Small things about text that the parser, the expander and the checks share.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace corten::dockerfile {

// Blanks within a line, and at its ends.
inline bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\v' || c == '\f' || c == '\r'; }
std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
bool equal_fold(std::string_view a, std::string_view b);
bool contains(std::span<const std::string_view> names, std::string_view name);

// For messages: in double quotes as Go's %q writes it, cut after 100 bytes, control characters and bytes that are not
// UTF-8 escaped, so that what a file says reaches no terminal unseen.
std::string quoted(std::string_view text);
// The same without quotes: for names that Docker's texts show bare.
std::string shown(std::string_view text);
// A line for people to look at: tabs as blanks, '?' for control characters and bytes that are not UTF-8, cut after
// `widest` bytes.
std::string visible(std::string_view text, std::size_t widest);

// " (did you mean RUN?)" where one of `known` is near enough to what was written, "" otherwise.
std::string did_you_mean(std::string_view written, std::span<const std::string_view> known,
                         std::string_view prefix = "");

// At blanks, as written; no quotes are known here (FROM, EXPOSE, COPY without JSON).
std::vector<std::string> split_blanks(std::string_view text);
// At blanks that are not in quotes, as written: quotes and escapes stay (ENV, LABEL, ARG). A quote that is not closed
// goes to the end; expand() then says so.
std::vector<std::string> split_quoted(std::string_view text, char escape);
// One record of comma separated values; a field in double quotes may hold commas.
std::vector<std::string> split_commas(std::string_view text);

}  // namespace corten::dockerfile
