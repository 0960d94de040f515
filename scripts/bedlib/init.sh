#!/bed/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
# init of L1. Speaks with the bed on virtio-serial ports: 1 control, 2 and 3 COMMAND's stdout and stderr, 4 its stdin;
# hvc0 is its terminal with --tty. Where /bed/port is (native/port.c), it carries 1 to 3 out,
# and 4, the log; nothing comes in.
# On control, a line each way at a time:
#   ready             to the bed: L1 is up
#   job BYTES         from the bed, then a shell script that sets BED_* and the positional parameters
#   started           to the bed
#   dump, dumped      from the bed while COMMAND runs: show where it is; to the bed: that is done
#   problem TEXT      to the bed: the run has failed whatever COMMAND says
#   exit STATUS OUT ERR   to the bed, with the bytes sent on both streams
#   bye               from the bed: all has arrived
# In a sealed run the job is /bed/job, and nothing comes from the bed.
export PATH=/bed/bin

mount_own() {
    mount -t proc proc /proc
    mount -t sysfs sys /sys
    mount -t devtmpfs dev /dev
    mkdir -p /dev/pts /dev/shm
    mount -t devpts devpts /dev/pts
    mount -t tmpfs shm /dev/shm
    mount -t debugfs debug /sys/kernel/debug
    mount -t tracefs trace /sys/kernel/tracing
    mount -t cgroup2 cgroup /bed/cgroup
    ln -s /proc/self/fd /dev/fd
    ln -s fd/0 /dev/stdin
    ln -s fd/1 /dev/stdout
    ln -s fd/2 /dev/stderr
}

load_modules() {
    while read -r name parameters; do
        # shellcheck disable=SC2086 # several words
        insmod /bed/modules/$name.ko $parameters || echo "bed: insmod $name failed"
    done </bed/modules/order
}

open_control() {
    if [ -x /bed/port ]; then
        mkfifo /bed/control
        /bed/port send 1 /bed/lock </bed/control >/bed/sent1 &
        controller=$!
        exec 3>/bed/control
        echo 0 | tee /bed/sent2 >/bed/sent3
        return
    fi
    while [ ! -c /dev/vport0p4 ]; do usleep 2000; done
    exec 3<>/dev/vport0p1
}

log_boot() {
    if [ -x /bed/port ]; then dmesg | /bed/port send 4 /bed/lock >/bed/sent4; else dmesg >/dev/ttyS0; fi
}

# The files of this run, the job among them, are there after the state has been saved.
unpack_payload() {
    /bed/port save
    cd / && /bed/port fetch | cpio -idmu
}

receive_job() {
    if [ -x /bed/port ]; then unpack_payload; return; fi
    echo ready >&3
    # Reads fail as long as the bed is not connected.
    until read -r word size <&3 && [ "$word" = job ]; do usleep 1000; done
    head -c "$size" <&3 >/bed/job
}

# L1 gets the build machine's programs and libraries, read-only, and the source tree under its own name.
mount_host() {
    mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,ro,cache=loose host /bed/host || return
    for d in bin sbin lib lib32 lib64 libx32 usr etc; do
        if [ -L /bed/host/$d ]; then
            ln -s "$(readlink /bed/host/$d)" /$d
        elif [ -d /bed/host/$d ]; then
            mkdir -p /$d && mount --bind /bed/host/$d /$d
        fi
    done
    mkdir -p "$BED_ROOT" && mount --bind "/bed/host$BED_ROOT" "$BED_ROOT"
    mount --bind "/bed/host$BED_BUILD" /opt/hwv
    if [ -n "$BED_SHARE" ]; then mount --bind "/bed/host$BED_SHARE" /share; fi
}

# Shows on the console where COMMAND and the processors are, when the bed asks.
answer() {
    while read -r word; do
        if [ "$word" != dump ]; then continue; fi
        for p in $(cat /bed/cgroup/command/cgroup.procs); do
            echo "process $p ($(tr '\0' ' ' </proc/$p/cmdline)) is in:"
            cat /proc/$p/task/*/stack
        done >/dev/ttyS0
        echo w >/proc/sysrq-trigger
        if [ "$(nproc)" -gt 1 ]; then echo l >/proc/sysrq-trigger; fi
        echo dumped >&3
    done <&3
}

# What makes the run a failure whatever COMMAND says.
problem() {
    echo "problem $*" >&3
    broken=1
}

# From here on the console has every kernel message, so that the log of a run is whole even after a panic.
begin_log() {
    dmesg -n 8
    echo "bed: L1 is up" >/dev/kmsg
    # The bed sends an NMI to a kernel that does not answer: it shall show where it is.
    echo 1 >/proc/sys/kernel/unknown_nmi_panic
}

remove_kvm() {
    for name in kvm_amd kvm_intel kvm; do
        if [ -d /sys/module/$name ]; then rmmod $name; fi
    done
}

prepare() {
    if [ -n "$BED_DATE" ]; then date -s "@$BED_DATE" >/dev/null; fi
    if [ -n "$BED_SEALED" ]; then
        mount --bind /share /share
        mount -o remount,bind,ro /share
    else
        mount_host || problem "cannot mount the build machine's files"
    fi
    ip link set lo up
    hostname l1
    mkdir /bed/cgroup/command
    mkfifo /bed/out /bed/err
    if [ -n "$BED_NO_KVM" ]; then remove_kvm; fi
    if [ -n "$BED_LOAD" ]; then insmod "$BED_MODULE" || problem "hwv.ko does not load"; fi
}

# The path of program $1. Busybox left alone would prefer its own applets to the build machine's programs.
resolve() {
    case "$1" in */*) echo "$1"; return ;; esac
    for d in $(echo "$PATH" | tr : ' '); do
        if [ -f "$d/$1" ] && [ -x "$d/$1" ]; then echo "$d/$1"; return; fi
    done
    echo "$1"
}

# In a process of its own, which becomes COMMAND.
become_command() {
    echo 0 >/bed/cgroup/command/cgroup.procs
    cd "$BED_CWD" 2>/dev/null || cd /
    export HWV_MODULE="$BED_MODULE" HOME=/root TERM="$BED_TERM" PATH=/opt/hwv:/opt/hwv/tests:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin:/bed/bin
    exec 3>&-
    program=$(resolve "$1")
    shift
    set -- "$program" "$@"
    case "$BED_STDIN" in
        tty)
            exec </dev/hvc0 >/dev/hvc0 2>&1 4>&- 5>&-
            stty rows "$BED_ROWS" cols "$BED_COLS"
            exec setsid -c "$@"
            ;;
        pipe) exec setsid "$@" </dev/vport0p4 >&4 2>&5 4>&- 5>&- ;;
        *) exec setsid "$@" </dev/null >&4 2>&5 4>&- 5>&- ;;
    esac
}

# The ports may be opened only once, so COMMAND writes into pipes: /dev/stdout and /dev/stderr work for it.
start_pumps() {
    pumps=
    pump 2 /bed/out
    pump 3 /bed/err
    exec 4>/bed/out 5>/bed/err
}

pump() {
    if [ -x /bed/port ]; then
        /bed/port send $1 /bed/lock <$2 >/bed/sent$1 &
    else
        cat <$2 >/dev/vport0p$1 &
    fi
    pumps="$pumps $!"
}

end_pumps() {
    exec 4>&- 5>&-
    wait $pumps
}

run_command() {
    if [ -z "$BED_SEALED" ]; then
        answer &
        answerer=$!
    fi
    start_pumps
    echo started >&3
    (become_command "$@")
    status=$?
    echo 1 >/bed/cgroup/command/cgroup.kill
    end_pumps
    while grep -q 'populated 1' /bed/cgroup/command/cgroup.events; do usleep 1000; done
    if [ -n "$answerer" ]; then kill $answerer; fi
}

# What is written to a port may still be on its way, and a power-off would lose it: the bed says when it has all.
say_goodbye() {
    echo "bed: the end, status $status" >/dev/kmsg
    echo "exit $status $(sent 2) $(sent 3)" >&3
    if [ -n "$controller" ]; then
        exec 3>&-
        wait $controller
    fi
    if [ -n "$BED_SEALED" ]; then return; fi
    until read -r word <&3 && [ "$word" = bye ]; do usleep 1000; done
}

# How many bytes have gone into port $1.
sent() {
    if [ -x /bed/port ]; then cat /bed/sent$1; return; fi
    sed -n 's/^bytes_sent: //p' "/sys/kernel/debug/virtio-ports/vport0p$1"
}

# A module that does not go has leaked a reference. Files are released a little after their owner's death.
unload() {
    for try in 1 2 3 4 5 6 7 8 9 10; do
        if rmmod hwv 2>/bed/why; then return; fi
        usleep 100000
    done
    problem "hwv.ko does not unload: $(cat /bed/why)"
}

mount_own
load_modules
open_control
log_boot
if [ ! -f /bed/job ]; then receive_job; fi
. /bed/job
status=125
begin_log
prepare
if [ -z "$broken" ]; then
    run_command "$@"
    if [ -n "$BED_LOAD" ]; then unload; fi
fi
say_goodbye
poweroff -f
