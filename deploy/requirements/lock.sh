#!/bin/sh
# Pin everything that the images install, with hashes. Needs uv. Run it to take updates:
#   deploy/requirements/lock.sh --upgrade
set -eu
cd "$(dirname "$0")"
export UV_CUSTOM_COMPILE_COMMAND="deploy/requirements/lock.sh"
lock() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --no-emit-index-url --no-emit-find-links "$@"
}
lock "$@" --extra all ../../pyproject.toml --output-file party.txt
lock "$@" --constraints party.txt gateway.in --output-file gateway.txt
lock "$@" build.in --output-file build.txt
