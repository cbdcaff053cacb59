// POST /build: Docker's classic builder.
#include <array>

#include "server/build_classic.h"
#include "server/build_context.h"
#include "server/build_corten.h"
#include "server/build_options.h"
#include "server/build_run.h"

namespace corten::server {
namespace {

class BodySource : public store::ByteSource {
 public:
  explicit BodySource(http::Request& request) : request_(request) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override { return request_.read(buffer); }

 private:
  http::Request& request_;
};

Result<BuildInput> input_of(Call& call, const spec::BuildRequest& request, const std::stop_token& stop) {
  if (!request.context.url.empty()) return remote_input(call, request.context.url, stop);
  BodySource body(call.request);
  return take_input(body, call.services.build->pool, stop);
}

// Everything that is wrong with the request itself is said before the stream begins, with its status.
Result<> classic_build(Call& call) {
  if (!call.services.build) return no_builder();
  CHECK(refuse_buildkit(call));
  const spec::BuildRequest request = TRY(classic_request(call));
  build::Options options = TRY(build_options(request));
  ClassicTeller teller(call, {.quiet = call.flag("q")});
  CHECK(connect_images(call, options, teller));
  BuildInput input = TRY(input_of(call, request, {}));
  const std::stop_token stop = call.request.stop_token();
  if (!input.dockerfile) input = TRY(open_dockerfile(std::move(input.tree), request.dockerfile, stop));
  CHECK(check_dockerfile(input));
  options.dockerfile = input.dockerfile_name;
  options.dockerfile_text = std::move(input.dockerfile);
  options.context = std::move(input.tree);
  const auto done = run_build(call, options, teller, stop);
  if (!done) return teller.finish(std::unexpected(done.error()));
  return teller.finish(done->outcome);
}

constexpr std::array table{
    Route{"POST", "/build", classic_build},
    Route{"POST", "/build/corten", corten_build},
    Route{"POST", "/build/contexts", begin_context},
    Route{"POST", "/build/contexts/tar", take_tar_context},
    Route{"POST", "/build/contexts/{session}/contents", take_contents},
    Route{"DELETE", "/build/contexts/{session}", drop_context},
    Route{"GET", "/build/results/{id}/{output}", fetch_result},
    Route{"POST", "/build/ssh/{session}/{id}", forward_agent},
};

}  // namespace

std::unexpected<Error> no_builder() { return fail(ErrorKind::not_implemented, "this daemon does not build images"); }

std::span<const Route> build_routes() { return table; }

}  // namespace corten::server
