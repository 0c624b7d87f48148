package otp

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Published makes a git repository of the files at root, the folder of this repository, as they are
// now. It returns the variables by which git, and with it mix, rebar3 and go, finds the repository
// where the pages have it. What go fetches from elsewhere may be in the module cache already.
func Published(t testing.TB, root, dir string) []string {
	t.Helper()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = root
		// at no time of its own: what go has built of the same files stays in its cache
		cmd.Env = append(os.Environ(), "GIT_DIR="+filepath.Join(dir, "cnode.git"),
			"GIT_AUTHOR_NAME=test", "GIT_AUTHOR_EMAIL=test@example.com", "GIT_AUTHOR_DATE=2026-01-01T00:00:00Z",
			"GIT_COMMITTER_NAME=test", "GIT_COMMITTER_EMAIL=test@example.com", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("git", "init", "-q", "--bare", "-b", "main") // root is not there for who reads it in another root file system
	run("git", "--work-tree=.", "add", "-A")
	run("git", "--work-tree=.", "commit", "-q", "-m", "published")
	return []string{
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://" + dir + "/cnode.git.insteadOf",
		"GIT_CONFIG_VALUE_0=https://github.com/cnode-go/cnode",
		"GOPRIVATE=github.com/cnode-go", "GOSUMDB=off",
		"GOPROXY=file://" + run("go", "env", "GOMODCACHE") + "/cache/download," + run("go", "env", "GOPROXY"),
	}
}
