#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# where: bed
# beds: svm
# bed: --mem 4096 --append "hugepagesz=1G hugepages=1"
# load: no
# Large pages that are not executable, on a CPU that would not need it: the same contents, exactly one fault more for 2 MiB.
# The parameter as kvm's of the same name. The vmx bed's CPU has the erratum: there module/memory is the test.
result() {
    if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1 - $2, not $3"; fi
}
shown() { cat /sys/module/hwv/parameters/nx_huge_pages; }
if insmod "$HWV_MODULE" nx_huge_pages=perhaps 2>/dev/null; then
    echo "not ok nx_huge_pages/refuses_nonsense - loaded"
    rmmod hwv
else
    echo "ok nx_huge_pages/refuses_nonsense"
fi
for mode in auto:N off:N 0:N force:Y on:Y; do
    insmod "$HWV_MODULE" nx_huge_pages=${mode%:*}
    result "nx_huge_pages/${mode%:*}" "$(shown)" "${mode#*:}"
    rmmod hwv
done
insmod "$HWV_MODULE" nx_huge_pages=force
if build/tests/module/memory >/tmp/results; then
    result nx_huge_pages/memory "$(grep -c '^ok execut' /tmp/results)" 7
else
    echo "not ok nx_huge_pages/memory - $(grep '^not ok' /tmp/results | tr '\n' ' ')"
fi
for test in memory_storm huge_1g; do
    if build/tests/module/$test >/tmp/results && ! grep '^skip' /tmp/results; then
        echo "ok nx_huge_pages/$test"
    else
        echo "not ok nx_huge_pages/$test - $(grep -v '^ok' /tmp/results | tr '\n' ' ')"
    fi
done
rmmod hwv
