package test

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	usesLine = regexp.MustCompile(`(?m)^ *-? *uses: *(.*)$`)
	pinned   = regexp.MustCompile(`^[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*$`)
	runLine  = regexp.MustCompile(`(?m)^ *-? *run: +(\S.*)$`)
	script   = regexp.MustCompile(`^test/(\S+)\.sh( |$)`)
	builds   = regexp.MustCompile(`(?m)^ *- uses: google/clusterfuzzlite/actions/build_fuzzers@`)
	matrixOf = regexp.MustCompile(`(?m)^ *script: \[(.*)\]$`)
)

// A workflow runs scripts of the repository, which run elsewhere too, with actions that cannot
// change, and with no more rights than it says.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob("../.github/workflows/*.yml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, string(text), "\npermissions:\n  contents: read\n", "%s: the rights of all jobs", file)
		uses := usesLine.FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, uses, file)
		for _, m := range uses {
			require.Regexp(t, pinned, m[1], file)
		}
		runs := runLine.FindAllStringSubmatch(string(text), -1)
		if builds.Match(text) {
			runnable(t, "../.clusterfuzzlite/build.sh") // the action calls it, and so does test/libfuzzer.sh
		} else {
			require.NotEmpty(t, runs, file)
		}
		for _, m := range runs {
			called := script.FindStringSubmatch(strings.ReplaceAll(m[1], "${{ matrix.script }}", "MATRIX"))
			require.NotNil(t, called, "%s: run: %s", file, m[1])
			names := []string{called[1]}
			if called[1] == "MATRIX" {
				list := matrixOf.FindStringSubmatch(string(text))
				require.NotNil(t, list, file)
				names = strings.Split(list[1], ", ")
			}
			for _, name := range names {
				runnable(t, name+".sh")
			}
		}
		require.NotContains(t, string(text), "pull_request_target", "%s: it has the rights of the repository", file)
	}
}

func runnable(t *testing.T, script string) {
	info, err := os.Stat(script)
	require.NoError(t, err)
	if runtime.GOOS != "windows" { // where no file can
		require.NotZero(t, info.Mode()&0o100, "%s cannot be run", script)
	}
}
