# The two commands of a newcomer are `make demo` and `make test`; `make help` lists the rest.

# Statements are checked against .sqlx, so no build needs a database; `make sqlx` writes it anew.
export SQLX_OFFLINE = true
export PATH := $(HOME)/.cargo/bin:$(PATH)
CARGO ?= cargo

.PHONY: help demo test test-kafka lint format docs schemathesis parity bench sqlx alarms crash-storm delivery-storm fleet dashboards-schema dashboards console-check backup-drill clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

demo: ## watch a simulated department's model decay and be caught; ARGS='--once' ends it instead of serving on
	@scripts/install.sh cc rust postgres
	$(CARGO) build --locked
	target/debug/dosimeter demo $(ARGS)

test: ## all tests, against a real Postgres, Prometheus, Alertmanager, SMTP, NATS and S3 server
	@scripts/install.sh cc rust postgres prometheus alertmanager aiosmtpd requests nats moto
	scripts/with-postgres.sh $(CARGO) test --locked $(ARGS)

test-kafka: ## the tests of the source kafka; builds its client, which is C, first
	@scripts/install.sh cc rust postgres
	scripts/with-postgres.sh $(CARGO) test --locked --features kafka --test it -- sources::kafka

lint: ## formatting, clippy, and the committed descriptions of the SQL statements
	@scripts/install.sh cc rust postgres
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- --deny warnings
	scripts/sqlx.sh --check

format: ## format the code
	$(CARGO) fmt

sqlx: ## describe the SQL statements anew after a change of a statement or of migrations/
	@scripts/install.sh cc rust postgres
	scripts/sqlx.sh

docs: ## make docs/metrics.md and docs/openapi.json anew after a change of the catalogue or of the API
	@scripts/install.sh cc rust postgres
	DOSIMETER_WRITE_DOCS=1 scripts/with-postgres.sh $(CARGO) test --locked --test it docs

schemathesis: ## ask a running daemon whatever docs/openapi.json allows and forbids; needs Python with packages from PyPI
	@scripts/install.sh cc rust postgres
	$(CARGO) build --locked
	scripts/schemathesis.sh $(ARGS)

parity: ## the golden numbers anew, by the field's own programs; needs Python with packages from PyPI, and R for some
	scripts/parity/run.sh

bench: ## the benchmarks, fully optimised; takes a long build first
	@scripts/install.sh cc rust postgres
	POSTGRES_FSYNC=on scripts/with-postgres.sh $(CARGO) bench --locked $(ARGS)

alarms: ## the promises of the alarm engine by simulation, at full size, with the figures of docs/alarms.md; some minutes
	@scripts/install.sh cc rust postgres
	DOSIMETER_ALARMS=1 scripts/with-postgres.sh $(CARGO) test --locked --test it alarms:: -- --nocapture

crash-storm: ## kill imports, the daemon and Postgres amid sending at random moments, a hundred times each; some minutes
	@scripts/install.sh cc rust postgres
	DOSIMETER_CRASHES=100 scripts/with-postgres.sh $(CARGO) test --locked --test it -- --nocapture killed_at_random amid_kills

delivery-storm: ## kill the daemon and restart Postgres amid sending, a hundred times; DOSIMETER_DELIVERY_SEED for another seed
	@scripts/install.sh cc rust postgres aiosmtpd
	DOSIMETER_DELIVERY_STORM=100 scripts/with-postgres.sh $(CARGO) test --locked --test it mailroom:: -- --nocapture

fleet: ## fill a store with 2,000 streams and two years of daily estimates, and time the API and the console; some minutes
	@scripts/install.sh cc rust postgres
	scripts/with-postgres.sh $(CARGO) test --locked --test it fleet:: -- --ignored --nocapture

console-check: ## every page of the console in a real Chromium after a demo, with axe-core; pictures in target/console; needs Node and npm
	@scripts/install.sh cc rust postgres chromium
	$(CARGO) build --locked
	scripts/console-check.sh

backup-drill: ## lose a server of its own and restore it from a base backup and archived log; half a minute
	@scripts/install.sh cc rust postgres
	$(CARGO) build --locked
	scripts/backup-drill.sh

dashboards: ## make dashboards/*.json anew after a change in scripts/dashboards
	python3 scripts/dashboards

dashboards-schema: ## type-check the dashboards against Grafana's own types; needs Node and npm
	scripts/check-dashboards-schema.sh

clean: ## remove everything that was built
	$(CARGO) clean
