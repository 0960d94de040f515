#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# where: bed
# beds: vmx
# load: no
# bed: --put build/tests/conformance/matrix
# timeout: 60
# The local APIC's cases where the CPU delivers interrupts (conformance/matrix has run them so), once more where the module is told
# that it shall not: the same answers. And what the module and hwvctl say of both.
here=$(dirname "$0")
say() {
    if [ "$2" = "$3" ]; then echo "ok apicv/$1"; else echo "not ok apicv/$1 - $2, not $3"; fi
}
doctor() { hwvctl doctor | grep -c "APICv) $1"; }
for mode in Y N; do
    insmod "$HWV_MODULE" apicv=$mode
    say "parameter-$mode" "$(cat /sys/module/hwv/parameters/apicv)" $mode
    if [ $mode = Y ]; then says=delivers; else says='is off'; fi
    say "doctor-$mode" "$(doctor "$says")" 1
    if [ $mode = N ]; then
        "$here/../../build/tests/conformance/matrix" '^APIC' >/tmp/results
        say cases-pass $? 0
        cases=$(grep -c '^hwv: APIC.*x2apic' /tmp/results)
        say cases-run "$(grep -c '^ok APIC.*x2apic' /tmp/results)" "$([ "$cases" -gt 0 ] && echo "$cases" || echo some)"
        grep '^not ok' /tmp/results | sed 's/^not ok /not ok apicv\/off\//'
    fi
    rmmod hwv
done
