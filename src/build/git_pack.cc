#include "build/git_pack.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/cleanup.h"
#include "base/id.h"
#include "build/git_inflate.h"
#include "sys/files.h"

namespace corten::build {
namespace {

constexpr std::size_t piece = 256U << 10;
constexpr std::size_t hash_bytes = 20;
constexpr std::size_t pack_head = 12;
constexpr std::uint64_t in_memory = 1U << 20;  // a larger file goes to the pool in pieces

std::unexpected<Error> broken(std::string_view what) { return fail(ErrorKind::invalid, "broken pack: {}", what); }

void begin_hash(Sha1& hash, GitKind kind, std::uint64_t size) {
  hash.update(fmt::format("{} {}", kind_name(kind), size));
  hash.update(std::string_view("\0", 1));
}

ObjectId id_of(GitKind kind, std::string_view text) {
  Sha1 hash;
  begin_hash(hash, kind, text.size());
  hash.update(text);
  ObjectId id;
  hash.finish(id.bytes);
  return id;
}

// A number in groups of seven bits, the lowest first.
std::optional<std::uint64_t> number(std::string_view& text) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; !text.empty() && shift < 57; shift += 7) {
    const auto byte = static_cast<unsigned char>(text.front());
    text.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7fU} << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return std::nullopt;
}

// The parts that are there of a number of `count` bytes, as `flags` say.
std::optional<std::uint64_t> sparse_number(std::string_view& text, unsigned flags, unsigned count) {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < count; ++i) {
    if ((flags >> i & 1) == 0) continue;
    if (text.empty()) return std::nullopt;
    value |= std::uint64_t{static_cast<unsigned char>(text.front())} << (8 * i);
    text.remove_prefix(1);
  }
  return value;
}

}  // namespace

std::string_view kind_name(GitKind kind) {
  switch (kind) {
    case GitKind::commit: return "commit";
    case GitKind::tree: return "tree";
    case GitKind::blob: return "blob";
    case GitKind::tag: return "tag";
  }
  return "";
}

Result<std::string> apply_delta(std::string_view base, std::string_view delta, std::uint64_t max_bytes) {
  const auto wrong = [] { return broken("a difference is damaged"); };
  const auto from = number(delta), to = number(delta);
  if (!from || !to || *from != base.size()) return wrong();
  if (*to > max_bytes) return fail(ErrorKind::invalid, "an object of {} bytes is too large", *to);
  std::string out;
  out.reserve(*to);
  while (!delta.empty()) {
    const auto op = static_cast<unsigned char>(delta.front());
    delta.remove_prefix(1);
    std::string_view part;
    if ((op & 0x80) != 0) {
      const auto offset = sparse_number(delta, op & 0xfU, 4);
      auto size = sparse_number(delta, op >> 4 & 7U, 3);
      if (!offset || !size) return wrong();
      if (*size == 0) size = 0x10000;
      if (*offset > base.size() || *size > base.size() - *offset) return wrong();
      part = base.substr(*offset, *size);
    } else {
      if (op == 0 || op > delta.size()) return wrong();
      part = delta.substr(0, op);
      delta.remove_prefix(op);
    }
    if (part.size() > *to - out.size()) return wrong();
    out += part;
  }
  if (out.size() != *to) return wrong();
  return out;
}

std::optional<ObjectId> ObjectId::parse(std::string_view hex) {
  if (hex.size() != 2 * hash_bytes) return std::nullopt;
  ObjectId id;
  for (std::size_t i = 0; i < hash_bytes; ++i) {
    const char* at = hex.data() + 2 * i;
    const auto [end, error] = std::from_chars(at, at + 2, id.bytes[i], 16);
    if (error != std::errc() || end != at + 2) return std::nullopt;
  }
  return id;
}

std::string ObjectId::hex() const { return to_hex(std::as_bytes(std::span(bytes))); }

std::size_t ObjectIdHash::operator()(const ObjectId& id) const {
  std::size_t hash = 0;
  std::memcpy(&hash, id.bytes.data(), sizeof hash);
  return hash;
}

const GitObject* GitObjects::find(const ObjectId& id) const {
  const auto found = objects_.find(id);
  return found == objects_.end() ? nullptr : &found->second;
}

Result<> GitObjects::keep(const ObjectId& id, GitKind kind, std::string text) {
  if (objects_.contains(id)) return {};
  GitObject object{.kind = kind, .text = {}, .blob = {}};
  if (kind == GitKind::blob) {
    object.blob = {.digest = TRY(pool_.add(text, hold_)), .size = text.size()};
  } else {
    kept_ += text.size();
    if (kept_ > limits_.memory)
      return fail(ErrorKind::invalid, "the repository's folders have more than {} bytes", limits_.memory);
    object.text = std::move(text);
  }
  objects_.emplace(id, std::move(object));
  return {};
}

// One pack in a mapped file.
class PackReader {
 public:
  PackReader(GitObjects& objects, std::string_view pack, const std::stop_token& stop)
      : objects_(objects), limits_(objects.limits_), pack_(pack), stop_(stop) {}

  Result<> run() {
    const auto word = [&](std::size_t at) {
      std::uint32_t value = 0;
      for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(pack_[at + i]);
      return value;
    };
    if (pack_.size() < pack_head + hash_bytes || !pack_.starts_with("PACK") || (word(4) != 2 && word(4) != 3))
      return broken("it is none");
    const std::uint32_t count = word(8);
    if (count > limits_.objects) return fail(ErrorKind::invalid, "more than {} objects", limits_.objects);
    end_ = pack_.size() - hash_bytes;
    at_ = pack_head;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (stop_.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
      CHECK(read_one());
    }
    if (at_ != end_) return broken("there is something behind the last object");
    return resolve();
  }

 private:
  struct Place {
    std::size_t at = 0;  // of its zlib stream
    std::uint64_t size = 0;
    GitKind kind = GitKind::blob;
  };
  struct Delta {
    Place place;
    bool done = false;
  };

  std::span<const std::byte> packed(std::size_t at) const {
    return std::as_bytes(std::span(pack_.data() + at, end_ - at));
  }
  Result<std::string> inflate(const Place& place) const {
    if (place.size > limits_.object_bytes)
      return fail(ErrorKind::invalid, "an object of {} bytes is too large", place.size);
    std::string text;
    text.reserve(place.size);
    static_cast<void>(TRY(inflate_object(packed(place.at), place.size, [&](std::string_view part) -> Result<> {
      text += part;
      return {};
    })));
    return text;
  }
  Result<> count_bytes(std::uint64_t size) {
    total_ += size;
    if (total_ > limits_.total_bytes)
      return fail(ErrorKind::invalid, "more than {} bytes when unpacked", limits_.total_bytes);
    return {};
  }

  // Type and size, then the object or what it differs in, and from what.
  Result<> read_one() {
    const std::size_t start = at_;
    if (at_ >= end_) return broken("it has fewer objects than it says");
    const auto first = static_cast<unsigned char>(pack_[at_]);
    std::string_view rest = pack_.substr(at_ + 1, end_ - at_ - 1);
    std::uint64_t size = first & 0xfU;
    if ((first & 0x80) != 0) {
      const auto more = number(rest);
      if (!more || *more >= 1ULL << 50) return broken("an object's size is none");
      size |= *more << 4;
    }
    const unsigned type = first >> 4 & 7U;
    if (type >= 1 && type <= 4) {
      at_ = end_ - rest.size();
      return read_whole(start, {.at = at_, .size = size, .kind = static_cast<GitKind>(type)});
    }
    Delta delta{.place = {.at = 0, .size = size}};
    if (type == 6) {
      const auto base = read_offset(start, rest);
      if (!base) return broken("a base is no object");
      delta.place.at = end_ - rest.size();
      by_offset_[*base].push_back(deltas_.size());
    } else if (type == 7 && rest.size() > hash_bytes) {
      ObjectId base;
      std::memcpy(base.bytes.data(), rest.data(), hash_bytes);
      delta.place.at = end_ - rest.size() + hash_bytes;
      by_id_[base].push_back(deltas_.size());
    } else {
      return broken("an object of an unknown kind");
    }
    delta_at_.push_back(start);
    deltas_.push_back(delta);
    // Before it is unpacked: only its end tells where the next object is.
    if (size > limits_.object_bytes) return fail(ErrorKind::invalid, "a delta of {} bytes is too large", size);
    CHECK(count_bytes(size));
    const auto go_on = [&](std::string_view) -> Result<> {
      if (stop_.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
      return {};
    };
    at_ = delta.place.at + TRY(inflate_object(packed(delta.place.at), size, go_on));
    return {};
  }

  std::optional<std::size_t> read_offset(std::size_t start, std::string_view& rest) const {
    std::uint64_t back = 0;
    for (unsigned i = 0; !rest.empty() && i < 8; ++i) {
      const auto byte = static_cast<unsigned char>(rest.front());
      rest.remove_prefix(1);
      back = (i == 0 ? 0 : (back + 1) << 7) | (byte & 0x7fU);
      if ((byte & 0x80) == 0) return back == 0 || back > start - pack_head ? std::nullopt : std::optional(start - back);
    }
    return std::nullopt;
  }

  Result<> read_whole(std::size_t start, const Place& place) {
    CHECK(count_bytes(place.size));
    if (place.kind == GitKind::blob && place.size > in_memory) return read_large(start, place);
    if (place.size > limits_.object_bytes)
      return fail(ErrorKind::invalid, "an object of {} bytes is too large", place.size);
    std::string text;
    text.reserve(place.size);
    at_ = place.at + TRY(inflate_object(packed(place.at), place.size, [&](std::string_view part) -> Result<> {
            text += part;
            return {};
          }));
    const ObjectId id = id_of(place.kind, text);
    whole_.emplace_back(start, id, place);
    return objects_.keep(id, place.kind, std::move(text));
  }

  Result<> read_large(std::size_t start, const Place& place) {
    if (place.size > limits_.file_bytes) return fail(ErrorKind::invalid, "a file of {} bytes is too large", place.size);
    Sha1 hash;
    begin_hash(hash, place.kind, place.size);
    const auto writer = TRY(objects_.pool_.writer(objects_.hold_));
    at_ = place.at + TRY(inflate_object(packed(place.at), place.size, [&](std::string_view part) -> Result<> {
            hash.update(part);
            return writer->write(std::as_bytes(std::span(part)));
          }));
    ObjectId id;
    hash.finish(id.bytes);
    whole_.emplace_back(start, id, place);
    GitObject object{.kind = GitKind::blob, .text = {}, .blob = {}};
    object.blob = {.digest = TRY(writer->commit()), .size = place.size};
    objects_.objects_.emplace(id, std::move(object));
    return {};
  }

  // From each whole object down all that differs from it, then from what that gives: one line of texts at a time is in
  // memory.
  Result<> resolve() {
    for (const auto& [start, id, place] : whole_) {
      if (!by_offset_.contains(start) && !by_id_.contains(id)) continue;
      CHECK(resolve_below(start, id, place));
    }
    if (resolved_ != deltas_.size()) return broken("an object's base is not in it");
    return {};
  }

  struct Level {
    std::string text;
    std::vector<std::size_t> waiting;  // deltas on it
  };
  std::vector<std::size_t> waiting_for(std::size_t start, const ObjectId& id) {
    std::vector<std::size_t> all;
    if (const auto found = by_offset_.find(start); found != by_offset_.end()) all = found->second;
    if (const auto found = by_id_.find(id); found != by_id_.end())
      all.insert(all.end(), found->second.begin(), found->second.end());
    return all;
  }

  Result<> resolve_below(std::size_t start, const ObjectId& id, const Place& place) {
    std::vector<Level> levels;
    levels.push_back({.text = TRY(inflate(place)), .waiting = waiting_for(start, id)});
    std::uint64_t memory = levels.back().text.size();
    while (!levels.empty()) {
      Level& top = levels.back();
      if (top.waiting.empty()) {
        memory -= top.text.size();
        levels.pop_back();
        continue;
      }
      if (stop_.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
      const std::size_t index = top.waiting.back();
      top.waiting.pop_back();
      if (std::exchange(deltas_[index].done, true)) continue;
      ++resolved_;
      const std::string delta = TRY(inflate(deltas_[index].place));
      std::string text = TRY(apply_delta(top.text, delta, limits_.object_bytes));
      CHECK(count_bytes(text.size()));
      const ObjectId made = id_of(place.kind, text);
      auto waiting = waiting_for(delta_at_[index], made);
      if (waiting.empty()) {
        CHECK(objects_.keep(made, place.kind, std::move(text)));
        continue;
      }
      memory += text.size();
      if (memory > limits_.memory) return fail(ErrorKind::invalid, "objects need more than {} bytes", limits_.memory);
      CHECK(objects_.keep(made, place.kind, text));
      levels.push_back({.text = std::move(text), .waiting = std::move(waiting)});
    }
    return {};
  }

  GitObjects& objects_;
  const PackLimits& limits_;
  const std::string_view pack_;
  const std::stop_token& stop_;
  std::size_t at_ = 0, end_ = 0;
  std::uint64_t total_ = 0;
  std::vector<std::tuple<std::size_t, ObjectId, Place>> whole_;
  std::vector<Delta> deltas_;
  std::vector<std::size_t> delta_at_;
  std::size_t resolved_ = 0;
  std::unordered_map<std::size_t, std::vector<std::size_t>> by_offset_;
  std::unordered_map<ObjectId, std::vector<std::size_t>, ObjectIdHash> by_id_;
};

Result<> GitObjects::add(store::ByteSource& pack, const std::string& directory, const std::stop_token& stop) {
  const UniqueFd file = TRY(sys::open_file(directory, O_RDWR | O_TMPFILE, 0600));
  Sha1 hash;
  std::string tail;  // the last bytes are the hash of the others
  std::uint64_t size = 0;
  std::vector<std::byte> buffer(piece);
  for (;;) {
    const std::size_t got = TRY(store::read_full(pack, buffer));
    if (got == 0) break;
    size += got;
    if (size > limits_.pack_bytes) return fail(ErrorKind::invalid, "a pack of more than {} bytes", limits_.pack_bytes);
    const std::string_view bytes(reinterpret_cast<const char*>(buffer.data()), got);
    CHECK_AS(sys::write_all(file.get(), bytes), "write a pack");
    tail += bytes;
    if (tail.size() <= hash_bytes) continue;
    hash.update(std::string_view(tail).substr(0, tail.size() - hash_bytes));
    tail.erase(0, tail.size() - hash_bytes);
  }
  ObjectId sum;
  hash.finish(sum.bytes);
  if (tail.size() != hash_bytes || std::memcmp(tail.data(), sum.bytes.data(), hash_bytes) != 0)
    return broken("it is not what its sum says");
  void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (mapped == MAP_FAILED) return sys_fail("map a pack");
  const Cleanup unmap([&] { ::munmap(mapped, size); });
  return PackReader(*this, std::string_view(static_cast<const char*>(mapped), size), stop).run();
}

}  // namespace corten::build
