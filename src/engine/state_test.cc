#include "engine/state.h"

#include <gtest/gtest.h>

namespace corten::engine {
namespace {

State in(Status status) {
  State state;
  state.status = status;
  state.restarting = status == Status::restarting;
  return state;
}

TEST(StateTable, NormalLife) {
  EXPECT_EQ(after(Status::created, Move::start), Status::running);
  EXPECT_EQ(after(Status::running, Move::pause), Status::paused);
  EXPECT_EQ(after(Status::paused, Move::unpause), Status::running);
  EXPECT_EQ(after(Status::running, Move::exit), Status::exited);
  EXPECT_EQ(after(Status::exited, Move::remove), Status::removing);
}

TEST(StateTable, RefusesIllegalMoves) {
  EXPECT_FALSE(after(Status::created, Move::exit));
  EXPECT_FALSE(after(Status::running, Move::start));
  EXPECT_FALSE(after(Status::running, Move::remove));
  EXPECT_FALSE(after(Status::exited, Move::pause));
  EXPECT_FALSE(after(Status::removing, Move::start));
  EXPECT_FALSE(after(Status::dead, Move::start));
}

TEST(StateTexts, AreDockers) {
  EXPECT_EQ(may_start(in(Status::running), "abc").error().kind(), ErrorKind::not_modified);
  EXPECT_EQ(may_start(in(Status::paused), "abc").error().text(),
            "cannot start a paused container, try unpause instead");
  EXPECT_EQ(must_run(in(Status::exited), "abc").error().text(), "container abc is not running");
  EXPECT_EQ(
      may_remove(in(Status::running), "web", "abc", false).error().text(),
      "cannot remove container \"/web\": container is running: stop the container before removing or force remove");
  EXPECT_EQ(may_remove(in(Status::paused), "web", "abc", false).error().text(),
            "cannot remove container \"/web\": container is paused and must be unpaused first");
  EXPECT_TRUE(may_remove(in(Status::running), "web", "abc", true));
  EXPECT_EQ(may_remove(in(Status::removing), "web", "abc", true).error().kind(), ErrorKind::conflict);
  EXPECT_EQ(may_pause(in(Status::paused), "abc").error().text(), "Container abc is already paused");
  EXPECT_EQ(may_exec(in(Status::paused), "abc").error().text(),
            "Container abc is paused, unpause the container before exec");
}

}  // namespace
}  // namespace corten::engine
