#!/bin/sh
# What is installed in an environment: a bill of materials, and whether weaknesses of it are known.
# usage: deploy/dependencies.sh TOOLS PYTHON SBOM
set -eu
tools=$1
python=$2
sbom=$3

"$tools/cyclonedx-py" environment --output-file "$sbom" "$python"
echo "$sbom: $(grep -c '"bom-ref"' "$sbom") entries (CycloneDX)"

place=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if report=$("$tools/pip-audit" --path "$place" --skip-editable --progress-spinner off 2>&1); then
    unknown=$(printf '%s\n' "$report" | grep -c 'could not be audited' || true)
    if [ "$unknown" -gt 1 ]; then  # one is this project itself
        echo "NOT CHECKED: of $unknown packages the database knows nothing; is it reachable from here?"
    else
        echo "no known weaknesses"
    fi
    exit 0
fi
case $report in
    *"known vulnerabilit"*)
        printf '%s\n' "$report" >&2
        exit 1
        ;;
esac
echo "NOT CHECKED: the database of weaknesses cannot be reached from here:"
printf '%s\n' "$report" | tail -n 1
