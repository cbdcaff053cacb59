// What a terminal shows of layers on their way: which lines, of what text. Draws nothing and knows no clock.
//
// One line a layer, then one for all of them: how many are done, bytes of bytes, rate, time left. Where there are more
// layers than rows, those that are done become one line, and those that wait make room for those that move.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cli/transfer_rate.h"

namespace corten::cli {

// One message of the daemon about one layer.
struct LayerProgress {
  std::string id;
  std::string status;
  std::int64_t current = 0;
  std::int64_t total = 0;
  std::string unit;       // of both, empty: bytes
  std::int64_t size = 0;  // of the layer, where it is known before its bytes move
};

// Where it is to fit. No line reaches the last column: terminals differ in what follows a full one.
struct Canvas {
  std::size_t rows = 24;
  std::size_t columns = 80;
  bool utf8 = false;  // else nothing but ASCII
};

class ProgressBoard {
 public:
  using Time = TransferRate::Time;

  void take(const LayerProgress& message, Time now);
  void clear() { *this = ProgressBoard(); }

  // The lines as they are now, at most canvas.rows of them. Of foreign text no control characters are left.
  std::vector<std::string> lines(const Canvas& canvas, Time now) const;
  // What stays when all is over: the layers, and for the sum what it was and how long it took.
  std::vector<std::string> last_lines(const Canvas& canvas, Time now) const;

 private:
  enum class Stage : std::uint8_t { waiting, moving, done };
  struct Layer {
    std::string id;
    std::string status;
    Stage stage = Stage::waiting;
    std::int64_t current = 0;  // of what the status says
    std::int64_t total = 0;
    std::string unit;
    bool counts = false;     // it is sent or fetched, and not here already
    std::int64_t bytes = 0;  // sent or fetched
    std::int64_t size = 0;   // 0: not known yet
  };
  struct Sum {
    std::size_t done = 0, layers = 0;
    std::int64_t bytes = 0, size = 0;
    bool complete = true;  // every layer's size is known
  };

  static Stage stage_of(const LayerProgress& message);
  Sum sum() const;
  std::vector<std::string> layer_lines(const Canvas& canvas, std::size_t room) const;
  std::string layer_line(const Layer& layer, std::size_t status_width, const Canvas& canvas) const;
  std::string sum_line(const Canvas& canvas, Time now) const;

  std::vector<Layer> layers_;  // in the order of their first message
  std::map<std::string, std::size_t, std::less<>> numbers_;
  TransferRate rate_;
};

// A canvas that can be drawn on, whatever the terminal says of its size.
Canvas usable(Canvas canvas);
// Foreign text for a canvas: no control characters, nothing that is no UTF-8, ASCII only where it has to be.
std::string shown_on(std::string_view text, const Canvas& canvas);
// How many columns the text takes: two for East Asian characters and pictures.
std::size_t columns_of(std::string_view text);
// What fits of it, with an ellipsis where something does not.
std::string cut_to_columns(std::string_view text, std::size_t columns, bool utf8);
// "42s", "3m05s", "1h02m".
std::string short_duration(std::chrono::seconds time);

}  // namespace corten::cli
