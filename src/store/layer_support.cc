#include "store/layer_support.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <vector>

#include "erofs/writer.h"
#include "store/init_layer.h"
#include "store/tree.h"

namespace corten::store {
namespace {

constexpr const char* probe_name = "init/probe.erofs";

// Of more than a block, so that it can be compressed.
constexpr std::size_t probe_size = 64U << 10;

Result<UniqueFd> make_probe(int base, erofs::Compression compression) {
  ::unlinkat(base, probe_name, 0);
  UniqueFd file(::openat(base, probe_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return sys_fail("create {}", probe_name);
  ::unlinkat(base, probe_name, 0);
  auto writer = TRY(erofs::ImageWriter::create(file.get(), {.compression = compression}));
  const std::vector<std::byte> letters(probe_size, std::byte{'p'});
  CHECK(writer.begin_file("probe", {.mode = 0644}, letters.size()));
  CHECK(writer.write(letters));
  CHECK(writer.end_file());
  CHECK(writer.finish());
  return file;
}

Result<> try_it(const std::string& base, int base_fd, const OverlayWay& way, ImageWay image_way,
                erofs::Compression compression) {
  UniqueFd probe = TRY(make_probe(base_fd, compression));
  auto image = TRY(mount_image(std::move(probe), image_way, way.attached));
  OverlayMount mount;
  mount.base = base;
  mount.base_fd = base_fd;
  mount.lowers = {{.name = layout::init_files},
                  {.name = "", .image = std::make_shared<const ImageMount>(std::move(image))},
                  {.name = layout::empty_files}};
  mount.read_only = true;
  mount.way = way;
  mount.way.stack_limit = 2;
  const UniqueFd top = TRY(mount_overlay(mount));
  const UniqueFd file(::openat(top.get(), "probe", O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file) return sys_fail("look into the overlay");
  char last = 0;
  const ssize_t got = ::pread(file.get(), &last, 1, probe_size - 1);
  if (got < 0) return sys_fail("read a file of the overlay");
  if (got != 1 || last != 'p') return fail(ErrorKind::unavailable, "a file of the overlay is not what was written");
  return {};
}

}  // namespace

LayerSupport find_layer_support(const std::string& base, int base_fd, const OverlayWay& asked,
                                std::optional<ImageWay> image_way) {
  // From a file and attached comes last: every mount is then a file system with a cache of its own.
  const std::pair<ImageWay, bool> ways[] = {
      {ImageWay::file, false}, {ImageWay::loop, false}, {ImageWay::loop, true}, {ImageWay::file, true}};
  LayerSupport out;
  out.overlay_way = asked;
  for (const auto& [image, attached] : ways) {
    if (image_way && image != *image_way) continue;
    if ((asked.attached || asked.one_option) && !attached) continue;
    OverlayWay way = asked;
    way.attached = attached;
    const auto works = try_it(base, base_fd, way, image, erofs::Compression::none);
    if (works) return {.images = true, .image_way = image, .overlay_way = way, .reason = ""};
    out.image_way = image;
    out.reason = works.error().text();
  }
  return out;
}

Result<> try_compression(const std::string& base, int base_fd, const LayerSupport& support) {
  const auto works = try_it(base, base_fd, support.overlay_way, support.image_way, erofs::Compression::lz4);
  if (works) return {};
  return fail(ErrorKind::unavailable, "{} (needs Linux 5.13 with CONFIG_EROFS_FS_ZIP)", works.error().text());
}

}  // namespace corten::store
