#include "image/load.h"

namespace corten::image {
namespace {

constexpr std::size_t max_entries = 50'000;  // links and directories included, repeated names too
constexpr std::size_t max_document = 8U << 20;
// All configs and manifests of an archive: the daemon keeps what is in them for as long as it has the images.
constexpr std::uint64_t max_documents = 64U << 20;
constexpr int max_links = 8;

// "./a//b/../c" → "a/c"; ".." at the top stays there.
std::string normal(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (!parts.empty()) {
      parts.pop_back();
    }
  }
  std::string out;
  for (const std::string_view part : parts) out += (out.empty() ? "" : "/") + std::string(part);
  return out;
}

// What names a layer on a screen: its digest or old id, where the path has it.
std::string shown_id(const std::string& path) {
  constexpr std::string_view digits = "0123456789abcdef";
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find_first_not_of(digits, at), path.size());
    if (end - at >= 64) return path.substr(at, 12);
    at = end + 1;
  }
  return std::string(oci::Digest::of(path).hex().substr(0, 12));
}

// Tells how far a layer has been read.
class Watched : public store::ByteSource {
 public:
  Watched(store::ByteSource& source, std::string id, std::uint64_t total, const LoadOptions& options, LoadPace& pace)
      : source_(source), id_(std::move(id)), total_(total), options_(options), pace_(pace) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override {
    const std::size_t got = TRY(source_.read(buffer));
    current_ += got;
    // Who has heard of a layer hears of its end.
    if (options_.layer && (got == 0 ? std::exchange(told_, false) : pace_.is_due())) {
      options_.layer(id_, current_, total_);
      told_ = got != 0;
    }
    return got;
  }

 private:
  store::ByteSource& source_;
  const std::string id_;
  const std::uint64_t total_;
  const LoadOptions& options_;
  LoadPace& pace_;
  std::uint64_t current_ = 0;
  bool told_ = false;
};

}  // namespace

ArchiveFiles::~ArchiveFiles() {
  // All of them first: each waits for its threads, and the others' would work on meanwhile.
  for (const auto& [digest, layer] : layers_) layer->give_up();
}

Result<> ArchiveFiles::read(store::ByteSource& tar) {
  const auto plain = TRY(store::decompress(tar));
  store::TarReader reader(*plain);
  store::TarEntry entry;
  std::size_t entries = 0;
  while (TRY(reader.next(entry))) {
    if (++entries > max_entries) return fail(ErrorKind::invalid, "image archive has more than {} entries", max_entries);
    CHECK(add(reader, entry));
  }
  return {};
}

Result<> ArchiveFiles::add(store::TarReader& reader, const store::TarEntry& entry) {
  const std::string path = normal(entry.name);
  if (path.size() > 4096) return fail(ErrorKind::invalid, "image archive has a name of {} bytes", path.size());
  if (entry.type == store::TarType::directory) return {};
  // The last entry of a name is the one that counts.
  paths_.erase(path);
  links_.erase(path);
  if (entry.type == store::TarType::symlink) {
    const std::size_t slash = path.rfind('/');
    links_[path] = normal(path.substr(0, slash == std::string::npos ? 0 : slash) + "/" + entry.link);
    return {};
  }
  if (entry.type == store::TarType::hard_link) {
    links_[path] = normal(entry.link);
    return {};
  }
  if (entry.type != store::TarType::file) return {};
  if (entry.sparse) return fail(ErrorKind::invalid, "image archive: {:?} is a sparse file", path);
  if (is_here(path, entry.stored)) return {};
  store::TarEntrySource bytes(reader);
  std::vector<std::byte> head(store::tar_block);
  head.resize(TRY(store::read_full(bytes, head)));
  const bool is_tar = store::looks_like_tar(head);
  const bool is_packed = store::sniff_compression(head) != store::Compression::none;
  store::PrefixSource whole(std::move(head), bytes);
  if (!is_tar && !is_packed) return add_blob(whole, path, false);
  Watched watched(whole, shown_id(path), entry.stored, options_, pace_);
  return is_tar ? add_tar(watched, path) : add_blob(watched, path, true);
}

// The name says what it is; what is used is the store's own blob, so the name need not be true.
bool ArchiveFiles::is_here(const std::string& path, std::uint64_t size) {
  constexpr std::string_view folder = "blobs/sha256/";
  if (!path.starts_with(folder)) return false;
  const auto digest = oci::Digest::parse("sha256:" + path.substr(folder.size()));
  if (!digest || sizes_.contains(digest->text()) || !here_(*digest)) return false;
  const auto info = content_.info(*digest);
  if (!info || info->size != size) return false;
  paths_[path] = *digest;
  sizes_[digest->text()] = size;
  return true;
}

Result<> ArchiveFiles::add_tar(store::ByteSource& bytes, const std::string& path) {
  auto layer = TRY(ArchiveLayer::plain(store_, slots_));
  CHECK(layer->intake().read(bytes));
  CHECK(layer->intake().finish());
  const oci::Digest& digest = layer->intake().diff_id();
  paths_[path] = digest;
  sizes_[digest.text()] = layer->intake().size();
  tars_.insert(digest.text());
  layers_.emplace(digest.text(), std::move(layer));
  return {};
}

Result<> ArchiveFiles::add_blob(store::ByteSource& bytes, const std::string& path, bool is_packed) {
  store::BlobWriter blob = TRY(content_.writer());
  CHECK(store::copy(bytes, blob));
  const store::BlobInfo info = TRY(blob.seal());
  paths_[path] = info.digest;
  const std::string& name = info.digest.text();
  sizes_[name] = info.size;
  const auto [known, added] = writers_.emplace(name, std::move(blob));
  if (!is_packed || !added) return {};
  UniqueFd packed = TRY(known->second.read_back());
  if (auto layer = TRY(ArchiveLayer::packed(store_, slots_, std::move(packed))))
    layers_.emplace(name, std::move(layer));
  return {};
}

std::optional<oci::Digest> ArchiveFiles::resolve(const std::string& name) const {
  std::string path = normal(name);
  for (int i = 0; i < max_links; ++i) {
    if (const auto found = paths_.find(path); found != paths_.end()) return found->second;
    const auto link = links_.find(path);
    if (link == links_.end()) return std::nullopt;
    path = link->second;
  }
  return std::nullopt;
}

Result<oci::Digest> ArchiveFiles::digest(const std::string& path) const {
  const auto found = resolve(path);
  if (!found) return fail(ErrorKind::invalid, "image archive has no {:?}", path.substr(0, 200));
  return *found;
}

LayerIntake* ArchiveFiles::tar(const oci::Digest& digest) const {
  return tars_.contains(digest.text()) ? &layers_.at(digest.text())->intake() : nullptr;
}

Result<UniqueFd> ArchiveFiles::open(const oci::Digest& digest) {
  if (LayerIntake* layer = tar(digest)) {
    auto fd = layer->blob()->read_back();
    return fd ? std::move(fd) : content_.reader(layer->blob_info().digest);
  }
  if (!has_blob(digest)) return fail(ErrorKind::invalid, "image archive has no blob {}", digest.text());
  const auto found = writers_.find(digest.text());
  if (found == writers_.end()) return content_.reader(digest);
  auto fd = found->second.read_back();
  // Kept already, by this or another load.
  return fd ? std::move(fd) : content_.reader(digest);
}

Result<std::string> ArchiveFiles::text(const oci::Digest& digest) {
  store::FdSource source(TRY(open(digest)));
  std::string text = TRY(store::read_all(source, max_document, "document in the image archive"));
  documents_ += text.size();
  if (documents_ > max_documents)
    return fail(ErrorKind::invalid, "image archive has more than {} MiB of configs and manifests", max_documents >> 20);
  return text;
}

std::uint64_t ArchiveFiles::size(const oci::Digest& digest) const {
  const auto found = sizes_.find(digest.text());
  return found == sizes_.end() ? 0 : found->second;
}

Result<> ArchiveFiles::keep(const oci::Digest& digest) {
  if (content_.has(digest)) return {};
  if (tar(digest) != nullptr) {
    // Its manifest wants it as it was.
    store::FdSource packed(TRY(open(digest)));
    const auto plain = TRY(store::decompress(packed));
    store::BlobWriter blob = TRY(content_.writer());
    CHECK(store::copy(*plain, blob));
    CHECK(blob.commit(digest, std::nullopt, false));
    return {};
  }
  const auto found = writers_.find(digest.text());
  if (found == writers_.end()) return fail(ErrorKind::invalid, "image archive has no blob {}", digest.text());
  CHECK(found->second.commit(digest, std::nullopt, false));
  return {};
}

const store::BlobInfo* ArchiveFiles::packed(const oci::Digest& digest) const {
  LayerIntake* layer = tar(digest);
  return layer == nullptr ? nullptr : &layer->blob_info();
}

Result<> ArchiveFiles::keep_packed(const oci::Digest& digest) {
  LayerIntake* layer = tar(digest);
  if (layer == nullptr) return fail(ErrorKind::internal, "{} is no tar", digest.text());
  if (content_.has(layer->blob_info().digest)) return {};
  CHECK(layer->blob()->commit(std::nullopt, std::nullopt, false));
  return {};
}

Result<oci::Digest> ArchiveFiles::diff_id(const oci::Digest& digest) {
  // One whose staging failed has not been hashed to its end.
  if (const auto found = layers_.find(digest.text()); found != layers_.end())
    if (auto known = found->second->diff_id()) return known;
  store::FdSource blob(TRY(has_blob(digest) ? open(digest) : content_.reader(digest)));
  const auto tar = TRY(store::decompress(blob));
  oci::Hasher hasher;
  std::vector<std::byte> buffer(256U << 10);
  while (const std::size_t got = TRY(tar->read(buffer))) hasher.update(std::span(buffer).first(got));
  return hasher.finish();
}

Result<std::unique_ptr<store::StagedLayer>> ArchiveFiles::stage(const oci::Digest& digest, const std::string& parent,
                                                                const std::string& diff_id) {
  const auto found = layers_.find(digest.text());
  if (found == layers_.end()) return fail(ErrorKind::unavailable, "not staged");
  return found->second->stage_on(parent, diff_id);
}

}  // namespace corten::image
