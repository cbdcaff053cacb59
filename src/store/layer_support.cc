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

Result<UniqueFd> make_probe(int base) {
  ::unlinkat(base, probe_name, 0);
  UniqueFd file(::openat(base, probe_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return sys_fail("create {}", probe_name);
  ::unlinkat(base, probe_name, 0);
  auto writer = TRY(erofs::ImageWriter::create(file.get()));
  CHECK(writer.add_directory("probe", {.mode = 0755}));
  CHECK(writer.finish());
  return file;
}

Result<> try_it(const std::string& base, int base_fd, const OverlayWay& way, ImageWay image_way) {
  UniqueFd probe = TRY(make_probe(base_fd));
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
  if (::faccessat(top.get(), "probe", F_OK, AT_SYMLINK_NOFOLLOW) != 0) return sys_fail("look into the overlay");
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
    const auto works = try_it(base, base_fd, way, image);
    if (works) return {.images = true, .image_way = image, .overlay_way = way, .reason = ""};
    out.image_way = image;
    out.reason = works.error().text();
  }
  return out;
}

}  // namespace corten::store
