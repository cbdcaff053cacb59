// logs: lines from the files that the shim writes, to the end or for as long as the container runs.
#include <algorithm>

#include "base/cleanup.h"
#include "engine/engine_impl.h"
#include "engine/followed_log.h"
#include "engine/log_source.h"
#include "json/codec.h"
#include "shimproto/log_options.h"
#include "sys/files.h"

namespace corten::engine {

Result<LogSource> LogSource::open(const Layout& layout, const Definition& definition, logs::ReadOptions options) {
  const auto driver = TRY(shimproto::parse_log_driver(definition.host_config.log_config.type));
  if (driver == shimproto::LogDriver::none) {
    return fail(ErrorKind::not_implemented, "configured logging driver does not support reading");
  }
  // Of what goes to syslog and journald the shim keeps a copy in the local format.
  const auto format = driver == shimproto::LogDriver::json_file ? logs::Format::json_file : logs::Format::local;
  LogSource source;
  source.directory_ = TRY(sys::open_directory(layout.container(definition.id)));
  source.reader_ = TRY(
      logs::LogReader::open(source.directory_.get(), shimproto::log_file_name(driver, definition.id), format, options));
  return source;
}

std::string attributes_text(std::string_view json_object) {
  const auto map = json::from_text<std::map<std::string, std::string>>(json_object);
  if (!map) return {};
  std::string text;
  for (const auto& [key, value] : *map) {
    if (!text.empty()) text += ',';
    text.append(key).append(1, '=').append(value);
  }
  return text;
}

Result<> EngineImpl::logs(std::string_view ref, const LogOptions& options, std::stop_token stop,
                          const std::function<Result<>(const LogLine&)>& line) {
  const auto container = TRY(registry_.find(ref));
  if (!options.use_stdout && !options.use_stderr) {
    return fail(ErrorKind::invalid, "Bad parameters: you must choose at least one stream");
  }
  const auto definition = container->with([](Container::Data& data) { return data.definition; });
  logs::ReadOptions wanted;
  wanted.want_stdout = options.use_stdout;
  wanted.want_stderr = options.use_stderr;
  wanted.since = options.since;
  wanted.until = options.until;
  if (options.tail) wanted.tail = static_cast<std::int64_t>(std::min<std::uint64_t>(*options.tail, INT64_MAX));
  wanted.follow = options.follow;
  auto source = TRY(LogSource::open(layout_, *definition, wanted));

  std::shared_ptr<FollowedLog> followed;
  if (options.follow) {
    followed = std::make_shared<FollowedLog>(source.reader());
    const bool over = container->with([&](Container::Data& data) {
      std::erase_if(data.followers, [](const auto& weak) { return weak.expired(); });
      data.followers.push_back(followed);
      return !data.run && !data.starting;
    });
    if (over) source.reader().end_of_log();
  }
  const Cleanup leave([&] {
    if (followed) followed->leave();
  });
  for (;;) {
    auto record = source.reader().next(stop);
    if (!record) {
      if (record.error().kind() == ErrorKind::cancelled && stop.stop_requested()) return {};
      return std::unexpected(std::move(record).error());
    }
    if (!*record) return {};
    const auto& found = **record;
    const std::string attributes =
        options.details && !found.attributes.empty() ? attributes_text(found.attributes) : std::string();
    CHECK(line({found.stream == logs::Stream::err, found.time, found.line, attributes}));
  }
}

}  // namespace corten::engine
