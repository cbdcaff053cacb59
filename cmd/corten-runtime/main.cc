#include "ociruntime/command_line.h"

int main(int argc, char** argv) { return corten::ociruntime::run_command_line({argv + 1, argv + argc}); }
