#!/bin/sh
# Compile every kernel for the processors that the image is for: kernels.sh VENV
#
# The compiled kernels lie beside their source; see libmpc/ring/shipped.py.
set -eu
venv=$1

compile() {
    NUMBA_CPU_NAME=$1 NUMBA_CPU_FEATURES='' \
    NUMBA_CACHE_LOCATOR_CLASSES=libmpc.ring.shipped.ShippedKernels \
        "$venv/bin/python" -P -c 'from libmpc.runtime import warm_up; warm_up()'
}

compile generic
# A compiler need not run on what it compiles for, but warm_up runs what was compiled.
case "$(uname -m)" in
    x86_64 | amd64)
        if grep -qw avx2 /proc/cpuinfo; then
            compile x86-64-v3
        else
            echo "no AVX2 on this machine: the image has the generic kernels only" >&2
        fi
        ;;
esac
