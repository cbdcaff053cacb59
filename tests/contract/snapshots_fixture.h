// The suite that every snapshot driver runs: the store it works on.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "oci/digest.h"
#include "store/archive.h"
#include "store/database.h"
#include "store/overlay_snapshots.h"
#include "store/store_fixture.h"

namespace corten::store {

struct Driver {
  const char* name;
  std::function<Result<std::unique_ptr<Snapshots>>(const std::string& directory, Database& database)> open;
  bool maps_owners;
};

class SnapshotsContract : public testing::TestWithParam<Driver> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "mounts need root";
    open();
  }
  void open() {
    snapshots_.reset();
    database_.reset();
    auto database = Database::open(root_.path() + "/corten.db");
    ASSERT_TRUE(database) << database.error().text();
    database_ = std::move(*database);
    auto snapshots = GetParam().open(root_.path() + "/snapshots", *database_);
    if (!snapshots && snapshots.error().kind() == ErrorKind::unavailable) GTEST_SKIP() << snapshots.error().text();
    ASSERT_TRUE(snapshots) << snapshots.error().text();
    snapshots_ = std::move(*snapshots);
  }
  // Applies a tar on top of a layer and returns the new chain id.
  std::string layer(const std::string& parent, const std::string& tar) {
    const std::string chain = oci::chain_id(parent, oci::Digest::of(tar).text());
    StringSource source(tar);
    auto applied = snapshots_->apply_layer(chain, parent, source);
    EXPECT_TRUE(applied) << applied.error().text();
    return chain;
  }
  UniqueFd mounted(std::string_view key, const SnapshotMountOptions& options = {}) {
    auto mount = snapshots_->mount(key, options);
    EXPECT_TRUE(mount) << mount.error().text();
    return mount ? std::move(*mount) : UniqueFd();
  }
  std::vector<std::string> changes(std::string_view key) {
    std::vector<std::string> out;
    auto changes = snapshots_->changes(key);
    EXPECT_TRUE(changes) << changes.error().text();
    if (changes)
      for (const Change& change : *changes)
        out.push_back(std::string(1, "CAD"[static_cast<int>(change.kind)]) + " " + change.path);
    return out;
  }

  TempTree root_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<Snapshots> snapshots_;
};

inline std::string base_tar() {
  return TarMaker()
      .dir("bin")
      .file("bin/sh", "shell", 04755)
      .dir("etc")
      .file("etc/passwd", "root")
      .file("etc/group", "root")
      .dir("data")
      .file("data/one", "1")
      .file("data/two", "2")
      .dir("tmp", 01777)
      .done();
}

}  // namespace corten::store
