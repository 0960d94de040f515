#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
"""The module's build, on a small module of its own: what it must refuse, and that it builds again exactly what changed."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TREE = Path(os.environ.get("HWV_TMP", ROOT / "build/tmp/unit/build/kbuild")) / "tree"
KEEP = ["kmod/Kbuild", "kmod/cxx.mk", "kmod/cxx.lds", "kmod/cxx-shim", "kmod/linux/gen", "kmod/host.h", "kmod/core/runtime.cpp"]
KEEP += ["kmod/linux/compat.h", "include/uapi", "scripts/build-module"]

MODULE_C = """
#include <linux/module.h>
#include <linux/slab.h>
#include "host.h"
void hwv_host_bug(void) { BUG(); }
void *hwv_host_alloc(__u64 bytes) { return kvzalloc(bytes, GFP_KERNEL_ACCOUNT); }
void hwv_host_free(void *memory) { kvfree(memory); }
int probe(int value);
static int __init hwv_init(void) { return probe(0); }
static void __exit hwv_exit(void) { }
module_init(hwv_init);
module_exit(hwv_exit);
MODULE_DESCRIPTION("build test");
MODULE_LICENSE("GPL");
"""
PROBE_HPP = "#pragma once\ninline int twice(int value) { return 2 * value; }\n"
PROBE_CPP = '#include "core/probe.hpp"\nextern "C" int probe(int value);\nextern "C" int probe(int value) { return twice(value); }\n'
EXTRA_CPP = 'extern "C" int extra_symbol();\nextern "C" int extra_symbol() { return 1; }\n'

# name, source, what the build says about it; None: it must be accepted
CASES = [
    ("global constructor", "volatile int v; int g = v + 1; int f(); int f() { return g; }", "init_array"),
    ("constructor hidden by constinit", "volatile int v; constinit int g = v + 1; int f(); int f() { return g; }", "constinit"),
    ("global destructor", "struct S { int v; ~S(); }; S::~S() { v = 0; } constinit S s{1};", r"init_array|__cxa_atexit|__dso_handle"),
    ("guarded local static", "int f(); int g(); int g() { static int v = f(); return v; }", "_ZGV"),
    ("constant local static", "int g(); int g() { static int v = 3; return ++v; }", None),
    ("thread_local", "thread_local int t; int g(); int g() { return ++t; }", r"\.tbss|_ZTW|__tls"),
    ("exception", "int g(int a); int g(int a) { if (a) throw 1; return 0; }", "exception handling disabled"),
    (
        "dynamic_cast",
        "struct A { virtual int f(); }; struct B : A { int f() override; }; int A::f() { return 1; } int B::f() { return 2; }\n"
        "B *g(A *a); B *g(A *a) { return dynamic_cast<B *>(a); }",
        "-fno-rtti",
    ),
    ("throwing new", "int *g(); int *g() { return new int{7}; }", "U _Znwm"),
    ("nothrow new", "#include <new>\nint *g(); int *g() { return new (std::nothrow) int{7}; }", None),
    ("floating point", "int g(int a); int g(int a) { return static_cast<int>(a * 1.5); }", "SSE"),
    ("a libc header", "#include <cstring>\n", r"string\.h"),
    ("frame above 2 KiB", "int g(int a); int g(int a) { volatile char b[4000]; b[a] = 1; return b[7]; }", "frame size"),
    ("missing return", "int g(int a); int g(int a) { if (a) return 1; }", "control reaches end"),
    ("a warning", "int g(); int g() { int unused; return 1; }", "unused variable"),
    ("ret in inline assembly", 'void g(); void g() { asm volatile("ret"); }', "naked|warning: objtool|missing int3"),
    (
        "what the core lives on",
        "#include <array>\n#include <atomic>\n#include <bit>\n#include <concepts>\n#include <optional>\n#include <span>\n"
        "#include <variant>\n#include <tuple>\nstd::atomic<int> n; struct D { virtual int f() = 0; virtual ~D() = default; };\n"
        "struct E final : D { int f() override { return n.fetch_add(1); } }; int g(D *d); int g(D *d) { E e; delete d; return e.f(); }",
        None,
    ),
]


def tree():
    shutil.rmtree(TREE, ignore_errors=True)
    for name in KEEP:
        source, target = ROOT / name, TREE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    write("linux/module.c", MODULE_C)
    write("core/probe.hpp", PROBE_HPP)
    write("core/probe.cpp", PROBE_CPP)


def write(name, text):
    (TREE / "kmod" / name).write_text("// SPDX-License-Identifier: GPL-2.0-only\n" + text)


def build():
    """(good, what was made, everything said)"""
    kdir = (ROOT / "build/kdir").read_text().strip()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    command = [TREE / "scripts/build-module", kdir, "build", "W=1", "HWV_WERROR=y"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    made = {f"{tool} {Path(name).name}" for tool, name in re.findall(r"^  (\w+)\s+(?:\[M\]\s+)?(\S+)$", run.stdout, re.M)}
    return run.returncode == 0, made, run.stdout + run.stderr


def report(name, why):
    name = name.replace(" ", "-")
    print(f"not ok kbuild/{name} - {why}" if why else f"ok kbuild/{name}", flush=True)


def refuses(name, source, want):
    write("core/case.cpp", source + "\n")
    good, _, said = build()
    if want is None:
        return report("accepts " + name, None if good else "refused: " + last_error(said))
    return report("refuses " + name, "accepted" if good else None if re.search(want, said) else "other words: " + last_error(said))


def last_error(said):
    lines = [line for line in said.splitlines() if re.search(r"error|warning|[A-Z_]{3}", line)]
    return lines[0][:200] if lines else "silence"


def rebuilds(name, change, want):
    """After `change` exactly the objects `want` are made (of those that this module is about)."""
    change()
    good, made, said = build()
    made = {m for m in made if re.match(r"(CC|CXX|LDCXX|UPD) ", m) and not m.endswith("hwv.mod.o")}
    report("rebuild after " + name, None if good and made == want else f"made {sorted(made)}" if good else last_error(said))


def touch(name):
    def act():
        path = TREE / name
        path.write_text(path.read_text() + "\n")

    return act


def has_symbol(name):
    out = subprocess.run(["nm", TREE / "build/hwv.ko"], capture_output=True, text=True, check=True).stdout
    return re.search(rf"\b{name}$", out, re.M) is not None


def tracking():
    rebuilds("nothing", lambda: None, set())
    rebuilds("a header", touch("kmod/core/probe.hpp"), {"CXX probe.o", "LDCXX hwv-core.o"})
    rebuilds("a source", touch("kmod/core/probe.cpp"), {"CXX probe.o", "LDCXX hwv-core.o"})
    rebuilds("a door", touch("kmod/host.h"), {"CXX runtime.o", "CC module.o", "LDCXX hwv-core.o"})
    rebuilds("the linker script", touch("kmod/cxx.lds"), {"LDCXX hwv-core.o"})
    rebuilds("offsets that stay the same", touch("kmod/linux/gen/offsets.c"), {"CC offsets.s"})
    rebuilds("a new source", lambda: write("core/extra.cpp", EXTRA_CPP), {"CXX extra.o", "LDCXX hwv-core.o"})
    report("new source is in", None if has_symbol("extra_symbol") else "its symbol is not in hwv.ko")
    rebuilds("a removed source", (TREE / "kmod/core/extra.cpp").unlink, {"LDCXX hwv-core.o"})
    report("removed source is out", "its symbol is still in hwv.ko" if has_symbol("extra_symbol") else None)
    dirt = [str(p.relative_to(TREE)) for p in (TREE / "kmod").rglob("*") if p.suffix in (".o", ".ko", ".cmd", ".mod", ".d")]
    report("sources stay clean", f"beside the sources: {dirt}" if dirt else None)


def main():
    tree()
    good, _, said = build()
    if not good:
        print(said)
        report("builds", last_error(said))
        return 0
    tracking()
    for case in CASES:
        refuses(*case)
    return 0


if __name__ == "__main__":
    sys.exit(main())
