# All libraries from outside; docs/dependencies.md gives the reason for each.
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED)
# OpenSSL as archives: loading and relocating the shared ones costs 0.7 ms at each start of the command line and 1.2 MB
# of memory, also where no TLS is used.
set(OPENSSL_USE_STATIC_LIBS TRUE)
find_package(OpenSSL REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(GTest REQUIRED)
find_package(BZip2 REQUIRED)
find_package(ZLIB REQUIRED)
foreach(lib sqlite3 liblzma libseccomp libzstd libisal liblz4)
  pkg_check_modules(${lib} REQUIRED IMPORTED_TARGET ${lib})
endforeach()

# fmt as an archive: the shim is static, and the command line must not load a library for it at start.
add_library(corten_fmt STATIC ${CMAKE_SOURCE_DIR}/cmake/fmt.cc)

# Boost.JSON likewise; by file, because its CMake target brings macros that the shared precompiled header does not have.
find_library(CORTEN_BOOST_JSON libboost_json.a REQUIRED)
find_library(CORTEN_BOOST_CONTAINER libboost_container.a REQUIRED)
add_library(corten_boost_json INTERFACE)
target_link_libraries(corten_boost_json INTERFACE ${CORTEN_BOOST_JSON} ${CORTEN_BOOST_CONTAINER})

# libseccomp as an archive: corten-runtime is static, and the shared object by path would be left unresolved in it.
find_library(CORTEN_LIBSECCOMP libseccomp.a REQUIRED)
add_library(corten_libseccomp INTERFACE)
target_link_libraries(corten_libseccomp INTERFACE ${CORTEN_LIBSECCOMP})
