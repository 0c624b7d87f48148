// Package fips is for tests of what a program does when only approved cryptography is allowed:
// GODEBUG=fips140=only, with which much of Go's other cryptography panics.
package fips

import (
	"context"
	"crypto/fips140"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/need"
)

// setting is the value of GODEBUG.
const setting = "fips140=only"

// limit is for what takes seconds unless something is broken.
const limit = 5 * time.Minute

// Only runs the tests of the calling test's program whose names match a regular expression, fuzz
// targets with their seeds among them, in another process, which allows approved cryptography only.
// The test fails if that process does, or if nothing matches.
func Only(t *testing.T, run string) {
	t.Helper()
	if fips140.Enforced() {
		t.Skip("this process allows approved cryptography only already")
	}
	if runtime.GOOS == "js" {
		t.Skip("a browser has no other processes")
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run="+run, "-test.v",
		"-test.timeout="+limit.String())
	cmd.Env = append(os.Environ(), "GODEBUG="+setting)
	out, err := cmd.CombinedOutput()
	text := string(out)
	switch {
	case strings.HasPrefix(text, "fips140: "), strings.Contains(text, "panic: fips140: "):
		// The module's own checks at the start.
		need.Missing(t, setting+" cannot be had on this system: "+text)
	case err != nil:
		t.Fatalf("with %s: %v\n%s", setting, err, text)
	case !regexp.MustCompile(`(?m)^--- PASS: `).MatchString(text):
		t.Fatalf("with %s no test matches %s, or all are skipped\n%s", setting, run, text)
	}
}
