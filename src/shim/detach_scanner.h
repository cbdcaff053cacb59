// Looks for the detach keys in what a user types.
#pragma once

#include <string>
#include <string_view>

namespace corten::shim {

class DetachScanner {
 public:
  explicit DetachScanner(std::string keys) : keys_(std::move(keys)) {}

  // Appends to `out` what goes on to the process: all but the keys, of which a beginning is held back until it is known
  // whether they go on. True: the keys were all there; what follows them is dropped.
  bool feed(std::string_view typed, std::string& out) {
    if (keys_.empty()) {
      out.append(typed);
      return false;
    }
    for (const char c : typed) {
      if (c == keys_[matched_]) {
        if (++matched_ == keys_.size()) return true;
        continue;
      }
      out.append(keys_, 0, matched_);
      matched_ = c == keys_[0] ? 1 : 0;
      if (matched_ == 0) out.push_back(c);
      if (matched_ == keys_.size()) return true;
    }
    return false;
  }

 private:
  std::string keys_;
  std::size_t matched_ = 0;
};

}  // namespace corten::shim
