// SPDX-License-Identifier: GPL-2.0-only
#include "machine/library.hpp"

#include <dlfcn.h>
#include <stdexcept>
#include <string>

namespace machine {

Library::Library(const char *file, const char *wanted_by, const char *package)
    : file_(file), handle_(dlopen(file, RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr)
        throw std::runtime_error(std::string(wanted_by) + " wants " + file +
                                 ", of Debian's package " + package + ": " + dlerror());
}

Library::Function Library::operator[](const char *name) const {
    void *address = dlsym(handle_, name);
    if (address == nullptr)
        throw std::runtime_error(std::string(file_) + " has no function " + name);
    return Function{address};
}

} // namespace machine
