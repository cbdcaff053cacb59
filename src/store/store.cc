#include "store/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "store/layout.h"
#include "store/overlay_snapshots.h"
#include "sys/files.h"

namespace corten::store {

Result<std::unique_ptr<Store>> Store::open(const std::string& data_root, const StoreOptions& options) {
  std::unique_ptr<Store> out(new Store());
  CHECK(sys::make_directories(data_root, 0711));
  out->data_root_ = data_root;
  const std::string lock = layout::lock_file(data_root);
  out->lock_ = UniqueFd(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!out->lock_) return sys_fail("open {}", lock);
  // A daemon that was killed while it started a program holds the lock through that program's copy of the descriptor
  // until its exec, which may take a moment on a busy machine.
  int tries = 0;
  while (::flock(out->lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK && ++tries <= 20) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      continue;
    }
    if (errno == EWOULDBLOCK)
      return fail(ErrorKind::conflict,
                  "data root {} is in use by another daemon: stop it or choose another --data-root", data_root);
    return sys_fail("lock {}", lock);
  }
  out->content_ = TRY(ContentStore::open(layout::content(data_root)));
  out->database_ = TRY(Database::open(layout::database(data_root)));
  out->snapshots_ = TRY(open_overlay_snapshots(layout::snapshots(data_root), *out->database_,
                                               {.layers = options.layers, .compress_images = options.compress_images}));
  return out;
}

Store::~Store() {
  snapshots_.reset();
  database_.reset();
}

}  // namespace corten::store
