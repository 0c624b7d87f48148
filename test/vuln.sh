#!/usr/bin/env bash
# Looks whether the code calls anything with a known vulnerability, of any module of the repository
# and of Go itself. It asks the database at vuln.go.dev, or the one that GOVULNDB names.
#
#	test/vuln.sh                 all modules
#	test/vuln.sh contrib/otel    one of them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

govulncheck=golang.org/x/vuln/cmd/govulncheck@v1.9.0
database=()
[[ -z ${GOVULNDB-} ]] || database=(-db "$GOVULNDB")
if ((!$#)); then
	mapfile -t modules < <(dirname {,cmd/,test/bench/,test/interop/,transport/tsocket/}go.mod {contrib,examples}/*/go.mod)
	set -- "${modules[@]}"
fi
status=0
for module; do
	echo "== govulncheck of $module"
	(cd "$module" && go run "$govulncheck" "${database[@]}" ./...) || status=1
done
exit $status
