#include "server/head_read.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace corten::server {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::microseconds first_pause{50}, last_pause{2'000};
constexpr std::chrono::milliseconds patience{500};
// Of TCP the kernel tells what the peer's kernel has got, not what the peer has read.
constexpr std::chrono::milliseconds until_read_from_tcp{20};

bool is_all_taken(int socket) {
  int left = 0;
  return ::ioctl(socket, SIOCOUTQ, &left) != 0 || left == 0;
}

}  // namespace

bool loses_early_output(const http::Request& request) {
  return request.peer.transport != http::Transport::tls &&
         request.headers.get("User-Agent").value_or("").starts_with("docker-sdk-python/");
}

void wait_until_head_is_read(int socket, http::Transport transport) {
  const auto end = steady_clock::now() + patience;
  auto pause = first_pause;
  while (!is_all_taken(socket) && steady_clock::now() < end) {
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, last_pause);
  }
  // The reader looks once more for bytes before it returns with those it has.
  std::this_thread::sleep_for(transport == http::Transport::tcp ? until_read_from_tcp : std::chrono::milliseconds(1));
}

}  // namespace corten::server
