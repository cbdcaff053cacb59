// From a log configuration to the writers behind a LogSink.
#include "shim/log_files.h"
#include "shim/log_network.h"

namespace corten::shim {
namespace {

Result<RotatingFile> open_file(const shimproto::LogConfig& config, int directory, RotatingFile::TailCheck check,
                               const std::shared_ptr<LogLosses>& losses) {
  if (directory < 0) return fail(ErrorKind::invalid, "log driver without a directory for its files");
  if (config.file_name.empty() || config.file_name.find('/') != std::string::npos)
    return fail(ErrorKind::invalid, "log file name \"{}\"", config.file_name);
  RotatingFile file(directory, config.file_name, {config.max_size, std::max(1U, config.max_files)}, check, losses);
  CHECK(file.open());
  return file;
}

}  // namespace

Result<std::unique_ptr<LogSink>> make_log_sink(Loop& loop, const shimproto::LogConfig& config,
                                               const std::string& container_id, int directory) {
  using shimproto::LogDriver;
  auto losses = std::make_shared<LogLosses>();
  std::vector<std::unique_ptr<RecordWriter>> writers;
  const auto add = [&](std::unique_ptr<RecordWriter> writer) {
    if (writer) writers.push_back(std::move(writer));
  };
  const bool sends = config.driver == LogDriver::syslog || config.driver == LogDriver::journald;
  if (config.driver == LogDriver::json_file)
    add(make_json_file_writer(TRY(open_file(config, directory, json_tail_check, losses)), config.attributes));
  if (config.driver == LogDriver::syslog) add(make_syslog_writer(loop, config, losses));
  if (config.driver == LogDriver::journald) add(make_journald_writer(loop, config, container_id, losses));
  // A driver that sends may keep a local copy beside, so that `logs` can read it.
  if (config.driver == LogDriver::local || (sends && !config.file_name.empty()))
    add(make_local_writer(TRY(open_file(config, directory, local_tail_check, losses))));
  return std::make_unique<LogSink>(std::move(writers), std::move(losses));
}

}  // namespace corten::shim
