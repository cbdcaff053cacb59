#include "build/git_directory.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/cleanup.h"
#include "build/copy_sources.h"
#include "build/copy_target.h"
#include "build/git_inflate.h"

namespace corten::build {
namespace {

constexpr std::size_t piece = 64U << 10;

std::string big_endian(std::uint64_t value, unsigned bytes) {
  std::string text;
  for (unsigned i = bytes; i-- > 0;) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

std::string_view bytes_of(const ObjectId& id) {
  return {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()};
}

// gitformat-index, version 2. No times: Git then looks at the files themselves.
std::string index_of(const GitFiles& files) {
  std::vector<const GitFiles::Indexed*> all;
  for (const auto& one : files.indexed) all.push_back(&one);
  std::ranges::sort(all, {}, &GitFiles::Indexed::path);
  std::string index = "DIRC" + big_endian(2, 4) + big_endian(all.size(), 4);
  for (const auto* one : all) {
    std::string entry(24, '\0');  // two times, device, inode
    entry += big_endian(one->mode, 4) + std::string(8, '\0') + big_endian(one->size & 0xffffffff, 4);
    entry += bytes_of(one->id);
    entry += big_endian(std::min<std::size_t>(one->path.size(), 0xfff), 2) + one->path;
    entry.append(8 - entry.size() % 8, '\0');
    index += entry;
  }
  Sha1 hash;
  hash.update(index);
  ObjectId sum;
  hash.finish(sum.bytes);
  return index += bytes_of(sum);
}

// A zlib stream into the pool.
class Deflater {
 public:
  Deflater(context::PoolWriter& writer) : writer_(writer) { ready_ = ::deflateInit(&stream_, 6) == Z_OK; }
  ~Deflater() { ::deflateEnd(&stream_); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  Result<> add(std::string_view text, bool last) {
    if (!ready_) return fail(ErrorKind::exhausted, "no memory to pack an object");
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream_.avail_in = static_cast<uInt>(text.size());
    std::array<std::byte, piece> out;
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(out.data());
      stream_.avail_out = out.size();
      if (::deflate(&stream_, last ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR)
        return fail(ErrorKind::internal, "an object cannot be packed");
      CHECK(writer_.write(std::span(out).first(out.size() - stream_.avail_out)));
    } while (stream_.avail_out == 0);
    return {};
  }

 private:
  context::PoolWriter& writer_;
  z_stream stream_{};
  bool ready_ = false;
};

class Maker {
 public:
  Maker(const GitDirectory& what, context::Pool& pool, context::Hold& hold) : what_(what), pool_(pool), hold_(hold) {}

  Result<std::vector<context::Entry>> run(const std::stop_token& stop) {
    for (const char* folder : {".git/objects", ".git/refs/heads", ".git/refs/tags"})
      folders(std::string(folder) + "/x");
    const std::string commit = what_.commit.id.hex() + "\n";
    CHECK(file(".git/HEAD", commit));
    CHECK(file(".git/config",
               fmt::format("[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"
                           "[remote \"origin\"]\n\turl = {}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
                           quoted(what_.remote))));
    CHECK(file(".git/index", index_of(what_.files)));
    if (what_.shallow) CHECK(file(".git/shallow", commit));
    const bool has_place = what_.name.starts_with("refs/") && std::ranges::count(what_.name, '/') >= 2;
    if (has_place && in_tree(what_.name) == what_.name && !what_.name.ends_with(".lock"))
      CHECK(file(".git/" + what_.name, commit));
    for (const auto& [id, object] : what_.objects.all()) {
      if (stop.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
      CHECK(loose(id, object));
    }
    return std::move(entries_);
  }

 private:
  static std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out + '"';
  }

  void folders(const std::string& path) {
    for (std::string_view above = parent_of(path); !above.empty(); above = parent_of(above)) {
      if (!made_.emplace(above).second) return;
      entries_.push_back({.path = std::string(above),
                          .kind = context::Kind::directory,
                          .mode = 0755,
                          .mtime_ns = what_.commit.time_ns});
    }
  }

  void add(std::string path, std::uint32_t mode, std::uint64_t size, oci::Digest digest) {
    folders(path);
    entries_.push_back({.path = std::move(path),
                        .mode = mode,
                        .mtime_ns = what_.commit.time_ns,
                        .size = size,
                        .digest = std::move(digest)});
  }

  Result<> file(std::string path, std::string_view text) {
    auto digest = TRY(pool_.add(text, hold_));
    add(std::move(path), 0644, text.size(), std::move(digest));
    return {};
  }

  Result<> loose(const ObjectId& id, const GitObject& object) {
    const auto writer = TRY(pool_.writer(hold_));
    Deflater deflater(*writer);
    const std::uint64_t size = object.kind == GitKind::blob ? object.blob.size : object.text.size();
    std::string head = fmt::format("{} {}", kind_name(object.kind), size);
    head += '\0';
    CHECK(deflater.add(head, false));
    if (object.kind == GitKind::blob)
      CHECK(add_blob(deflater, object.blob));
    else
      CHECK(deflater.add(object.text, true));
    const std::string hex = id.hex();
    const std::uint64_t packed = writer->size();
    add(fmt::format(".git/objects/{}/{}", hex.substr(0, 2), hex.substr(2)), 0444, packed, TRY(writer->commit()));
    return {};
  }

  Result<> add_blob(Deflater& deflater, const GitBlob& blob) {
    store::FdSource source(TRY(pool_.reader(blob.digest)));
    std::string buffer(piece, '\0');
    for (;;) {
      const std::size_t got = TRY(source.read(std::as_writable_bytes(std::span(buffer))));
      CHECK(deflater.add(std::string_view(buffer).substr(0, got), got == 0));
      if (got == 0) return {};
    }
  }

  const GitDirectory& what_;
  context::Pool& pool_;
  context::Hold& hold_;
  std::set<std::string, std::less<>> made_;
  std::vector<context::Entry> entries_;
};

}  // namespace

Result<std::vector<context::Entry>> make_git_directory(const GitDirectory& what, context::Pool& pool,
                                                       context::Hold& hold, const std::stop_token& stop) {
  return Maker(what, pool, hold).run(stop);
}

}  // namespace corten::build
