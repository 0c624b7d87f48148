package test

import (
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A name that goes stands in CHANGELOG.md as programs have it, so that whoever searches for it
// finds what has become of it.
func TestChangelogHasOldNames(t *testing.T) {
	if exec.Command("git", "rev-parse", "--verify", "--quiet", "HEAD^").Run() != nil {
		t.Skip("the clone has no commit before its last one")
	}
	before, now := map[apiName]bool{}, map[apiName]bool{}
	for file := range strings.FieldsSeq(gitOutput(t, "ls-tree", "--name-only", "HEAD^", apiFolder+"/")) {
		addAPINames(before, file, gitOutput(t, "show", "HEAD^:./"+file))
	}
	files, err := os.ReadDir(apiFolder)
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(path.Join(apiFolder, file.Name()))
		require.NoError(t, err)
		addAPINames(now, file.Name(), string(text))
	}
	require.Greater(t, len(before), 2000)
	log, err := os.ReadFile("../CHANGELOG.md")
	require.NoError(t, err)
	require.Empty(t, missingNames(before, now, string(log)), "these names are gone, and CHANGELOG.md does not have them")
}

func gitOutput(t *testing.T, args ...string) string {
	out, err := exec.Command("git", args...).Output()
	require.NoError(t, err)
	return string(out)
}

// An apiName is a name that a package exports; that of a field or method has its type.
type apiName struct{ pkg, of, name string }

func (n apiName) String() string {
	if n.of != "" {
		return n.of + "." + n.name
	}
	return n.pkg[strings.LastIndexByte(n.pkg, '.')+1:] + "." + n.name
}

var (
	apiMethod = regexp.MustCompile(`^func \(\*?(\w+)[^)]*\) (\w+)`)
	apiTop    = regexp.MustCompile(`^(func|type|var|const) (\w+)`)
	apiMember = regexp.MustCompile(`^\t(\w+)`)
)

// addAPINames adds the names in a file of testdata/api.
func addAPINames(to map[apiName]bool, file, text string) {
	pkg, of := strings.TrimSuffix(path.Base(file), ".txt"), ""
	for line := range strings.Lines(text) {
		if m := apiMethod.FindStringSubmatch(line); m != nil {
			to[apiName{pkg, m[1], m[2]}] = true
		} else if m := apiTop.FindStringSubmatch(line); m != nil {
			to[apiName{pkg, "", m[2]}], of = true, m[2]
		} else if m := apiMember.FindStringSubmatch(line); m != nil {
			to[apiName{pkg, of, m[1]}] = true
		}
	}
}

// missingNames lists the names that are gone, and are not in a text. With a type go its members.
func missingNames(before, now map[apiName]bool, text string) (names []string) {
	for n := range before {
		withType := n.of != "" && !now[apiName{n.pkg, "", n.of}]
		if !now[n] && !withType && !regexp.MustCompile(`\b`+regexp.QuoteMeta(n.String())+`\b`).MatchString(text) {
			names = append(names, n.String())
		}
	}
	slices.Sort(names)
	return names
}
