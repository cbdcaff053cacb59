#include "server/progress_stream.h"

#include "json/codec.h"

namespace corten::server {

using json::Object;

void ProgressStream::line(const json::Object& object) {
  if (!written_) return;
  if (!call_.response.head_sent()) written_ = call_.response.begin_stream(200, "application/json");
  if (written_) written_ = call_.response.write(json::write(object) + "\r\n");
}

void ProgressStream::event(const image::TransferEvent& event) {
  Object object{{"status", event.status}};
  if (event.total != 0) {
    object["progressDetail"] = Object{{"current", event.current}, {"total", event.total}};
  } else if (event.size != 0) {
    // Docker's clients know no such member and show no bar; ours adds it to the sum.
    object["progressDetail"] = Object{{"size", event.size}};
  } else {
    object["progressDetail"] = Object{};
  }
  if (!event.id.empty()) object["id"] = event.id;
  line(object);
}

Result<> ProgressStream::finish(const Result<>& how) {
  if (how) return written_;
  if (!call_.response.head_sent()) {
    // A registry's 401 is not ours: Docker's client takes one for a question to the user, and waits for an answer even
    // where there is nobody. Docker's daemon says 500 here too.
    if (how.error().kind() == ErrorKind::unauthorized)
      return std::unexpected(Error(how.error()).as(ErrorKind::internal));
    return how;
  }
  const std::string text = how.error().text();
  line(Object{{"errorDetail", Object{{"message", text}}}, {"error", text}});
  return written_;
}

}  // namespace corten::server
