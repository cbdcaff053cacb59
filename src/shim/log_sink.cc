#include "shim/log_sink.h"

#include <algorithm>

namespace corten::shim {
namespace {

constexpr std::size_t max_piece = 16U << 10;

}  // namespace

Timestamp LogSink::next_time() {
  // Strictly growing, so that a reader can name a place in the log by a time. A clock set back by more than a moment is
  // followed all the same.
  Timestamp time = clock_;
  if (time <= last_ && last_ - time < std::chrono::seconds(1)) time = last_ + std::chrono::nanoseconds(1);
  last_ = time;
  return time;
}

void LogSink::emit(Stream stream, Line& line, std::string_view text, bool partial) {
  LogRecord record{stream, {}, text, partial, 0, 0};
  if (partial && line.partial_id == 0) {
    line.partial_id = ++last_partial_id_;
    line.ordinal = 0;
  }
  record.time = next_time();
  if (line.partial_id != 0) {
    record.partial_id = line.partial_id;
    record.ordinal = ++line.ordinal;
    if (!partial) line.partial_id = 0;
  }
  for (const auto& writer : writers_) writer->record(record);
}

void LogSink::write(Stream stream, std::string_view bytes) {
  if (writers_.empty()) return;
  clock_ = now();
  Line& line = line_of(stream);
  while (!bytes.empty()) {
    const std::size_t room = max_piece - line.begun.size();
    const std::string_view piece = bytes.substr(0, room);
    const std::size_t end = piece.find('\n');
    if (end == std::string_view::npos && piece.size() < room) {
      line.begun.append(piece);
      break;
    }
    const bool whole = end != std::string_view::npos;
    const std::string_view text = piece.substr(0, whole ? end : room);
    if (line.begun.empty()) {
      emit(stream, line, text, !whole);
    } else {
      line.begun.append(text);
      emit(stream, line, line.begun, !whole);
      line.begun.clear();
    }
    bytes.remove_prefix(text.size() + (whole ? 1 : 0));
  }
  for (const auto& writer : writers_) writer->flush();
}

void LogSink::end_of(Stream stream) {
  Line& line = line_of(stream);
  if (!line.begun.empty()) {
    clock_ = now();
    emit(stream, line, line.begun, true);
    for (const auto& writer : writers_) writer->flush();
  }
  line = {};
}

Timestamp LogSink::mark() {
  clock_ = now();
  return next_time();
}

void LogSink::reopen() {
  for (const auto& writer : writers_) writer->reopen();
}

void LogSink::shrink() {
  for (Line* line : {&out_, &err_})
    if (line->begun.empty()) line->begun.shrink_to_fit();
  for (const auto& writer : writers_) writer->shrink();
}

bool LogSink::drained() const {
  return std::all_of(writers_.begin(), writers_.end(), [](const auto& writer) { return writer->drained(); });
}

}  // namespace corten::shim
