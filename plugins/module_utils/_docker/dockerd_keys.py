# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""What dockerd's configuration may be made of: keys of daemon.json, and the flags that stand against them.

Asked of dockerd 20.10, 26.1 and 28.5 (tests/unit/docker), and read of 29 (moby, daemon/config/config.go): with an
unknown key, or with a key and the flag that says the same, dockerd does not start.
"""

from __future__ import annotations

import difflib
import re
import typing as t

KEYS = frozenset(
    [
        "allow-direct-routing",
        "allow-nondistributable-artifacts",
        "api-cors-header",
        "authorization-plugins",
        "bip",
        "bip6",
        "bridge",
        "bridge-accept-fwmark",
        "builder",
        "cdi-spec-dirs",
        "cgroup-parent",
        "cluster-advertise",
        "cluster-store",
        "cluster-store-opts",
        "containerd",
        "containerd-namespace",
        "containerd-plugins-namespace",
        "cpu-rt-period",
        "cpu-rt-runtime",
        "cri-containerd",
        "data-root",
        "debug",
        "default-address-pools",
        "default-cgroupns-mode",
        "default-gateway",
        "default-gateway-v6",
        "default-ipc-mode",
        "default-network-opts",
        "default-runtime",
        "default-shm-size",
        "default-stop-timeout",
        "default-ulimits",
        "deprecated-key-path",
        "dns",
        "dns-opts",
        "dns-search",
        "exec-opts",
        "exec-root",
        "experimental",
        "features",
        "firewall-backend",
        "fixed-cidr",
        "fixed-cidr-v6",
        "graph",
        "group",
        "host-gateway-ip",
        "host-gateway-ips",
        "hosts",
        "http-proxy",
        "https-proxy",
        "icc",
        "init",
        "init-path",
        "insecure-registries",
        "ip",
        "ip-forward",
        "ip-forward-no-drop",
        "ip-masq",
        "ip6tables",
        "iptables",
        "ipv6",
        "labels",
        "live-restore",
        "log-driver",
        "log-format",
        "log-level",
        "log-opts",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "metrics-addr",
        "min-api-version",
        "mtu",
        "network-control-plane-mtu",
        "network-diagnostic-port",
        "no-new-privileges",
        "no-proxy",
        "node-generic-resources",
        "nri-opts",
        "oom-score-adjust",
        "pidfile",
        "raw-logs",
        "registry-mirrors",
        "restart",
        "rootless",
        "runtimes",
        "seccomp-profile",
        "selinux-enabled",
        "shutdown-timeout",
        "storage-driver",
        "storage-opts",
        "swarm-default-advertise-addr",
        "tls",
        "tlscacert",
        "tlscert",
        "tlskey",
        "tlsverify",
        "userland-proxy",
        "userland-proxy-path",
        "userns-remap",
    ]
)
# Those that not every one of these versions takes: the majors that do not start with them.
_WITHOUT = {
    "allow-direct-routing": range(28),
    "api-cors-header": range(29, 100),
    "bip6": range(28),
    "bridge-accept-fwmark": range(29),
    "cdi-spec-dirs": range(25),
    "cluster-advertise": range(24, 100),
    "cluster-store": range(24, 100),
    "cluster-store-opts": range(24, 100),
    "default-network-opts": range(24),
    "default-stop-timeout": range(29),
    "firewall-backend": range(29),
    "graph": range(24, 100),
    "host-gateway-ips": range(28),
    "http-proxy": range(23),
    "https-proxy": range(23),
    "ip-forward-no-drop": range(28),
    "log-format": range(26),
    "min-api-version": range(29),
    "no-proxy": range(23),
    "nri-opts": range(29),
    "oom-score-adjust": range(26, 100),
}
# The newest that is known here; a newer one may take more.
_NEWEST = 29
# What is named otherwise in the file than on the command line, where dockerd says so itself.
_NAMED = {
    "--add-runtime": (),
    "--authorization-plugin": ("authorization-plugins",),
    "--cdi-spec-dir": ("cdi-spec-dirs",),
    "--default-address-pool": ("default-address-pools",),
    "--default-network-opt": ("default-network-opts",),
    "--default-ulimit": ("default-ulimits",),
    "--dns-opt": ("dns-opts",),
    "--exec-opt": ("exec-opts",),
    "--feature": ("features",),
    "--host": ("hosts",),
    "--host-gateway-ip": ("host-gateway-ips", "host-gateway-ip"),
    "--insecure-registry": ("insecure-registries",),
    "--label": ("labels",),
    "--log-opt": ("log-opts",),
    "--node-generic-resource": ("node-generic-resources",),
    "--registry-mirror": ("registry-mirrors",),
    "--storage-opt": ("storage-opts",),
}
_SHORT = {
    "-D": "--debug",
    "-G": "--group",
    "-H": "--host",
    "-b": "--bridge",
    "-l": "--log-level",
    "-p": "--pidfile",
    "-s": "--storage-driver",
    "-g": "--graph",
}
# What dockerd does not look into; a table of any other name is as good as its keys (config.go, configValuesSet).
_FLAT = (
    "builder",
    "cluster-store-opts",
    "default-network-opts",
    "default-ulimits",
    "features",
    "log-opts",
    "nri-opts",
    "runtimes",
)


def flag_keys(flags: t.Sequence[str]) -> dict[str, str]:
    """Return the keys of daemon.json that dockerd's flags already set, with the flag as it is written."""
    found = {}
    for flag in flags:
        word = flag.partition("=")[0]
        if re.fullmatch(r"-[sHDlgGbp].+", word):  # -sdevicemapper
            word = word[:2]
        if word.startswith("-"):
            name = _SHORT.get(word, word)
            for key in _NAMED.get(name, (name.lstrip("-"),)):
                found[key] = word
    return found


def clashes(document: t.Mapping[str, t.Any], flags: t.Sequence[str]) -> dict[str, str]:
    """Return the keys that stand both in a file and on dockerd's command line, each with its flag."""
    keys = _flattened(document)
    return {key: flag for key, flag in flag_keys(flags).items() if key in keys}


def problems(document: t.Mapping[str, t.Any], version: str = "") -> list[str]:
    """Return what is wrong with the keys of a file, with the nearest right one; an unknown version takes them all."""
    major = int(version.partition(".")[0]) if version[:1].isdigit() else -1
    found = []
    for key in _flattened(document):
        near = difflib.get_close_matches(key.lower().replace("_", "-"), sorted(KEYS), 1)
        named = _NAMED.get(f"--{key}")
        if named is not None and key not in named:
            right = next(iter(named), "runtimes")
            found.append(f"{key} is the name of a flag, which Docker does not heed in a file: write {right}")
        elif key not in KEYS and major <= _NEWEST:
            hint = f"did you mean {near[0]}?" if near else "take it out"
            found.append(f"{key} is no key that Docker knows, and it does not start with it: {hint}")
        elif major in _WITHOUT.get(key, ()):
            found.append(f"{key} is no key of Docker {version}, which does not start with it: take it out")
    return found


def _flattened(document: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {}
    for key, value in document.items():
        if isinstance(value, dict) and key not in _FLAT:
            found.update(value)
        else:
            found[key] = value
    return found
