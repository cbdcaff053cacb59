// Internal: what the parts of Registry share.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "oci/image.h"
#include "remote/registry.h"
#include "remote/transport.h"

namespace corten::remote {

// "/v2/<repository>/<rest>"; `invalid` for a name that could not stand in a path.
Result<std::string> repository_path(std::string_view repository, std::string_view rest);
// For reads: who is not let in, or asks for what is not there, is told what Docker tells.
Error read_refusal(Transport& transport, Answer& answer, std::string_view repository, std::string_view what);
// For writes: the registry's own words behind what was done.
Error write_refusal(Transport& transport, Answer& answer, std::string_view what);
// The answer to a GET with all of its body, at most `limit` bytes; asked for again where it breaks.
struct Document {
  int status = 0;
  http::Headers headers;
  std::string bytes;  // of a status 200 only
  Url url;
};
Result<Document> get_document(Transport& transport, const Call& call, std::size_t limit, std::string_view repository,
                              std::string_view what);
// The same for what is no registry's document: `refusal` says what another status than 200 means.
Result<Document> get_document(Transport& transport, const Call& call, std::size_t limit, std::string_view what,
                              const std::function<Error(Answer&)>& refusal);
// The registry's own URL that Link names as rel="next"; nullopt where there is none, `invalid` for another place's.
Result<std::optional<std::string>> next_page(const http::Headers& headers, const Url& url);

}  // namespace corten::remote
