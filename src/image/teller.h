// Progress that is told without waiting for whoever listens: a client that is stopped (Ctrl-Z) must hold up neither its
// own pull nor the one that waits for the same layers. Private to the module.
#pragma once

#include <deque>
#include <thread>

#include "base/mutex.h"
#include "image/pull.h"

namespace corten::image {

class Teller {
 public:
  // `listener` may be empty, may block, and is called by one thread of ours, in the order of the events; where there is
  // no thread to be had, at the end.
  explicit Teller(TransferProgress listener);
  Teller(const Teller&) = delete;
  Teller& operator=(const Teller&) = delete;
  // Waits until all has been told.
  ~Teller();
  // Of bars that the listener has not yet been told, only the last one of each id remains.
  void tell(TransferEvent event) EXCLUDES(mutex_);

 private:
  void work() EXCLUDES(mutex_);

  const TransferProgress listener_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<TransferEvent> waiting_ GUARDED_BY(mutex_);
  bool ending_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace corten::image
