// The data root, opened: who holds it holds its lock, its content, its database and its snapshots.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "store/content.h"
#include "store/database.h"
#include "store/snapshots.h"

namespace corten::store {

struct StoreOptions {
  LayerForm layers = LayerForm::automatic;
  bool compress_images = false;  // OverlayOptions
};

class Store {
 public:
  // Makes what is missing. `conflict` when another daemon has this data root.
  static Result<std::unique_ptr<Store>> open(const std::string& data_root, const StoreOptions& options = {});
  ~Store();

  const std::string& data_root() const { return data_root_; }
  ContentStore& content() { return *content_; }
  Database& database() { return *database_; }
  Snapshots& snapshots() { return *snapshots_; }

 private:
  Store() = default;
  std::string data_root_;
  UniqueFd lock_;
  // In this order: snapshots post to the database until they are gone.
  std::unique_ptr<ContentStore> content_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<Snapshots> snapshots_;
};

}  // namespace corten::store
