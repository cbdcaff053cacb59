# All libraries from outside; docs/dependencies.md gives the reason for each.
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json)
find_package(OpenSSL REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(GTest REQUIRED)
find_package(ZLIB REQUIRED)
foreach(lib sqlite3 libarchive libseccomp libzstd libisal libnftables libmnl)
  pkg_check_modules(${lib} REQUIRED IMPORTED_TARGET ${lib})
endforeach()

# fmt as an archive: the shim is static, and the command line must not load a library for it at start.
add_library(corten_fmt STATIC ${CMAKE_SOURCE_DIR}/cmake/fmt.cc)
