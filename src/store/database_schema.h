// The tables of corten.db. Private to database.cc.
#pragma once

#include "store/sqlite.h"

namespace corten::store {

// Brings a database of any earlier version, a new one included, to the present schema. `invalid` for a newer one.
Result<> migrate(Sqlite& sqlite);

}  // namespace corten::store
