// A folder of the client's becomes a build context of the daemon's, and what the daemon has already is not sent again.
//
// Two requests. The first one's body is the manifest: a record for each file, with its stat identity and no content.
// The daemon, which remembers the last manifest of each context and the digests of what it named, answers with a
// session and the indexes of the files that it must see. The second one's body is those files' contents. From then on
// the session stands for the context, until a build takes it or ten minutes pass. The format is in docs/context.md.
//
//   client:  auto sender = TRY(Sender::open(folder, ignore, stop));
//            POST first, body sender->manifest()         → CHECK(sender->take_answer(body of the answer))
//            if (sender->wanted_files() > 0)
//              POST second, for sender->session(), body_source = sender->contents(), body_length =
//              sender->content_length()
//            then the build names sender->session()
//   daemon:  first:  answer with TRY(sessions.begin(body, stop))
//            second: CHECK(sessions.contents(session, body, stop))
//            build:  auto tree = TRY(sessions.take(session))
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"
#include "context/ignore.h"
#include "context/listing.h"
#include "context/pool.h"
#include "context/tree.h"
#include "store/stream.h"

namespace corten::context {

// The client's side. One thread at a time.
class Sender {
 public:
  // Walks the folder. Errors name the file: "build context /src: open secret.key: permission denied".
  static Result<std::unique_ptr<Sender>> open(const std::string& folder, const Ignore& ignore = {},
                                              const std::stop_token& stop = {});
  virtual ~Sender() = default;

  virtual const Listing& listing() const = 0;
  // The first request's body.
  virtual const std::string& manifest() const = 0;
  // Its answer. `invalid` where it is none (another version, a proxy's page).
  virtual Result<> take_answer(std::string_view answer) = 0;
  // From here on: known after take_answer.
  virtual const std::string& session() const = 0;  // 32 hexadecimal digits
  virtual std::size_t wanted_files() const = 0;
  virtual std::uint64_t wanted_bytes() const = 0;  // of the files themselves
  // The second request's body, exactly content_length() bytes. Read from its beginning each time it is asked for; the
  // Sender must outlive it. `conflict` naming the file where one has changed since the walk.
  virtual std::uint64_t content_length() const = 0;
  virtual std::unique_ptr<store::ByteSource> contents() = 0;
};

// The daemon's side. Thread-safe; nothing waits for a client with a lock held.
class Sessions {
 public:
  struct Options {
    std::chrono::steady_clock::duration idle = std::chrono::minutes(10);
    std::size_t sessions = 256;    // waiting at once
    std::size_t remembered = 512;  // contexts whose last manifest is kept
    std::uint64_t manifest_bytes = 1ULL << 30;
  };
  // `directory` (<data-root>/build/contexts) is made; `pool` is borrowed.
  static Result<std::unique_ptr<Sessions>> open(const std::string& directory, Pool& pool, const Options& options);
  static Result<std::unique_ptr<Sessions>> open(const std::string& directory, Pool& pool);
  virtual ~Sessions() = default;

  // The first request's body to the answer's. `invalid`: not a manifest, or one that lies in itself.
  virtual Result<std::string> begin(store::ByteSource& manifest, const std::stop_token& stop) = 0;
  // The second's. `not_found`: no such session. After an error the session is gone.
  virtual Result<> contents(std::string_view session, store::ByteSource& body, const std::stop_token& stop) = 0;
  // The context, complete, to its one build: the session ends, the tree holds what it lists until it is destroyed.
  // `not_found`: no such session (any more); `conflict`: contents are missing still.
  virtual Result<std::shared_ptr<Tree>> take(std::string_view session, std::string name = "build context") = 0;
  // A build that will not come. Unknown ones are no error.
  virtual void drop(std::string_view session) = 0;
  // Sessions of which nobody has heard for too long end at each call of the above, and here (prune).
  virtual void expire() = 0;
  // Forgets what it remembers of contexts: the next sync of each sends all that the pool does not have.
  virtual Result<> forget() = 0;
};

}  // namespace corten::context
