// SPDX-License-Identifier: GPL-2.0-only
// library.hpp - a shared library that is loaded when a guest's option asks for it: most launches do
// without, and a library that is linked costs each of them its loading and that of all it needs.
#pragma once

namespace machine {

class Library {
  public:
    // A function of a library, which becomes a pointer to whatever type is wanted of it:
    //   decltype(&::slirp_new) slirp_new = library["slirp_new"];
    class Function {
      public:
        explicit Function(void *address) : address_(address) {}
        template <typename F>
        operator F *() const {
            return reinterpret_cast<F *>(address_);
        }

      private:
        void *address_;
    };

    // `file` is its name with the version of the interface, `wanted_by` what the user asked for,
    // `package` Debian's. Throws std::runtime_error that says what to install. It is never
    // unloaded: libraries leave threads' exit handlers behind.
    Library(const char *file, const char *wanted_by, const char *package);
    // Throws std::runtime_error when it has none of that name.
    Function operator[](const char *name) const;

  private:
    const char *file_;
    void *handle_;
};

} // namespace machine
