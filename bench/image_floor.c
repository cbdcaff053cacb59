// The floors under images, and the reader of the cold read. Each call prints the seconds it took.
//
//   image_floor inflate FILE.gz…        what ISA-L takes to inflate the layers on one processor, bytes thrown away
//   image_floor write TARGET FILE.gz…   the same, bytes written to one file and flushed to the disk
//   image_floor read DIRECTORY          reads all regular files below, in the order of the directories, one file system
//   only
//
// Prints "SECONDS FILES BYTES".
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { chunk = 1 << 20 };
static unsigned char input[chunk], output[chunk];
static unsigned long long files, bytes;

static void die(const char* what) {
  fprintf(stderr, "image_floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void put(int target, const unsigned char* data, size_t size) {
  bytes += size;
  while (target >= 0 && size > 0) {
    ssize_t written = write(target, data, size);
    if (written < 0) die("write");
    data += written;
    size -= (size_t)written;
  }
}

static void inflate_file(const char* path, int target) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) die(path);
  struct inflate_state state;
  isal_inflate_init(&state);
  state.crc_flag = ISAL_GZIP;
  while (state.block_state != ISAL_BLOCK_FINISH) {
    if (state.avail_in == 0) {
      ssize_t got = read(file, input, chunk);
      if (got <= 0) die(path);
      state.next_in = input;
      state.avail_in = (uint32_t)got;
    }
    state.next_out = output;
    state.avail_out = chunk;
    int result = isal_inflate(&state);
    if (result != ISAL_DECOMP_OK) {
      errno = EBADMSG;
      die(path);
    }
    put(target, output, chunk - state.avail_out);
  }
  files++;
  close(file);
}

static void read_file(int folder, const char* name) {
  int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (file < 0) die(name);
  for (;;) {
    ssize_t got = read(file, input, chunk);
    if (got < 0) die(name);
    if (got == 0) break;
    bytes += (unsigned long long)got;
  }
  files++;
  close(file);
}

static void read_tree(int folder, dev_t device) {
  DIR* listing = fdopendir(folder);
  if (!listing) die("fdopendir");
  for (struct dirent* entry; (entry = readdir(listing));) {
    const char* name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
    if (entry->d_type == DT_REG) {
      read_file(folder, name);
    } else if (entry->d_type == DT_DIR) {
      int below = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      struct stat status;
      if (below < 0 || fstat(below, &status) != 0) die(name);
      if (status.st_dev == device)
        read_tree(below, device);
      else
        close(below);
    }
  }
  closedir(listing);
}

int main(int count, char** words) {
  if (count < 3) {
    fprintf(stderr, "usage: image_floor inflate FILE.gz… | write TARGET FILE.gz… | read DIRECTORY\n");
    return 2;
  }
  double begin = now();
  if (strcmp(words[1], "read") == 0) {
    int folder = open(words[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat status;
    if (folder < 0 || fstat(folder, &status) != 0) die(words[2]);
    read_tree(folder, status.st_dev);
  } else if (strcmp(words[1], "write") == 0) {
    int target = open(words[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (target < 0) die(words[2]);
    for (int i = 3; i < count; i++) inflate_file(words[i], target);
    if (fsync(target) != 0) die(words[2]);
  } else {
    for (int i = 2; i < count; i++) inflate_file(words[i], -1);
  }
  printf("%.6f %llu %llu\n", now() - begin, files, bytes);
  return 0;
}
