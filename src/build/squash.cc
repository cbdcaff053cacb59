#include "build/squash.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include "build/history.h"
#include "context/tree.h"
#include "image/layers.h"
#include "store/store.h"
#include "store/tar.h"
#include "sys/files.h"

namespace corten::build {
namespace {

using context::Entry;
using context::Kind;

store::TarEntry tar_entry(const Entry& entry) {
  store::TarEntry out;
  out.name = entry.path;
  out.mode = entry.mode;
  out.uid = entry.uid;
  out.gid = entry.gid;
  out.mtime = {.tv_sec = entry.mtime_ns / 1'000'000'000, .tv_nsec = entry.mtime_ns % 1'000'000'000};
  out.xattrs = {entry.xattrs.begin(), entry.xattrs.end()};
  switch (entry.kind) {
    case Kind::file: out.size = out.stored = entry.size; break;
    case Kind::directory: out.type = store::TarType::directory; break;
    case Kind::symlink:
      out.type = store::TarType::symlink;
      out.link = entry.link;
      break;
    case Kind::fifo: out.type = store::TarType::fifo; break;
    case Kind::device:
      out.type = entry.block ? store::TarType::block : store::TarType::character;
      out.major = major(entry.device);
      out.minor = minor(entry.device);
  }
  return out;
}

// What two file systems differ in, as a layer's tar on the older one.
class Difference {
 public:
  Difference(context::Tree& before, context::Tree& after, const std::stop_token& stop)
      : before_(before), after_(after), stop_(stop) {}

  Result<> write(store::ByteSink& sink) {
    const auto old = TRY(before_.listing(stop_));
    const auto now = TRY(after_.listing(stop_));
    store::TarWriter tar(sink);
    auto a = old->entries.begin();
    const auto goes = [&](const Entry& entry) -> Result<> {
      // Below what is gone, or is no directory any more, nothing need be said.
      if (const auto slash = entry.path.rfind('/'); slash != std::string::npos) {
        const Entry* parent = now->find(std::string_view(entry.path).substr(0, slash));
        if (parent == nullptr || parent->kind != Kind::directory) return {};
        return tar.header(whiteout(entry.path.substr(0, slash + 1), entry.path.substr(slash + 1)));
      }
      return tar.header(whiteout("", entry.path));
    };
    for (const Entry& entry : now->entries) {
      for (; a != old->entries.end() && context::path_before(a->path, entry.path); ++a) CHECK(goes(*a));
      const bool there = a != old->entries.end() && a->path == entry.path;
      if (!there || !TRY(same(*a, entry))) CHECK(put(tar, entry));
      if (there) ++a;
    }
    for (; a != old->entries.end(); ++a) CHECK(goes(*a));
    return tar.finish();
  }

 private:
  static store::TarEntry whiteout(const std::string& directory, const std::string& name) {
    store::TarEntry out;
    out.name = directory + ".wh." + name;
    return out;
  }

  Result<bool> same(const Entry& a, const Entry& b) {
    if (a.kind != b.kind || a.mode != b.mode || a.uid != b.uid || a.gid != b.gid || a.mtime_ns != b.mtime_ns ||
        a.size != b.size || a.link != b.link || a.device != b.device || a.block != b.block || a.xattrs != b.xattrs)
      return false;
    if (a.kind != Kind::file || a.size == 0) return true;
    return TRY(before_.digest(a, stop_)) == TRY(after_.digest(b, stop_));
  }

  Result<> put(store::TarWriter& tar, const Entry& entry) {
    CHECK(tar.header(tar_entry(entry)));
    if (entry.kind != Kind::file || entry.size == 0) return {};
    const UniqueFd file = TRY(after_.open(entry));
    return tar.data_of_file(file.get(), 0, entry.size);
  }

  context::Tree& before_;
  context::Tree& after_;
  const std::stop_token& stop_;
};

}  // namespace

Result<> squash(Job& job, State& state) {
  if (state.layers.size() <= state.base_layers + 1) return {};
  const std::string base = state.base_layers == 0 ? "" : state.layers[state.base_layers - 1].chain_id;
  const auto before = TRY(job.tree(base, "base image"));
  const auto after = TRY(job.tree(state.chain, "image"));
  const UniqueFd file = TRY(sys::open_file(job.shared.parts.store.data_root() + "/build", O_TMPFILE | O_RDWR, 0600));
  store::FdSink sink(file.get());
  CHECK_AS(Difference(*before, *after, job.stop).write(sink), "squash");
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return sys_fail("squash");
  store::FdSource bytes(file.get());
  StoppableSource tar(bytes, job.stop);
  const std::string squashed = Job::image_id(state);
  const auto layer = TRY_AS(image::add_layer(job.shared.parts.images, job.lease, base, tar), "squash");
  state.layers.resize(state.base_layers);
  state.config.rootfs.diff_ids.resize(state.base_layers);
  state.chain = base;
  // The steps stay in the history; what they made is in one layer behind them.
  std::size_t layers = 0;
  for (oci::History& line : state.config.history)
    if (!line.empty_layer && ++layers > state.base_layers) line.empty_layer = true;
  oci::History line;
  line.created = date_text(state.time);
  line.comment = fmt::format("merge {} to {}", squashed, state.base_image);
  line.empty_layer = !layer;
  state.config.history.push_back(std::move(line));
  if (layer) {
    state.layers.push_back(*layer);
    state.chain = layer->chain_id;
    state.config.rootfs.diff_ids.push_back(layer->diff_id);
  }
  return {};
}

}  // namespace corten::build
