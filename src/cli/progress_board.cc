#include "cli/progress_board.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/style.h"
#include "cli/units.h"

namespace corten::cli {
namespace {

using std::chrono::duration;
using std::chrono::seconds;

// A daemon's numbers are taken for what a registry could mean, so that no sum of them overflows.
constexpr std::int64_t largest_number = std::int64_t{1} << 48;
constexpr std::size_t most_layers = 10'000;
constexpr std::size_t widest_bar = 50, narrowest_bar = 6;
constexpr std::size_t widest_id = 40;
constexpr std::size_t numbers_width = 15;  // "12.3MB/98.7MB", with three digits each
constexpr std::string_view gap = "   ";

// What layers have come to at the end, in the words of Docker's daemon and ours.
constexpr std::array final_words = {"Pull complete",        "Already exists", "Pushed",
                                    "Layer already exists", "Mounted from",   "Skipped"};
// Nothing moves for these: the other side has the layer.
constexpr std::array words_of_presence = {"Already exists", "Layer already exists", "Mounted from", "Skipped"};
// All bytes are here, but the layer is not yet.
constexpr std::array words_of_arrival = {"Download complete", "Verifying Checksum", "Extracting", "Pull complete",
                                         "Pushed"};

template <class Words>
bool begins_with_one_of(std::string_view text, const Words& words) {
  return std::ranges::any_of(words, [&](std::string_view word) { return text.starts_with(word); });
}

// The code point at the front, and its length; what is no UTF-8 is one byte.
struct Decoded {
  char32_t code;
  std::size_t length;
};
Decoded decode(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
  if (length == 1 || length > text.size()) return {lead, 1};
  char32_t code = lead & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0U) != 0x80U) return {lead, 1};
    code = (code << 6) | (next & 0x3fU);
  }
  return {code, length};
}

std::size_t width_of(char32_t code) {
  const bool wide = (code >= 0x1100 && code <= 0x115f) || (code >= 0x2e80 && code <= 0xa4cf) ||
                    (code >= 0xac00 && code <= 0xd7a3) || (code >= 0xf900 && code <= 0xfaff) ||
                    (code >= 0xfe30 && code <= 0xfe6f) || (code >= 0xff00 && code <= 0xff60) ||
                    (code >= 0x1f300 && code <= 0x1faff) || (code >= 0x20000 && code <= 0x3fffd);
  return wide ? 2 : 1;
}

std::string padded(std::string text, std::size_t columns) {
  const std::size_t have = columns_of(text);
  if (have < columns) text.append(columns - have, ' ');
  return text;
}

std::string bar(std::int64_t current, std::int64_t total, std::size_t width, bool utf8) {
  const double part = std::clamp(static_cast<double>(current) / static_cast<double>(total), 0.0, 1.0);
  std::string out = "[";
  if (!utf8) {
    const auto filled = static_cast<std::size_t>(part * static_cast<double>(width));
    out.append(filled, '=');
    if (filled < width) out += '>';
    out.append(width - std::min(width, filled + 1), ' ');
    return out + "]";
  }
  static constexpr std::array eighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto filled = static_cast<std::size_t>(part * static_cast<double>(width) * 8);
  for (std::size_t i = 0; i < filled / 8; ++i) out += "█";
  out += eighths[filled % 8];
  out.append(width - (filled + 7) / 8, ' ');
  return out + "]";
}

std::string size_text(std::int64_t bytes) { return human_size(static_cast<double>(bytes), 3); }

// As many of the parts, from the first on, as fit.
std::string joined(const std::vector<std::string>& parts, const Canvas& canvas) {
  std::string out;
  for (const std::string& part : parts) {
    const std::size_t wanted = columns_of(out) + (out.empty() ? 0 : gap.size()) + columns_of(part);
    if (!out.empty() && wanted >= canvas.columns) break;
    out += out.empty() ? part : fmt::format("{}{}", gap, part);
  }
  return cut_to_columns(out, canvas.columns - 1, canvas.utf8);
}

std::string plural(std::size_t count) { return fmt::format("{} layer{}", count, count == 1 ? "" : "s"); }

}  // namespace

Canvas usable(Canvas canvas) {
  if (canvas.rows == 0) canvas.rows = 24;
  if (canvas.columns < 2) canvas.columns = 80;
  return canvas;
}

std::string shown_on(std::string_view text, const Canvas& canvas) {
  std::string out = printable(text);
  if (canvas.utf8) {
    // A lone byte of UTF-8 could be a control character to a terminal that reads one byte at a time.
    for (std::size_t at = 0; at < out.size();) {
      const Decoded next = decode(std::string_view(out).substr(at));
      if (next.length == 1 && static_cast<unsigned char>(out[at]) >= 0x80) out[at] = '?';
      at += next.length;
    }
    return out;
  }
  for (char& c : out)
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  return out;
}

std::size_t columns_of(std::string_view text) {
  std::size_t columns = 0;
  while (!text.empty()) {
    const Decoded next = decode(text);
    columns += width_of(next.code);
    text.remove_prefix(next.length);
  }
  return columns;
}

std::string cut_to_columns(std::string_view text, std::size_t columns, bool utf8) {
  if (columns_of(text) <= columns) return std::string(text);
  const std::string_view ellipsis = utf8 ? "…" : "...";
  const std::size_t ellipsis_columns = utf8 ? 1 : 3;
  const std::size_t room = columns > ellipsis_columns ? columns - ellipsis_columns : columns;
  std::string out;
  std::size_t used = 0;
  while (!text.empty()) {
    const Decoded next = decode(text);
    used += width_of(next.code);
    if (used > room) break;
    out += text.substr(0, next.length);
    text.remove_prefix(next.length);
  }
  return columns > ellipsis_columns ? out.append(ellipsis) : out;
}

std::string short_duration(seconds time) {
  const auto all = std::max<std::int64_t>(time.count(), 0);
  if (all < 60) return fmt::format("{}s", all);
  if (all < 3600) return fmt::format("{}m{:02}s", all / 60, all % 60);
  return fmt::format("{}h{:02}m", all / 3600, all / 60 % 60);
}

ProgressBoard::Stage ProgressBoard::stage_of(const LayerProgress& message) {
  if (begins_with_one_of(message.status, final_words)) return Stage::done;
  if (message.current == 0 && message.total == 0) return Stage::waiting;
  // `load` has no word for the end of a layer.
  const bool loaded = message.status == "Loading layer" && message.total > 0 && message.current >= message.total;
  return loaded ? Stage::done : Stage::moving;
}

void ProgressBoard::take(const LayerProgress& said, Time now) {
  LayerProgress message = said;
  for (std::int64_t* number : {&message.current, &message.total, &message.size})
    *number = std::clamp<std::int64_t>(*number, 0, largest_number);
  if (layers_.size() == most_layers && !numbers_.contains(message.id)) return;
  const auto [found, is_new] = numbers_.try_emplace(message.id, layers_.size());
  if (is_new) layers_.emplace_back().id = message.id;
  Layer& layer = layers_[found->second];
  layer.status = message.status;
  layer.stage = stage_of(message);
  layer.current = message.current;
  layer.total = message.total;
  layer.unit = message.unit;
  if (message.size > 0) {
    layer.counts = true;
    layer.size = message.size;
  }
  const bool arrived = begins_with_one_of(message.status, words_of_arrival);
  if (begins_with_one_of(message.status, words_of_presence)) {
    layer.counts = false;
  } else if (arrived) {
    layer.counts = layer.counts || message.status == "Download complete";
    layer.bytes = layer.size;
  } else if (layer.unit.empty() && layer.stage != Stage::waiting) {
    layer.counts = true;
    layer.bytes = message.current;
    layer.size = message.total;
  } else {
    layer.counts = true;  // its turn comes
  }
  rate_.take(sum().bytes, now);
}

ProgressBoard::Sum ProgressBoard::sum() const {
  Sum out;
  out.layers = layers_.size();
  for (const Layer& layer : layers_) {
    if (layer.stage == Stage::done) ++out.done;
    if (!layer.counts) continue;
    const bool all_here = begins_with_one_of(layer.status, words_of_arrival);
    if (layer.size == 0 && !all_here) out.complete = false;
    out.bytes += layer.bytes;
    out.size += std::max(layer.size, layer.bytes);
  }
  return out;
}

std::string ProgressBoard::layer_line(const Layer& layer, std::size_t status_width, const Canvas& canvas) const {
  const std::size_t room = canvas.columns - 1;
  std::string line = cut_to_columns(shown_on(layer.id, canvas), widest_id, canvas.utf8) + ": ";
  const std::string status = shown_on(layer.status, canvas);
  if (layer.stage != Stage::moving) return cut_to_columns(line + status, room, canvas.utf8);
  line += padded(status, status_width);
  std::string numbers;
  if (!layer.unit.empty()) {
    numbers = fmt::format("{} {}", layer.current, shown_on(layer.unit, canvas));
  } else if (layer.total > 0) {
    numbers = fmt::format("{}/{}", size_text(std::min(layer.current, layer.total)), size_text(layer.total));
  } else {
    numbers = size_text(layer.current);
  }
  const std::size_t used = columns_of(line) + 1;
  if (layer.total > 0 && used + numbers.size() > room)
    numbers = fmt::format("{}%", std::min(layer.current, layer.total) * 100 / layer.total);
  if (layer.total > 0 && room > used + numbers_width + 3 + narrowest_bar) {
    const std::size_t width = std::min(widest_bar, room - used - numbers_width - 3);
    line += fmt::format(" {} {:>{}}", bar(layer.current, layer.total, width, canvas.utf8), numbers, numbers_width);
  } else {
    line += " " + numbers;
  }
  return cut_to_columns(line, room, canvas.utf8);
}

std::vector<std::string> ProgressBoard::layer_lines(const Canvas& canvas, std::size_t room) const {
  std::vector<bool> shown(layers_.size(), true);
  std::size_t done = 0, more = 0;
  if (layers_.size() > room) {
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      shown[i] = layers_[i].stage != Stage::done;
      if (!shown[i]) ++done;
    }
    // With no row to spare the sum's line has to do for those that are done.
    if (room < 2) done = 0;
    std::size_t left = room - (done > 0 ? 1 : 0);
    const auto unfinished = static_cast<std::size_t>(std::ranges::count(shown, true));
    if (unfinished > left) {
      left -= left > 1 ? 1 : 0;  // for the line that counts the others
      for (const Stage stage : {Stage::moving, Stage::waiting}) {
        for (std::size_t i = 0; i < layers_.size(); ++i) {
          if (!shown[i] || layers_[i].stage != stage) continue;
          if (left == 0) {
            shown[i] = false;
            ++more;
          } else {
            --left;
          }
        }
      }
      if (room < 2 + (done > 0 ? 1 : 0)) more = 0;
    }
  }
  std::size_t status_width = 0;
  for (std::size_t i = 0; i < layers_.size(); ++i)
    if (shown[i] && layers_[i].stage == Stage::moving)
      status_width = std::max(status_width, columns_of(shown_on(layers_[i].status, canvas)));
  std::vector<std::string> out;
  if (done > 0) out.push_back(cut_to_columns(fmt::format("{} done", plural(done)), canvas.columns - 1, canvas.utf8));
  for (std::size_t i = 0; i < layers_.size(); ++i)
    if (shown[i]) out.push_back(layer_line(layers_[i], status_width, canvas));
  if (more > 0) out.push_back(cut_to_columns(fmt::format("{} more", plural(more)), canvas.columns - 1, canvas.utf8));
  return out;
}

std::string ProgressBoard::sum_line(const Canvas& canvas, Time now) const {
  const Sum all = sum();
  std::vector<std::string> parts{fmt::format("{} of {}", all.done, plural(all.layers))};
  if (all.size > 0) {
    parts.push_back(fmt::format("{} of {}{}", size_text(all.bytes), size_text(all.size), all.complete ? "" : "+"));
    const double speed = rate_.at(now);
    const std::int64_t rest = all.size - all.bytes;
    if (rest > 0 && speed >= 1) {
      parts.push_back(human_size(speed, 3) + "/s");
      const auto time = all.complete ? rate_.time_for(rest, now) : std::nullopt;
      if (time) parts.push_back(short_duration(*time) + " left");
    }
  }
  return joined(parts, canvas);
}

std::vector<std::string> ProgressBoard::lines(const Canvas& asked, Time now) const {
  const Canvas canvas = usable(asked);
  if (layers_.empty()) return {};
  std::vector<std::string> out = layer_lines(canvas, canvas.rows - 1);
  out.push_back(sum_line(canvas, now));
  return out;
}

std::vector<std::string> ProgressBoard::last_lines(const Canvas& asked, Time now) const {
  const Canvas canvas = usable(asked);
  if (layers_.empty()) return {};
  const Sum all = sum();
  std::vector<std::string> out;
  // Where all are done and more than fit, the sum says it.
  const bool is_said = all.size > 0 && all.done == all.layers && all.layers > canvas.rows - 1;
  if (!is_said) out = layer_lines(canvas, canvas.rows - 1);
  if (all.size == 0) return out;  // all was here
  std::vector<std::string> parts{all.done == all.layers ? plural(all.layers)
                                                        : fmt::format("{} of {}", all.done, plural(all.layers))};
  const double time = duration<double>(now - rate_.start()).count();
  parts.push_back(fmt::format("{} in {:.1f}s", size_text(all.bytes), time));
  if (time > 0.05) parts.push_back(human_size(static_cast<double>(all.bytes) / time, 3) + "/s");
  out.push_back(joined(parts, canvas));
  return out;
}

}  // namespace corten::cli
