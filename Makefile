# Needs make, git and a Python of version 3.11 or newer; everything else is installed into .venv and .build.

.DEFAULT_GOAL := help
.PHONY: help demo test sandbox bench kills races faults leaks fuzz mutants interference test-long conformance fleet screenshots controller lint sanity importer certification molecule integration matrix docs build release packages ci clean

PORT = 8765
TENANTS = 3
# The installed collections and the settings of whoever runs this stay out of it.
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.build/link
export ANSIBLE_CONFIG := $(CURDIR)/.build/ansible.cfg
export ANSIBLE_HOME := $(CURDIR)/.build/ansible
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/.build/hypothesis

VENV := $(CURDIR)/.venv/bin
LINT := $(CURDIR)/.build/lint/bin
DOCS := $(CURDIR)/.build/docs-venv/bin
IMPORTER := $(CURDIR)/.build/importer/bin
CERTIFICATION := $(CURDIR)/.build/certification/bin
MOLECULE := $(CURDIR)/.build/molecule/bin
LINK := .build/link/ansible_collections/haloops/halo
VENV_TOOLS := tools/venv.sh tools/pick_python.sh
install = @tools/venv.sh $(1) "$$(tools/pick_python.sh)" -r $(2) && touch $@

# The tools call each other by name.
demo test bench kills races faults leaks interference fuzz mutants conformance fleet screenshots controller build: export PATH := $(VENV):$(PATH)
lint release: export PATH := $(LINT):$(PATH)
docs: export PATH := $(DOCS):$(PATH)
importer: export PATH := $(IMPORTER):$(PATH)
certification: export PATH := $(CERTIFICATION):$(PATH)

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: .venv/base.ok $(LINK)  ## three tenants in the sandbox: provision, again, switch an agent
	$(VENV)/python tools/demo.py

test: .venv/test.ok $(LINK)  ## all tests on one Python and one ansible-core; PYTEST_ARGS= goes to pytest
	@touch .build/testing
	$(VENV)/python -m pytest $(PYTEST_ARGS)
	@$(if $(PYTEST_ARGS),rm .build/testing,mv .build/testing .build/tested)

sandbox: .venv/base.ok  ## a Halo look-alike on 127.0.0.1; PORT=8765 TENANTS=3
	$(VENV)/python -m halo_sandbox --port $(PORT) --tenants $(TENANTS)

screenshots: .venv/test.ok $(LINK)  ## pictures of the report's page, in .build/screenshots
	PYTHONPATH=tests:.build/link $(VENV)/python -m helpers.screenshots .build/screenshots

bench: .venv/test.ok $(LINK)  ## the benchmark, as a table; BENCH_ARGS=
	$(VENV)/python tests/bench/run.py $(BENCH_ARGS)

KILLS = 200
kills: .venv/test.ok $(LINK)  ## kill 200 rotations with each store, and play 200 schedules of the simulation (long); KILLS=1000
	$(VENV)/python -m pytest tests/scenario/test_kills.py tests/scenario/test_store_schedules.py \
		--kills $(KILLS) --schedules $(KILLS) $(PYTEST_ARGS)

RACES = 200
races: .venv/test.ok $(LINK)  ## 200 races of two controllers for one tenant, in each of three stores; RACES=1000
	$(VENV)/python -m pytest tests/scenario/test_races.py --races $(RACES) $(PYTEST_ARGS)

FAULTS = all
faults: .venv/test.ok $(LINK)  ## every fault at every request, and the tables of the page on faults (long); FAULTS=every
	$(VENV)/python -m pytest -n0 tests/scenario/test_faults.py --faults "$(FAULTS)" $(PYTEST_ARGS)

leaks: .venv/test.ok $(LINK)  ## look for secrets in all that runs of every playbook show and leave, in every way (long)
	$(VENV)/python -m pytest -n0 tests/scenario/test_leak_scene.py --leaks whole $(PYTEST_ARGS)

INTERFERENCE = all
interference: .venv/test.ok $(LINK)  ## someone else changes agents and applications between any two requests (long)
	$(VENV)/python -m pytest -n0 -s tests/scenario/test_interference.py --interference "$(INTERFERENCE)" $(PYTEST_ARGS)

FUZZ_MINUTES = 5
fuzz: .venv/test.ok $(LINK)  ## hostile answers, store files, reports and tables, for minutes; FUZZ_MINUTES=60
	$(VENV)/python -m pytest -n0 -s tests/unit/test_fuzz.py --fuzz-minutes $(FUZZ_MINUTES) $(PYTEST_ARGS)

MODULES =
BUDGET = 30
SEED = 0
mutants: .venv/test.ok $(LINK)  ## break module_utils in one place at a time: do the unit tests notice (long)? MODULES="run plan" BUDGET=30 SEED=0
	$(VENV)/python tools/mutants.py --minutes $(BUDGET) --seed "$(SEED)" $(MODULES)

conformance: .venv/test.ok $(LINK)  ## prove what each store must do, and write the table of it into the documentation
	$(VENV)/python -m pytest tests/scenario/test_conformance.py --write-conformance $(PYTEST_ARGS)

FLEET = 200
FORKS = 8
fleet: .venv/test.ok $(LINK)  ## the playbooks over 200 tenants, seven of which fail (long); FLEET=500 FORKS=50
	$(VENV)/python -m pytest tests/scenario/test_fleet.py -n0 --fleet $(FLEET) --forks $(FORKS) $(PYTEST_ARGS)

# One after the other: each of them keeps the machine busy, and some wait for what they have delayed.
test-long: .venv/test.ok $(LINK)  ## all that make test has a sample of, in full (hours)
	$(MAKE) --no-print-directory leaks
	$(MAKE) --no-print-directory fuzz
	$(MAKE) --no-print-directory interference
	$(MAKE) --no-print-directory faults FAULTS=every
	$(MAKE) --no-print-directory kills KILLS=1000
	$(MAKE) --no-print-directory races RACES=1000
	$(MAKE) --no-print-directory fleet FLEET=500 FORKS=50

controller: .venv/test.ok .build/awx/ok $(LINK)  ## what AWX and Automation Controller need: its modules, jobs, an image (long)
	$(VENV)/python -m pytest tests/awx tests/scenario/test_jobs.py --all-jobs $(PYTEST_ARGS)

LINTERS = "ruff check --output-format concise ." codespell "yamllint -s ." "shellcheck .ci/run tools/*.sh" \
	"mypy -p ansible_collections.haloops.halo.plugins" "mypy tools" "antsibull-changelog lint" \
	"antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck --validate-collection-refs self ." \
	"ansible-lint --offline --strict --nocolor -q"
lint: .build/lint/ok $(LINK)  ## style, types, spelling, YAML, roles and playbooks, changelog, documentation
	@failed=; for linter in $(LINTERS); do \
		echo "$$linter"; \
		$$linter || failed="$$failed $${linter%% *}"; \
	done; \
	test -z "$$failed" || { echo "Not clean:$$failed" >&2; exit 1; }

sanity: build .build/bin/shellcheck  ## ansible-test sanity of the archive on each ansible-core; SANITY_ARGS="--core 2.21"
	$(VENV)/python tools/ansible_test.py sanity $(SANITY_ARGS)

integration: .venv/base.ok  ## ansible-test integration, in the sandbox or a real instance; INTEGRATION_ARGS="-- TARGET"
	$(VENV)/python tools/ansible_test.py integration $(INTEGRATION_ARGS)

matrix: .venv/base.ok $(LINK)  ## all tests on every ansible-core and Python that is here; MATRIX_ARGS=--quick
	$(VENV)/python tools/matrix.py $(MATRIX_ARGS)

docs: .build/docs-venv/ok $(LINK)  ## the documentation as HTML, in .build/docs
	@mkdir -p .build/docs/rst && chmod 700 .build/docs/rst
	$(DOCS)/antsibull-docs collection --use-current --fail-on-error --squash-hierarchy --cleanup everything \
		--dest-dir .build/docs/rst haloops.halo
	cp docs/docsite/rst/*.svg .build/docs/rst/docsite
	$(DOCS)/sphinx-build -M html .build/docs/rst .build/docs -c docs --fail-on-warning --keep-going --quiet
	@echo .build/docs/html/index.html

build: .venv/base.ok  ## the collection's archive, in dist
	$(VENV)/python tools/build.py

importer: build .build/importer/ok  ## what Galaxy would say about that archive
	$(IMPORTER)/python tools/importer.py

certification: build .build/certification/ok  ## what Automation Hub would say about it, with the versions that it uses
	$(CERTIFICATION)/python tools/certification.py

molecule: build .build/molecule/ok  ## the Molecule scenario of that archive, in the sandbox or the instance of HALO_URL
	$(MOLECULE)/python tools/molecule.py

release: .build/lint/ok $(LINK)  ## make release VERSION=x.y.z: changelog, version, archive, its checks, checksum; SIGN_KEY=
	$(LINT)/python tools/release.py "$(VERSION)" "$(SIGN_KEY)"

packages:  # What tests use that no Python package has.
	@tools/packages.sh

# Side by side, the longest first: most of them keep one core busy.
CHECKS = sanity integration lint molecule importer docs
# On the other versions of ansible-core: what depends on them. make matrix runs everything everywhere.
OTHERS = tests/unit tests/scenario/test_execution.py tests/scenario/test_role_plays.py --ignore=tests/unit/test_simulation.py
ci: packages  ## every check that a change must pass, besides demo and test
	$(MAKE) --no-print-directory -j2 --output-sync=target $(CHECKS)
	$(MAKE) --no-print-directory matrix MATRIX_ARGS='--quick -- $(OTHERS)'
	$(MAKE) --no-print-directory races
	$(MAKE) --no-print-directory controller
	$(MAKE) --no-print-directory bench BENCH_ARGS=--short

clean:  ## remove all that make made
	rm -rf .build .venv dist tests/sandbox/*.egg-info

.venv/base.ok: requirements.txt requirements/base.txt tests/sandbox/pyproject.toml $(VENV_TOOLS)
	$(call install,.venv,requirements/base.txt)

.venv/test.ok: .venv/base.ok requirements/test.txt requirements/stores.txt requirements/openbao.txt
	@tools/venv.sh .venv "$$(tools/pick_python.sh)" --no-deps --require-hashes -r requirements/openbao.txt
	$(call install,.venv,requirements/test.txt -r requirements/stores.txt)

.build/awx/ok: tools/awx.py | .venv/base.ok
	@$(VENV)/python tools/awx.py && touch $@

.build/lint/ok: requirements.txt requirements/base.txt requirements/lint.txt tests/sandbox/pyproject.toml $(VENV_TOOLS)
	$(call install,.build/lint,requirements/lint.txt)

.build/docs-venv/ok: requirements.txt requirements/docs.txt $(VENV_TOOLS)
	$(call install,.build/docs-venv,requirements/docs.txt)

.build/importer/ok: requirements.txt requirements/importer.txt $(VENV_TOOLS)
	$(call install,.build/importer,requirements/importer.txt)

# What is certified is checked on this Python, whichever is the best one here.
.build/certification/ok: requirements.txt requirements/certification.txt $(VENV_TOOLS)
	@tools/venv.sh .build/certification "$$(tools/pick_python.sh 3.12)" -r requirements/certification.txt && touch $@

.build/molecule/ok: requirements.txt requirements/base.txt requirements/molecule.txt tests/sandbox/pyproject.toml $(VENV_TOOLS)
	$(call install,.build/molecule,requirements/molecule.txt)

# ansible-test takes shellcheck from PATH, where no more than that of this environment should get.
.build/bin/shellcheck: .build/lint/ok
	@mkdir -p $(@D) && ln -sf $(LINT)/shellcheck $@

$(LINK): | .venv/base.ok
	@$(VENV)/python tools/tree.py
