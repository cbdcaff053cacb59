// Whether a layer is what it would be made into again. Private to the drivers.
#pragma once

#include <cstdint>

#include "base/error.h"

namespace corten::store {

// In all comparisons `one` is what is there, of which nothing is believed, and `other` was made just now. What cannot
// be read of `one` is not the same; an error of reading `other` is an error.

// What an error of reading `one` says: that it is not the same. That something is exhausted or unavailable says
// nothing, and stays an error.
Result<bool> unlike(Error why);

// Byte for byte, from the disk where that can be had: what lies in memory may be better than what it came from. Takes
// regular files open for reading.
Result<bool> same_file(int one, int other);

// `unpacked`: a directory that the tar does not list has the time of its making, so times of directories do not count.
// `image`: they do, and so does how many links a file has.
enum class TreeKind : std::uint8_t { unpacked, image };

// Two directories: names, types, modes, owners, times, attributes, contents. Not told apart: access times, numbers of
// inodes, and which names are hard links of each other.
Result<bool> same_tree(int one, int other, TreeKind kind = TreeKind::unpacked);

}  // namespace corten::store
