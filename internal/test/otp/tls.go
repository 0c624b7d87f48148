package otp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// TLSVersions are those that a cluster may speak.
func TLSVersions() []string { return []string{"1.2", "1.3"} }

// TLSFiles makes certificates in dir with the program cnode-demo, and gives an option file with
// which nodes speak one version of TLS only. hosts are those of nodes' names besides this
// machine's.
func TLSFiles(dir, demo, version string, hosts ...string) (file string, err error) {
	cmd := exec.Command(demo, "certs", dir)
	for _, host := range hosts {
		cmd.Args = append(cmd.Args, "--host", host)
	}
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("certs: %w\n%s", err, said)
	}
	file = filepath.Join(dir, "ssl_dist.conf")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	const all = "{versions,['tlsv1.3','tlsv1.2']}"
	if strings.Count(string(text), all) != 2 { // of the server, and of the client
		return "", fmt.Errorf("%s has not twice %s:\n%s", file, all, text)
	}
	one := strings.ReplaceAll(string(text), all, "{versions,['tlsv"+version+"']}")
	return file, os.WriteFile(file, []byte(one), 0o600)
}
