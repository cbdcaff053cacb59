#include "engine/platform.h"

#include "image/images.h"
#include "oci/platform.h"
#include "sys/binfmt.h"

namespace corten::engine {
namespace {

using oci::shown;

// What keeps this machine from running programs for `architecture`, and what to do about it; nullopt where nothing
// does, and the program is to blame. `not_found`: the kernel has found no interpreter, else no way to execute the
// program.
Result<std::optional<std::string>> missing_for(const std::string& architecture, bool not_found) {
  const UniqueFd table = TRY(sys::open_binfmt_table());
  const bool enabled = TRY(sys::binfmt_enabled(table.get()));
  const auto emulator = TRY(sys::find_interpreter(table.get(), architecture));
  if (not_found) {
    if (!enabled || !emulator || !emulator->enabled || emulator->opened) return std::nullopt;
    return fmt::format(
        "its emulator {} is registered without the flag F and must be in the container: register it with F, as "
        "qemu-user-static does",
        emulator->path);
  }
  if (!enabled) return std::string("emulators are switched off (echo 1 > /proc/sys/fs/binfmt_misc/status)");
  if (!emulator)
    return fmt::format("no emulator for {} is registered with the kernel: install qemu-user-static on this machine",
                       shown(architecture));
  if (!emulator->enabled)
    return fmt::format("its emulator {} is switched off (echo 1 > /proc/sys/fs/binfmt_misc/{})", emulator->path,
                       emulator->name);
  return std::nullopt;
}

}  // namespace

Result<std::optional<std::string>> check_platform(const std::string& wanted, const oci::Platform& image,
                                                  const std::string& reference) {
  if (wanted.empty()) {
    const oci::Platform host = oci::best_host_platform();
    if (image.architecture.empty() || oci::matches(host, image)) return std::nullopt;
    return fmt::format(
        "The requested image's platform ({}) does not match the detected host platform ({}) and no specific platform "
        "was requested",
        shown(image.text()), host.text());
  }
  CHECK(oci::require_platform(TRY(oci::parse_platform(wanted)), image, reference));
  return std::nullopt;
}

Error explain_foreign_program(Error error, const oci::Platform& image) {
  const bool no_program = error.text().find("exec format error") != std::string::npos;
  // An emulator that is looked for in the container and is not there: the kernel's word for it is the same as for the
  // program's own interpreter.
  const bool not_found = error.text().starts_with("exec /") && error.text().ends_with("no such file or directory");
  if (!no_program && !not_found) return error;
  const oci::Platform host = oci::best_host_platform();
  if (image.architecture.empty() || oci::matches(host, image)) return error;
  const auto missing = missing_for(image.architecture, not_found);
  if (missing ? !*missing : not_found) return error;
  return Error(error.kind(),
               fmt::format("{}: the image is for {}, this machine is {}; {}", error.text(), shown(image.text()),
                           host.text(), missing ? **missing : missing.error().text()),
               error.sys_errno());
}

Error explain_foreign_program(Error error, const image::Images& images, const std::string& image_id) {
  const auto image = images.resolve(image_id);
  if (!image) return error;  // removed by force
  return explain_foreign_program(std::move(error), (*image)->config.platform);
}

}  // namespace corten::engine
