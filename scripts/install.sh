#!/bin/sh
# Install what is missing, and say so. usage: scripts/install.sh NAME ...
#
#   rust          cargo and rustc, by rustup, for this user
#   cc            a C compiler, by the package manager
#   postgres      the Postgres server's programs, by the package manager; not needed if DATABASE_URL is set
#   prometheus    prometheus and promtool  } for the tests only: on Debian unpacked below target/tools, so that no service is
#   alertmanager  Prometheus's own         } installed; by the package manager elsewhere
#   aiosmtpd      an SMTP server           }
#   requests      Python's, and curl       }
#   nats          nats-server              }
#   moto          an S3 server, by pip     }
#   chromium      a browser, by the package manager; playwright-core and axe-core below target/tools: for `make console-check` only
set -eu
cd "$(dirname "$0")/.."
tools=target/tools

say() { echo "install: $*" >&2; }
give_up() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# The system's package manager, as root.
system_install() {
    if has apt-get; then
        run="env DEBIAN_FRONTEND=noninteractive apt-get"
        if [ "$(id -u)" != 0 ]; then
            has sudo || give_up "$* is missing, and there is no sudo: as root, run: apt-get install $*"
            run="sudo $run"
        fi
        say "$run install $*"
        $run update -qq >&2 && $run install -qq --yes --no-install-recommends "$@" >&2
    else
        give_up "install $* with your package manager, then try again"
    fi
}

brew_install() {
    has brew || give_up "Homebrew is missing: see https://brew.sh, then try again"
    say "brew install $*"
    brew install --quiet "$@" >&2
}

# Debian packages unpacked into target/tools, without root and without installing anything.
unpack() {
    say "unpacking $* below $tools"
    apt="$PWD/$tools/apt"
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    options="-o Dir::State::lists=$apt/lists -o Dir::Cache=$apt -o Dir::Cache::archives=$apt/archives -o APT::Sandbox::User= -o Debug::NoLocking=1"
    # shellcheck disable=SC2086
    apt-get $options -qq update >&2
    for package in "$@"; do
        # Releases name some packages differently: what is missing in the end is found by whoever asked.
        # shellcheck disable=SC2086
        (cd "$apt/archives" && apt-get $options -qq download "$package" >&2 2>/dev/null) || true
    done
    for package in "$apt"/archives/*.deb; do dpkg -x "$package" "$tools"; done
    rm -rf "$apt"
}

on_mac() { [ "$(uname)" = Darwin ]; }
find_initdb() {
    has initdb && return
    for path in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
        /Applications/Postgres.app/Contents/Versions/latest/bin; do
        [ -x "$path/initdb" ] && return
    done
    return 1
}
finds_aiosmtpd() { PYTHONPATH="$PWD/$tools/usr/lib/python3/dist-packages" python3 -c 'import aiosmtpd.controller' 2>/dev/null; }

for name in "$@"; do
    case $name in
    rust)
        if ! has cargo && [ ! -x "$HOME/.cargo/bin/cargo" ]; then
            has curl || system_install curl ca-certificates
            say "rustup, from https://sh.rustup.rs, into $HOME/.cargo"
            curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c clippy -c rustfmt >&2
        fi ;;
    cc) has cc || { on_mac && give_up "run: xcode-select --install"; system_install gcc libc6-dev; } ;;
    postgres)
        if [ -z "${DATABASE_URL:-}" ] && ! find_initdb; then
            if on_mac; then brew_install postgresql@17; else system_install postgresql; fi
        fi ;;
    prometheus)
        if ! { has prometheus && has promtool; } && [ ! -x "$tools/usr/bin/promtool" ]; then
            if on_mac; then brew_install prometheus; elif has apt-get; then unpack prometheus; else system_install prometheus; fi
            has promtool || [ -x "$tools/usr/bin/promtool" ] || give_up "there is no package prometheus here: install it by hand"
        fi ;;
    alertmanager)
        # Debian calls the program prometheus-alertmanager; elsewhere it has its own name.
        finds_alertmanager() {
            has prometheus-alertmanager || has alertmanager || [ -x "$tools/usr/bin/prometheus-alertmanager" ]
        }
        if ! finds_alertmanager; then
            if on_mac; then brew_install alertmanager; elif has apt-get; then unpack prometheus-alertmanager; else system_install alertmanager; fi
            finds_alertmanager || give_up "there is no package of Alertmanager here: install it by hand"
        fi
        # Debian's build looks for its template here and nowhere else.
        templates=usr/share/prometheus/alertmanager
        if [ -e "$tools/$templates/default.tmpl" ] && [ ! -e "/$templates/default.tmpl" ]; then
            say "copying Alertmanager's templates to /$templates"
            run=
            if [ "$(id -u)" != 0 ]; then
                has sudo || give_up "there is no sudo: as root, run: mkdir -p /$templates && cp $PWD/$tools/$templates/*.tmpl /$templates/"
                run=sudo
            fi
            $run mkdir -p "/$templates" && $run cp "$tools/$templates"/*.tmpl "/$templates/"
        fi ;;
    aiosmtpd)
        has python3 || system_install python3
        if ! finds_aiosmtpd; then
            if has apt-get; then
                unpack python3-aiosmtpd python3-attr python3-public python3-atpublic python3-typing-extensions python3-pkg-resources
            fi
            if ! finds_aiosmtpd; then
                say "pip install --target $tools/usr/lib/python3/dist-packages aiosmtpd"
                python3 -m pip install --quiet --target "$tools/usr/lib/python3/dist-packages" aiosmtpd >&2
            fi
        fi ;;
    nats)
        if ! has nats-server && [ ! -x "$tools/usr/bin/nats-server" ]; then
            if on_mac; then brew_install nats-server; elif has apt-get; then unpack nats-server; else system_install nats-server; fi
            # Debian puts it where the system's servers are.
            [ ! -x "$tools/usr/sbin/nats-server" ] || ln -sf ../sbin/nats-server "$tools/usr/bin/nats-server"
            has nats-server || [ -x "$tools/usr/bin/nats-server" ] || give_up "there is no package nats-server here: install it by hand"
        fi ;;
    moto)
        has python3 || system_install python3
        if ! PYTHONPATH="$PWD/$tools/moto" python3 -c 'import moto.server' 2>/dev/null; then
            say "pip install --target $tools/moto moto[server]"
            python3 -m pip install --quiet --target "$tools/moto" 'moto[server]' >&2
        fi ;;
    chromium)
        has node && has npm || give_up "Node and npm are missing: see https://nodejs.org, then try again"
        if ! has chromium && ! has chromium-browser && ! has google-chrome; then
            if on_mac; then brew_install chromium; else system_install chromium; fi
        fi
        if [ ! -d "$tools/console/node_modules/playwright-core" ] || [ ! -d "$tools/console/node_modules/axe-core" ]; then
            say "npm install --prefix $tools/console playwright-core axe-core"
            mkdir -p "$tools/console"
            npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$tools/console" playwright-core@1.56.1 axe-core@4.11.0 >&2
        fi ;;
    requests)
        has curl || system_install curl ca-certificates
        has python3 || system_install python3
        finds_requests() { PYTHONPATH="$PWD/$tools/usr/lib/python3/dist-packages" python3 -c 'import requests' 2>/dev/null; }
        if ! finds_requests; then
            if has apt-get; then
                unpack python3-requests python3-urllib3 python3-chardet python3-charset-normalizer python3-idna python3-certifi python3-six
            fi
            if ! finds_requests; then
                say "pip install --target $tools/usr/lib/python3/dist-packages requests"
                python3 -m pip install --quiet --target "$tools/usr/lib/python3/dist-packages" requests >&2
            fi
        fi ;;
    *) give_up "unknown name $name" ;;
    esac
done
