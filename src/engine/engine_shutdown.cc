// The daemon's end: containers are left running, or stopped when live restore is off.
#include <signal.h>

#include <algorithm>

#include "base/log.h"
#include "engine/engine_impl.h"
#include "store/store.h"

namespace corten::engine {

void EngineImpl::reconfigure(bool live_restore, std::chrono::seconds shutdown_timeout) {
  settings_.live_restore = live_restore;
  settings_.shutdown_timeout = shutdown_timeout;
}

void EngineImpl::shutdown() {
  if (shutting_down_.exchange(true)) return;
  // Who built is gone or about to go; the next daemon would end them all the same.
  for (const auto& container : registry_.all()) {
    const auto view = container->view();
    if (view->definition->build_step && view->state.running()) (void)send_signal(container, SIGKILL, false);
  }
  if (!settings_.live_restore) stop_everything();
  janitor_.drain(std::chrono::seconds(10));
  if (auto flushed = store_.database().flush(); !flushed) log::warn("{}", flushed.error().text());
}

// All at once, each with its own stop signal and time, none with more than the daemon has.
void EngineImpl::stop_everything() {
  std::vector<ContainerRef> running;
  for (const auto& container : registry_.all()) {
    if (container->view()->state.running()) running.push_back(container);
  }
  std::vector<std::shared_ptr<WaitState>> waiters;
  for (const auto& container : running) {
    auto waiter = std::make_shared<WaitState>(WaitCondition::not_running);
    container->with([&](Container::Data& data) {
      if (data.state.running()) {
        data.waiters.push_back(waiter);
      } else {
        waiter->finish({});
      }
    });
    waiters.push_back(std::move(waiter));
    const auto& text = container->view()->definition->config.stop_signal;
    const int signo = text.empty() ? SIGTERM : parse_signal(text).value_or(SIGTERM);
    (void)send_signal(container, signo, false);
  }
  const auto begun = std::chrono::steady_clock::now();
  const auto within = [&](std::chrono::milliseconds limit) {
    const auto left = begun + limit - std::chrono::steady_clock::now();
    return std::max(std::chrono::duration_cast<std::chrono::milliseconds>(left), std::chrono::milliseconds(0));
  };
  for (std::size_t i = 0; i < running.size(); ++i) {
    const auto own = running[i]->view()->definition->config.stop_timeout;
    auto limit = std::chrono::seconds(own.value_or(10));
    if (limit.count() < 0 || limit > settings_.shutdown_timeout) limit = settings_.shutdown_timeout;
    if (waiters[i]->wait_for(within(limit))) continue;
    (void)send_signal(running[i], SIGKILL, false);
  }
  for (const auto& waiter : waiters) {
    (void)waiter->wait_for(within(settings_.shutdown_timeout + std::chrono::seconds(5)));
    waiter->abandon();
  }
}

}  // namespace corten::engine
