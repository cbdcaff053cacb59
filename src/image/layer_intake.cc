#include "image/layer_intake.h"

#include <algorithm>
#include <cstring>

#include "base/thread.h"

namespace corten::image {
namespace {

enum Reader : std::size_t { hashing, staging, readers };

}  // namespace

// One being filled, two for each consumer that is slower than the others, and what the compressing threads hold.
store::PiecePool pieces_for_one() { return {5 + store::gzip_threads(), store::gzip_piece}; }

LayerIntake::LayerIntake(store::Store& store, IntakeOptions options, std::optional<store::BlobWriter> blob)
    : store_(store),
      options_(std::move(options)),
      blob_(std::move(blob)),
      pool_(options_.pool),
      stream_(readers),
      hash_(hashed_.get_future()),
      staged_(fail(ErrorKind::unavailable, "not staged")) {
  if (blob_) gzip_.emplace(*blob_);
}

Result<> LayerIntake::start() {
  hasher_ = TRY(start_thread([this] { hash(); }));
  if (options_.parent)
    stager_ = TRY(start_thread([this] { stage(); }));
  else
    stream_.leave(staging);
  return {};
}

Result<std::unique_ptr<LayerIntake>> LayerIntake::open(store::Store& store, IntakeOptions options) {
  std::optional<store::BlobWriter> blob;
  if (options.compress) blob.emplace(TRY(store.content().writer()));
  std::unique_ptr<LayerIntake> out(new LayerIntake(store, std::move(options), std::move(blob)));
  CHECK(out->start());
  return out;
}

LayerIntake::~LayerIntake() {
  stream_.close(fail(ErrorKind::cancelled, "the layer was given up"));
  if (hasher_.joinable()) hasher_.join();
  if (stager_.joinable()) stager_.join();
}

void LayerIntake::hash() {
  oci::Hasher hasher;
  for (;;) {
    const auto piece = stream_.next(hashing);
    if (!piece) return hashed_.set_value(std::unexpected(piece.error()));
    if (!*piece) return hashed_.set_value(hasher.finish());
    hasher.update((*piece)->bytes());
  }
}

void LayerIntake::stage() {
  store::PieceSource source(stream_, staging);
  const auto chain_id = [&](const std::string& parent) -> Result<std::string> {
    return oci::chain_id(parent, TRY(Result<oci::Digest>(hash_.get())).text());
  };
  staged_ = store_.snapshots().stage_layer([&] { return options_.parent(source.at_end()); }, source,
                                           {.need_end_marker = options_.need_end_marker, .chain_id = chain_id});
  if (!staged_) stage_failed_ = true;
}

Result<> LayerIntake::pass_on() {
  const store::PiecePtr piece = std::exchange(piece_, nullptr);
  size_ += piece->used;
  stream_.put(piece);
  if (gzip_) CHECK(gzip_->add(piece));
  if (stage_failed_ && options_.must_stage) {
    if (stager_.joinable()) stager_.join();
    return std::unexpected(staged_.error());
  }
  return {};
}

Result<> LayerIntake::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (!piece_) piece_ = pool_.take();
    const std::size_t count = std::min(bytes.size(), piece_->memory.size() - piece_->used);
    std::memcpy(piece_->memory.data() + piece_->used, bytes.data(), count);
    piece_->used += count;
    bytes = bytes.subspan(count);
    if (piece_->used == piece_->memory.size()) CHECK(pass_on());
  }
  return {};
}

Result<> LayerIntake::read(store::ByteSource& source) {
  for (;;) {
    if (!piece_) piece_ = pool_.take();
    const std::size_t got = TRY(source.read(std::span(piece_->memory).subspan(piece_->used)));
    if (got == 0) return {};
    piece_->used += got;
    if (piece_->used == piece_->memory.size()) CHECK(pass_on());
  }
}

Result<> LayerIntake::finish() {
  if (piece_ && piece_->used > 0) CHECK(pass_on());
  piece_.reset();
  stream_.close();
  if (gzip_) CHECK(gzip_->finish());
  gzip_.reset();
  hasher_.join();
  diff_id_ = TRY(Result<oci::Digest>(hash_.get()));
  if (blob_) blob_info_ = TRY(blob_->seal());
  return {};
}

Result<std::unique_ptr<store::StagedLayer>> LayerIntake::staged() {
  if (stager_.joinable()) stager_.join();
  return std::exchange(staged_, fail(ErrorKind::internal, "staged already"));
}

}  // namespace corten::image
