// A whole engine on real modules in a scratch directory and a network namespace of its own, for the tests that run
// containers. Needs root, busybox and the corten-shim program of the same build tree.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/make_engine.h"
#include "image/images.h"
#include "network/network.h"
#include "store/store.h"
#include "volume/volumes.h"

namespace corten::engine {

// What comes out of a multiplexed stream until its end, headers taken off.
std::string read_frames(int fd);

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().text());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

class LifeTest : public testing::Test {
 protected:
  static void SetUpTestSuite();
  void SetUp() override;
  void TearDown() override;

  // A daemon's beginning and end. close() is what SIGTERM does with live restore on.
  void open();
  void close();

  CreateRequest request(std::vector<std::string> command) const;
  std::string create(CreateRequest request);
  std::string run(CreateRequest request);  // create and start
  int wait(const std::string& id, WaitCondition condition = WaitCondition::not_running);
  std::string log_of(const std::string& id);
  // What an attached exec writes (both streams), and its exit code.
  std::pair<std::string, int> exec(const std::string& id, std::vector<std::string> command);
  State state(const std::string& id) { return must(engine_->find(id))->state; }
  // Polls until the predicate holds; false after ten seconds.
  static bool eventually(const std::function<bool()>& holds);

  std::string root_;
  Settings settings_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<image::Images> images_;
  std::unique_ptr<volume::Volumes> volumes_;
  std::shared_ptr<network::Driver> driver_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace corten::engine
