#include <string>
#include <vector>

#include "cli/context.h"

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  return corten::cli::run_command_line(words);
}
