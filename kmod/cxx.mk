# SPDX-License-Identifier: GPL-2.0-only
#
# cxx.mk - freestanding C++ objects in an out-of-tree kernel module.   include $(src)/cxx.mk   from Kbuild.
#
# in:   cxx-objs    C++ objects, relative to $(obj)        (foo/bar.o  <-  foo/bar.cpp)
#       cxx-core    the object they are pre-linked into; list this one, not cxx-objs, in <module>-y
#       cxxflags-y, CXXFLAGS_<obj>, CXXFLAGS_REMOVE_<obj>   like their C namesakes
#
# Works unchanged with Kbuild of 6.1, 6.12, 7.2 (M=, and MO= where the kernel has it).

# ---- compiler: the C++ driver of exactly the compiler Kbuild uses for C ------------------------------------
#      gcc-12 -> g++-12, x86_64-linux-gnu-gcc-14 -> ...-g++-14, ccache gcc -> ccache g++, clang-19 -> clang++-19
CXX := $(subst clang,clang++,$(patsubst %gcc,%g++,$(subst gcc-,g++-,$(CC))))

cxx-need        = $(eval cxx-need := )$(if $(shell command -v $(lastword $(CXX))),,$(error $(lastword $(CXX)) not found: \
	this kernel's modules are built with $(CC), install the C++ compiler of the same version))

# ---- flags of the C compiler that C++ must not get ---------------------------------------------------------
# (a) language dialect; (b) whatever this compiler itself says is not for C++ (asked once, only when needed)
cxx-drop        = -std=gnu% -std=c% -fms-extensions -fms-anonymous-structs -Wno-gnu -Wno-microsoft-anon-tag
cxx-not-for-c++ = $(eval cxx-not-for-c++ := $$(shell LC_ALL=C $$(CXX) $$(filter-out $$(cxx-drop),$$(KBUILD_CPPFLAGS) \
	$$(KBUILD_CFLAGS)) -x c++ -fsyntax-only /dev/null 2>&1 | \
	sed -n -e "s/.*command-line option '\([^']*\)' is valid for .*/\1/p" \
	       -e "s/.* argument '\(-Werror=[^']*\)' is not valid for C++.*/\1/p"))$(cxx-not-for-c++)

# ---- what C++ gets on top ----------------------------------------------------------------------------------
cxx-std        ?= gnu++20
cxx-base-flags  = -std=$(cxx-std) -ffreestanding -fno-exceptions -fno-rtti -fno-threadsafe-statics \
		  -fno-coroutines -funsigned-char -fno-ident \
		  -Wno-volatile -Wextra -Wno-unused-parameter -Wno-missing-field-initializers \
		  -Wnon-virtual-dtor -Woverloaded-virtual -Wsuggest-override

# ---- include path: no libc, no kernel; only cxx-shim/, libstdc++ headers and the compiler's own -------------
cxx-stdinc      = $(eval cxx-stdinc := -nostdinc -nostdinc++ -I $(src)/cxx-shim \
	$$(addprefix -isystem$$(space),$$(shell LC_ALL=C $$(CXX) -E -v -x c++ /dev/null 2>&1 >/dev/null | \
		sed -n '/^#include </,/^End of search/{s,^ \(.*/c++/.*\),\1,p}' | grep -v /backward)) \
	-isystem $$(shell $$(CXX) -print-file-name=include))$(cxx-stdinc)

cxx_flags       = $(cxx-need)-Wp,-MD,$(depfile) $(cxx-stdinc) \
		  $(filter-out $(CXXFLAGS_REMOVE_$(target-stem).o), \
		    $(filter-out $(cxx-drop) $(cxx-not-for-c++) $(ccflags-y), $(_c_flags)) $(modkern_cflags) \
		    $(cxx-base-flags) $(cxxflags-y)) $(CXXFLAGS_$(target-stem).o)

# cxx-debug      DWARF of the C++ objects: n = none, y = like C, split = .dwo files next to the objects.
#                pahole cannot encode C++ types ("Unsupported DW_TAG_reference_type", up to 1.32) and Kbuild fails the .ko
#                then, so plain DWARF is only for kernels whose headers have no vmlinux to base module BTF on (6.1).
cxx-debug      ?= $(if $(and $(CONFIG_DEBUG_INFO_BTF_MODULES),$(wildcard $(objtree)/vmlinux)),n,y)
cxx-drop       += $(if $(filter n,$(cxx-debug)),$(DEBUG_CFLAGS) -g%)
cxx-base-flags += $(if $(filter split,$(cxx-debug)),-gsplit-dwarf)

# cxx-ftrace     y keeps the C++ functions traceable (__fentry__), n takes ftrace out of the C++ objects.
cxx-ftrace     ?= n
cxx-drop       += $(if $(filter y,$(cxx-ftrace)),,$(CC_FLAGS_FTRACE) -DCC_USING_FENTRY)

# Per-function side tables that gcc writes without regard to COMDAT: __mcount_loc (-mrecord-mcount, every gcc) and
# __patchable_function_entries (CALL_PADDING kernels; gcc < 12.4, PR110729).  With them ld -r stops at the first inline
# function that two objects share ("defined in discarded section").  The assembler's '?' flag puts such an entry into the
# group of the function it describes, hence the detour over .s.  (objtool --mcount is no way out: it also NOPs the
# __fentry__ calls, which a kernel built with FTRACE_MCOUNT_USE_CC answers with ftrace_bug() at insmod.)
cxx-via-s       = $(strip $(filter -mrecord-mcount -fpatchable-function-entry=%,$(cxx_flags)))
cxx-sed-groups := -e 's/^\(\t\.section __mcount_loc, "a\)",/\1?",/' \
		  -e '/^\t\.section\t__patchable_function_entries,"awo",/{N;N;' \
		  -e 's/"awo",@progbits,[^\n]*\(\n.*\n\t\.quad\t\(\.LPFE[0-9]*\)\)/"awo?",@progbits,\2\1/}'

# ";" and not "&&" below: Kbuild runs commands under set -e, which an && list would defeat (a failed compile would pass)
quiet_cmd_cxx_o_cpp = CXX $(quiet_modtag) $@
      cmd_cxx_o_cpp = $(if $(cxx-via-s), $(CXX) $(cxx_flags) -S -o $(basename $@).s $< ; \
				sed -i $(cxx-sed-groups) $(basename $@).s ; \
				$(CXX) $(filter -m32 -m64 -Wa% -gsplit-dwarf,$(cxx_flags)) -c -o $@ -x assembler $(basename $@).s ; \
				rm -f $(basename $@).s \
			, $(CXX) $(cxx_flags) -c -o $@ $<)

$(obj)/%.o: $(obj)/%.cpp FORCE
	$(call if_changed_dep,cxx_o_cpp)

quiet_cmd_cxx_s_cpp = CXX $(quiet_modtag) $@
      cmd_cxx_s_cpp = $(CXX) $(filter-out $(DEBUG_CFLAGS), $(cxx_flags)) -fverbose-asm -S -o $@ $<

$(obj)/%.s: $(obj)/%.cpp FORCE
	$(call if_changed_dep,cxx_s_cpp)

# ---- pre-link: the linker folds COMDAT groups before objtool and modpost see them ---------------------------
# objtool proper runs here when this kernel checks object by object (no IBT/LTO: 6.1), else later on <module>.o.
cmd_cxx_objtool = $(if $(objtool-enabled), ; $(objtool) $(objtool-args) $(if $(delay-objtool),,--link) $@)

# what must not be there afterwards: dynamic initialisation, destructors, exceptions, TLS, guards of function-local
# statics (_ZGV*), and undefined symbols of a C++ run time (add what you need to the core itself, see core/runtime.cpp)
cxx-bad-sec    := (init_array|preinit_array|fini_array|ctors|dtors|eh_frame|gcc_except_table|tdata|tbss|tm_clone_table)
cxx-bad-sym    := ( _ZGV|^ +U (_Z|__cxa_|__gxx_|__dso_handle|_Unwind_))
cmd_cxx_check   = bad=`{ $(OBJDUMP) -hw $@ | awk '{print $$2}' | grep -E '^\.$(cxx-bad-sec)(\.|$$)'; \
			 $(NM) $@ | grep -E '$(cxx-bad-sym)'; } || :`; \
	if [ -n "$$bad" ]; then \
		printf '%s\n' "$@: C++ feature without a kernel counterpart:" "$$bad" >&2; rm -f $@; exit 1; fi

quiet_cmd_ld_cxx = LDCXX $(quiet_modtag) $@
      cmd_ld_cxx = $(LD) $(KBUILD_LDFLAGS) -r --force-group-allocation -T $(src)/cxx.lds -o $@ \
			$(addprefix $(obj)/,$(cxx-objs)) ; $(cmd_cxx_check) $(cmd_cxx_objtool)

define rule_ld_cxx
	$(call cmd_and_savecmd,ld_cxx)
	$(call cmd,gen_objtooldep)
endef

$(obj)/$(cxx-core): $(addprefix $(obj)/,$(cxx-objs)) $(src)/cxx.lds FORCE
	$(call if_changed_rule,ld_cxx)

# make Kbuild treat the C++ objects as parts of the module (-DMODULE, sanitizer selection, [M] tag) and read back
# their saved commands
$(addprefix $(obj)/,$(cxx-objs)): part-of-module = y
targets += $(cxx-objs)
