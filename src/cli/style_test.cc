#include "cli/style.h"

#include <gtest/gtest.h>

#include <unistd.h>

namespace corten::cli {
namespace {

TEST(Style, ControlCharactersDoNotReachTheTerminal) {
  EXPECT_EQ(printable("a\x1b[31mb"), "a?[31mb");
  EXPECT_EQ(printable("one\ttwo\nthree\r"), "one two three?");
  EXPECT_EQ(printable("\x7f\xc2\x9b"
                      "5n"),
            "??5n");
  EXPECT_EQ(printable("größe \xc2\xa0…"), "größe \xc2\xa0…");
  EXPECT_EQ(printable("\xc2"), "\xc2");
  EXPECT_EQ(printable_lines("a\tb\n\x07"), "a\tb\n?");
}

TEST(Style, ColoursTheFirstLine) {
  EXPECT_EQ(coloured("ID\nrow\n", Colour::bold), "\x1b[1mID\x1b[0m\nrow\n");
  EXPECT_EQ(coloured("x", Colour::red), "\x1b[31mx\x1b[0m");
  EXPECT_EQ(coloured("x", Colour::none), "x");
  EXPECT_EQ(coloured("", Colour::red), "");
}

TEST(Style, PipesGetPlainText) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_FALSE(can_redraw(ends[1]));
  EXPECT_FALSE(can_colour(ends[1]));
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace corten::cli
