#!/bin/sh
# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Generates containerd's configuration at each start, as k3s does, and is containerd's parent.
set -eu
folder=/var/lib/rancher/k3s/agent
mkdir -p $folder/etc/containerd/config-v3.toml.d /run/k3s/containerd
cat > $folder/etc/containerd/config.toml <<END
# Generated.
version = 3
imports = ["$folder/etc/containerd/config-v3.toml.d/*.toml"]
root = "$folder/containerd"
state = "/run/k3s/containerd"

[grpc]
  address = "/run/k3s/containerd/containerd.sock"

[plugins.'io.containerd.internal.v1.opt']
  path = "$folder/containerd"

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
END
/var/lib/rancher/k3s/data/current/bin/containerd --config $folder/etc/containerd/config.toml &
trap 'kill $!; wait $!' TERM
wait $!
