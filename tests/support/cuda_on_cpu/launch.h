// Calls a kernel by its name with the addresses of its arguments, as the driver does.
#pragma once
#include <primitives.cuh>

#include <utility>

template <class... Parameters, size_t... Numbers>
void call_kernel(void (*kernel)(Parameters...), void** arguments, std::index_sequence<Numbers...>) {
    kernel(*static_cast<std::remove_reference_t<Parameters>*>(arguments[Numbers])...);
}

template <class... Parameters>
void launch_kernel(void (*kernel)(Parameters...), const int* grid_and_threads, size_t shared_bytes, void** arguments) {
    fibers::run_grid({grid_and_threads[0], grid_and_threads[1], grid_and_threads[2]}, grid_and_threads[3], shared_bytes,
                     [&] { call_kernel(kernel, arguments, std::index_sequence_for<Parameters...>{}); });
}

// A copy of the arguments that stays for the life of the process, as the driver makes one of a launch.
template <class... Parameters, size_t... Numbers>
void** copy_arguments(void (*)(Parameters...), void** arguments, std::index_sequence<Numbers...>) {
    return new void*[sizeof...(Parameters)]{
        new std::remove_reference_t<Parameters>(*static_cast<std::remove_reference_t<Parameters>*>(arguments[Numbers]))...};
}

template <class... Parameters> void** copy_all(void (*kernel)(Parameters...), void** arguments) {
    return copy_arguments(kernel, arguments, std::index_sequence_for<Parameters...>{});
}

#define LAUNCHED(kernel)                                                                                         \
    extern "C" void launch_##kernel(const int* grid_and_threads, size_t shared_bytes, void** arguments) {        \
        launch_kernel(kernel, grid_and_threads, shared_bytes, arguments);                                        \
    }                                                                                                            \
    extern "C" void** copied_##kernel(void** arguments) { return copy_all(kernel, arguments); }
