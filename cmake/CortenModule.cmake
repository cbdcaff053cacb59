# corten_module(NAME [DEPS module...] [LIBS target...]): the folder's *.cc as library corten_NAME, its *_test.cc as the
# program NAME_test, registered with ctest. Which module may include which is checked by tools/check-layers against
# src/layers.txt; DEPS here only serves the linker.
#
# Boost.JSON and fmt headers are in one precompiled header that every module shares (corten_pch).
add_library(corten_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
target_precompile_headers(corten_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h)
target_link_libraries(corten_pch PUBLIC corten_fmt)

add_library(corten_test_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
target_precompile_headers(corten_test_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch_test.h)
target_link_libraries(corten_test_pch PUBLIC corten_fmt GTest::gmock)

# -iquote, not -I: src/sys/mount.h must not be found by <sys/mount.h>.
function(corten_module NAME)
  cmake_parse_arguments(ARG "" "" "DEPS;LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc)
  if(tests)
    list(REMOVE_ITEM sources ${tests})
  endif()
  list(TRANSFORM ARG_DEPS PREPEND corten_)
  if(sources)
    add_library(corten_${NAME} STATIC ${sources})
    target_compile_options(corten_${NAME} PUBLIC "SHELL:-iquote ${CMAKE_SOURCE_DIR}/src")
    target_link_libraries(corten_${NAME} PUBLIC ${ARG_DEPS} ${ARG_LIBS} corten_fmt)
    target_precompile_headers(corten_${NAME} REUSE_FROM corten_pch)
  else()
    add_library(corten_${NAME} INTERFACE)
    target_compile_options(corten_${NAME} INTERFACE "SHELL:-iquote ${CMAKE_SOURCE_DIR}/src")
    target_link_libraries(corten_${NAME} INTERFACE ${ARG_DEPS} ${ARG_LIBS} corten_fmt)
  endif()
  if(tests)
    add_executable(${NAME}_test ${tests})
    target_link_libraries(${NAME}_test PRIVATE corten_${NAME} GTest::gmock GTest::gtest_main)
    target_precompile_headers(${NAME}_test REUSE_FROM corten_test_pch)
    set_target_properties(${NAME}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    add_test(NAME unit.${NAME} COMMAND ${NAME}_test)
    set_tests_properties(unit.${NAME} PROPERTIES LABELS unit TIMEOUT 300)
  endif()
endfunction()

# corten_program(NAME [MODULES module...] [STATIC] [GUEST]): cmd/NAME/main.cc linked to those modules. GUEST: it runs
# inside containers, where it finds no libraries, a sanitizer's neither.
function(corten_program NAME)
  cmake_parse_arguments(ARG "STATIC;GUEST" "" "MODULES" ${ARGN})
  list(TRANSFORM ARG_MODULES PREPEND corten_)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${NAME}/*.cc)
  add_executable(${NAME} ${sources})
  target_link_libraries(${NAME} PRIVATE ${ARG_MODULES})
  # A sanitizer's runtime cannot be linked into a static program.
  if(ARG_GUEST)
    target_compile_options(${NAME} PRIVATE -fno-sanitize=all)
    target_link_options(${NAME} PRIVATE -fno-sanitize=all -static -no-pie)
  elseif(ARG_STATIC AND NOT CORTEN_SANITIZE)
    target_link_options(${NAME} PRIVATE -static -no-pie)
  else()
    target_link_options(${NAME} PRIVATE -static-libstdc++ -static-libgcc -no-pie)
  endif()
endfunction()
