# Every command prepares what it needs: Debian packages, and Python environments in ~/.cache/devicemapper.containers.

TOOL := python3 tests/tools
SCENARIO ?= default
LIST ?=
PART ?=
CORE ?=
VERSION ?=
CHECK ?=

.PHONY: help prepare demo test unit fuzz page lint sanity docs site galaxy molecule bench build release format

help: ## list the commands
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

prepare:
	@$(TOOL)/debian_packages.py

demo: prepare ## boot a guest with blank disks and run the playbook direct_lvm against it
	@CORE="$(CORE)" $(TOOL)/guests.py tests/tools/demo

test: prepare ## everything: lint, docs, units, sanity, every scenario; LIST=yes shows what that is
	@$(TOOL)/everything.py $(LIST)

unit: prepare ## unit tests, with every ansible-core that runs here; quick: make unit CORE=2.19
	@$(TOOL)/units.py $(CORE)

fuzz: prepare ## every parser fed with damaged texts, for half an hour, and with long ones; FUZZ_SECONDS, FUZZ_SEED and FUZZ_MB change that
	@FUZZ_SECONDS="$${FUZZ_SECONDS:-1800}" FUZZ_MB="$${FUZZ_MB:-10}" $(TOOL)/units.py 2.19 -s tests/unit/fuzz

page: prepare ## the page of the playbook report in a headless Chromium, which it installs
	@$(TOOL)/page.py

lint: prepare ## licences, ruff, yamllint, mypy, ansible-lint, changelog fragments, shellcheck, promtool
	@$(TOOL)/lint.py

sanity: prepare ## ansible-test sanity, with every ansible-core that runs here, or with CORE=2.19 alone
	@$(TOOL)/sanity.py $(CORE)

docs: prepare ## check the documentation of modules and roles
	@$(TOOL)/lint.py docs

site: prepare ## the folder docs as a site, in dist/site/, to be opened from there
	@$(TOOL)/docsite.py

galaxy: prepare ## the archive, looked at as Galaxy and ansible-builder do, and used without its folders docs and tests
	@$(TOOL)/galaxy.py

molecule: prepare ## one scenario on virtual machines: make molecule SCENARIO=default; with the newest ansible-core: CORE=2.22
	@CORE="$(CORE)" $(TOOL)/guests.py molecule --base-config molecule/shared/base.yml test --scenario-name $(SCENARIO)

bench: prepare ## measure the role beside the manual and the usual role, and write docs/performance.md; one part: PART=peers
	@CORE="$(CORE)" $(TOOL)/guests.py python3 tests/tools/bench/bench.py $(PART)

build: prepare ## the archive that ansible-galaxy installs, in dist/
	@$(TOOL)/collection.py build dist

release: prepare ## version, changelog, archive, commit and tag, not pushed: make release VERSION=1.2.0 (CHECK=yes: only tell)
	@$(TOOL)/release.py "$(VERSION)" "$(CHECK)"

format: prepare ## lay out the Python code as lint wants it
	@ruff="$$($(TOOL)/environments.py lint)/bin/ruff" && files="$$(git ls-files '*.py' '*.md')" && \
		$$ruff check --no-cache --fix-only $$files && $$ruff format --no-cache $$files
