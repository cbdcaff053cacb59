// The order in which a repository's tags are shown.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace corten::cli {

// "latest", then versions from the newest to the oldest, then names. "1.27" stands before "1.27.3", as it is moved to
// the newest of them; "1.27.3-alpine" behind "1.27.3", and "1.27.3-rc1" behind both. Numbers of any length compare as
// numbers ("1.10" is newer than "1.9"), in names too.
void sort_tags(std::vector<std::string>& tags);

// "sha256-<64 digits>" and what is behind a dot: not an image but what goes with one (signatures, lists of parts).
bool is_attachment(std::string_view tag);

// Whether `a` stands before `b`.
bool tag_before(std::string_view a, std::string_view b);

}  // namespace corten::cli
