#!/bin/sh
# What a container runs: the service of its image, or 'init', 'storage-key', or a help text.
set -eu

case "${1:-}" in
    -h | --help | help) cat /opt/libmpc/share/help.txt; exit 0 ;;
    init | storage-key) exec libmpc "$@" ;;
esac

# Kernels for processors with AVX2 are in the image as well; whoever has set another name knows why.
if [ "${NUMBA_CPU_NAME:-}" = generic ] && [ "$(uname -m)" = x86_64 ]; then
    fits=1
    for flag in avx avx2 bmi1 bmi2 f16c fma abm movbe; do
        grep -qwm 1 "$flag" /proc/cpuinfo || fits=0
    done
    if [ "$fits" = 1 ]; then export NUMBA_CPU_NAME=x86-64-v3; fi
fi

exec libmpc "$LIBMPC_IMAGE" "$@"
