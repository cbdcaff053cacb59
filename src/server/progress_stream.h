// The lines of JSON in which pull, push, load and import tell how far they are; Docker's JSONMessage.
#pragma once

#include "image/pull.h"
#include "server/router.h"

namespace corten::server {

// The answer's head goes out with the first line: an error before it keeps its status, one after it is a line itself.
class ProgressStream {
 public:
  explicit ProgressStream(Call& call) : call_(call) {}
  // Errors of writing are kept: the client is gone, and the work's stop token says so.
  void event(const image::TransferEvent& event);
  void status(std::string text) { line(json::Object{{"status", std::move(text)}}); }
  void line(const json::Object& object);
  // Something has been told: the answer's status is out.
  bool begun() const { return call_.response.head_sent(); }
  // The end of it, whatever it was. `why` as a line if anything was written, else as the answer.
  Result<> finish(const Result<>& how);

 private:
  Call& call_;
  Result<> written_;
};

}  // namespace corten::server
