# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: thin_pool_page
short_description: Make a page of what hosts answered about their thin pools
version_added: 1.0.0
author: devicemapper.containers contributors (@devicemapper)
description:
  - Makes one HTML page of the results of M(devicemapper.containers.thin_pool_check_info) and
    M(devicemapper.containers.thin_pool_usage_info) of many hosts. Those in danger come first, and hosts that could not
    be asked are on it with the reason. The playbook C(devicemapper.containers.report) uses it.
  - The page is one file that loads nothing. It is whole without its few lines of script, which its policy names by
    their hash. All that is written into it is escaped.
positional: generated
options:
  _input:
    description:
      - For each host a list of its name, of what M(devicemapper.containers.thin_pool_check_info) registered there, and
        of what a loop of M(devicemapper.containers.thin_pool_usage_info) over
        RV(devicemapper.containers.thin_pool_check_info#module:pools) registered, which may be empty.
      - What is registered of a host that could not be reached, or of a module that failed, belongs there too.
    type: list
    elements: list
    required: true
  generated:
    description: When the page is made, as ISO 8601 in UTC such as V(2026-11-23T10:00:00Z).
    type: str
    required: true
  title:
    description: The page's heading.
    type: str
    default: Thin pools
"""

EXAMPLES = r"""
- name: Write the page
  ansible.builtin.copy:
    content: "{{ hosts | zip(checks, usages) | list | devicemapper.containers.thin_pool_page(now) }}"
    dest: /var/www/html/thin-pools.html
    mode: "0644"
  vars:
    hosts: "{{ ansible_play_hosts_all }}"
    checks: "{{ hosts | map('extract', hostvars, 'check') }}"
    usages: "{{ hosts | map('extract', hostvars, 'usage') }}"
    now: "{{ now(utc=true, fmt='%Y-%m-%dT%H:%M:%SZ') }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
_value:
  description: The page, as HTML.
  type: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.devicemapper.containers.plugins.plugin_utils import _page


def thin_pool_page(answers: t.Any, generated: t.Any = None, title: t.Any = "Thin pools") -> str:
    try:
        _page.check(answers, generated, title)
    except ValueError as error:
        raise AnsibleFilterError(f"thin_pool_page: {error}") from error
    return _page.render(answers, generated=generated, title=title)


class FilterModule:
    def filters(self) -> dict[str, t.Callable]:
        return {"thin_pool_page": thin_pool_page}
