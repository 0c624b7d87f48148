package otp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/need"
)

// The environment variables that test/run.sh sets.
const (
	envReleases   = "CNODE_TEST_OTP"
	envLibei      = "CNODE_TEST_LIBEI"
	envNeighbours = "CNODE_TEST_NEIGHBOURS"
	envElixir     = "CNODE_TEST_ELIXIR"
)

// wanted are the releases that the project is tested with.
var wanted = []int{25, 27, 29}

// conversations are the tests that say what nodes say to each other most: with -short they meet the
// oldest release, too, since what it lacks is spoken otherwise with it.
var conversations = strings.Fields(`
	TestVocabulary TestVisible TestPublish TestServeTerms TestExamples TestMembers TestRequests TestFunctionIsAProcess TestSys
	TestUpgrade TestConnMoves TestKeepTogether TestSame TestRemsh`)

// ErrNoErlang reports that no release was named and none is on the PATH.
var ErrNoErlang = errors.New("no Erlang: " + envReleases + " is not set and no erl is on the PATH (test/run.sh brings its own)")

// A Release is one installed Erlang/OTP.
type Release struct {
	Number int    // as erlang:system_info(otp_release) says it: 25
	Erl    string // path of erl; epmd, erlc and erl_call are beside it
}

// String returns "otp25", the name of the subtests of [Each].
func (r Release) String() string { return "otp" + strconv.Itoa(r.Number) }

// Command returns the path of another program of the release, such as "epmd".
func (r Release) Command(name string) string { return filepath.Join(filepath.Dir(r.Erl), name) }

// Find returns the releases of this machine, the oldest first: those that
// CNODE_TEST_OTP names, else the one on the PATH. It is [ErrNoErlang] if there is
// none. The erl on the PATH is run once to learn its number, which takes some
// tenths of a second.
func Find() ([]Release, error) {
	if list := os.Getenv(envReleases); list != "" {
		return parse(list)
	}
	erl, err := exec.LookPath("erl")
	if err != nil {
		return nil, ErrNoErlang
	}
	r, err := ask(erl)
	if err != nil {
		return nil, err
	}
	return []Release{r}, nil
}

func parse(list string) ([]Release, error) {
	var found []Release
	for entry := range strings.FieldsSeq(list) {
		number, erl, ok := strings.Cut(entry, "=")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			return nil, fmt.Errorf("%s: %q is not of the form 25=/path/of/erl", envReleases, entry)
		}
		if _, err := exec.LookPath(erl); err != nil {
			return nil, fmt.Errorf("%s: OTP %d: %w", envReleases, n, err)
		}
		found = append(found, Release{Number: n, Erl: erl})
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s names no release", envReleases)
	}
	slices.SortFunc(found, func(a, b Release) int { return a.Number - b.Number })
	return found, nil
}

// ask runs erl to learn which release it is.
func ask(erl string) (Release, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, erl, "-noinput", "-boot", "start_clean",
		"-eval", `io:put_chars(erlang:system_info(otp_release)), halt().`)
	cmd.Env = environment(os.TempDir())
	out, err := cmd.Output()
	if err != nil {
		return Release{}, fmt.Errorf("%s does not run: %w", erl, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		return Release{}, fmt.Errorf("%s does not tell its release: %w", erl, err)
	}
	return Release{Number: n, Erl: erl}, nil
}

// Releases returns what [Find] finds. Without a release it skips the test, or
// fails it where CNODE_TEST_REQUIRE is set; there it also fails the test if one
// of the releases that the project is tested with is not among them.
func Releases(t testing.TB) []Release {
	t.Helper()
	found, err := Find()
	if err == nil && need.All() {
		err = complete(found)
	}
	if errors.Is(err, ErrNoErlang) {
		need.Missing(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Each runs f as a subtest with every release: with -short with the newest, and if the test is a
// conversation with the oldest.
func Each(t *testing.T, f func(t *testing.T, r Release)) {
	t.Helper()
	releases := Releases(t)
	for i, r := range releases {
		newest, oldest := i == len(releases)-1, i == 0
		if !testing.Short() || newest || oldest && slices.Contains(conversations, t.Name()) {
			t.Run(r.String(), func(t *testing.T) { f(t, r) })
		}
	}
}

// Together is Each with several releases at once, and in parallel with the
// other tests.
func Together(t *testing.T, f func(t *testing.T, r Release)) {
	t.Helper()
	t.Parallel()
	Each(t, func(t *testing.T, r Release) {
		t.Parallel()
		f(t, r)
	})
}

// complete returns an error that names the wanted releases that are not in found.
func complete(found []Release) error {
	var missing []string
	for i, n := range wanted {
		if testing.Short() && i != 0 && i != len(wanted)-1 {
			continue // see Each
		}
		if !slices.ContainsFunc(found, func(r Release) bool { return r.Number == n }) {
			missing = append(missing, strconv.Itoa(n))
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("%s is set, but there is no Erlang/OTP %s", need.Variable, strings.Join(missing, ", "))
}
