package systemd

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Printed is the unit of that name as a page prints it: a block that begins with the file's path.
func Printed(t testing.TB, page, name string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	path := regexp.QuoteMeta("# /etc/systemd/system/" + name + "\n")
	unit := regexp.MustCompile("(?ms)^```ini\n" + path + "(.*?)^```$").FindStringSubmatch(string(text))
	if unit == nil {
		t.Fatalf("%s prints no unit %s", page, name)
	}
	return unit[1]
}

// Types runs in the machine, as root, the lines of the page's first block that has the text of, up
// to the line that begins with until; "": all of them.
func (m *Machine) Types(page, of, until string) {
	m.t.Helper()
	text, err := os.ReadFile(page)
	m.try(err)
	for _, block := range regexp.MustCompile("(?ms)^```\\w*\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(block[1], of) {
			continue
		}
		for line := range strings.Lines(block[1]) {
			if until != "" && strings.HasPrefix(line, until) {
				return
			}
			m.Succeed("sh", "-c", line)
		}
		return
	}
	m.t.Fatalf("%s has no block with %q", page, of)
}

// Environment has the services of a machine find what a test has for itself alone, such as a port
// mapper: VARIABLE=VALUE, with spaces between. No unit says so, since its users have the usual one.
func Environment(variables string) File {
	return File{Text: "[Manager]\nDefaultEnvironment=" + variables + "\n", Mode: 0o644}
}

// EnvironmentPath is the path of the file of Environment.
const EnvironmentPath = "/etc/systemd/system.conf.d/test.conf"
