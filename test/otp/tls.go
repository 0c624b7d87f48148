package otp

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TLSVersions are those that a cluster may speak.
func TLSVersions() []string { return []string{"1.2", "1.3"} }

// TLSFiles has the program cnode-demo make certificates, and gives the option file with which nodes speak one version of TLS only.
func TLSFiles(t testing.TB, demo, version string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tls")
	if said, err := exec.Command(demo, "certs", dir).CombinedOutput(); err != nil {
		t.Fatalf("certs: %v\n%s", err, said)
	}
	file := filepath.Join(dir, "ssl_dist.conf")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const all = "{versions,['tlsv1.3','tlsv1.2']}"
	if strings.Count(string(text), all) != 2 { // of the server, and of the client
		t.Fatalf("%s has not twice %s:\n%s", file, all, text)
	}
	one := strings.ReplaceAll(string(text), all, "{versions,['tlsv"+version+"']}")
	if err := os.WriteFile(file, []byte(one), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
