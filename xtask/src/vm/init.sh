#!/bin/busybox sh
# The guest: mounts, modules, then each step of /steps with its output between two lines that the host looks for.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs none /tmp
mount -t tmpfs none /run
mount -t cgroup2 none /sys/fs/cgroup
mount -t bpf none /sys/fs/bpf
echo "gannet-guest started"
for module in $(cat /modules/order); do
    insmod "/modules/$module" || echo "cannot load module $module"
done
ip link set lo up
while read -r name seconds command; do
    echo "gannet-guest begin $name"
    timeout "$seconds" sh -c "$command" </dev/null 2>&1
    echo "gannet-guest end $name $?"
done </steps
echo "gannet-guest done"
poweroff -f
