package tutorial

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// piece is what the test does something with: a heading, a remark that readers do not see, or a
// block.
var piece = regexp.MustCompile("(?ms)^## ([^\n]*)$|^<!-- ([^\n]*) -->$|^```(\\w*)\n(.*?)^```$")

// All pages, one after the other, in one folder.
func TestTutorial(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		r := newReader(t, e)
		found, err := filepath.Glob("../../../docs/tutorial/[0-9]*.md")
		require.NoError(t, err)
		require.Len(t, found, 10)
		for _, page := range found {
			begin := time.Now()
			text, err := os.ReadFile(page)
			require.NoError(t, err)
			step := strings.TrimSuffix(filepath.Base(page), ".md")
			r.reads(step, string(text))
			r.hasAll(step)
			t.Logf("%s: %v", filepath.Base(page), time.Since(begin).Round(time.Millisecond))
		}
	})
}

// hasAll compares the reader's files with those of a step, for readers who compare.
func (r *reader) hasAll(step string) {
	r.t.Helper()
	root := filepath.Join("../../../examples/tutorial", step)
	require.NoError(r.t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		file, _ := filepath.Rel(root, path)
		if err != nil || d.IsDir() || file == "mix.exs" || strings.HasPrefix(file, "lib/my_app_web/") { // see writes
			return err
		}
		want, err := os.ReadFile(path)
		require.NoError(r.t, err)
		has, err := os.ReadFile(filepath.Join(r.dir, r.at, file))
		require.NoError(r.t, err)
		require.Equal(r.t, string(want), strings.Replace(string(has), "version = 2", "version = 1", 1), "%s: %s", step, file)
		return nil
	}))
}

// standIns are what the page needs of Phoenix.
const standIns = `
defmodule MyAppWeb do
  defmacro __using__(_), do: quote(do: import(MyAppWeb.StandIns))
end
defmodule MyAppWeb.StandIns do
  def connected?(_), do: false
  def assign(socket, values), do: Enum.into(values, socket)
  def update(socket, key, f), do: Map.update!(socket, key, f)
  defmacro sigil_H(text, _), do: text
end
`

// chapterOfHex is the one that needs a package of Hex.
const chapterOfHex = "Or listen without Phoenix"

func (r *reader) reads(step, page string) {
	r.t.Helper()
	skip := false
	for _, m := range piece.FindAllStringSubmatch(page, -1) {
		heading, remark, language, block := m[1], m[2], m[3], m[4]
		file, isFile := strings.CutPrefix(remark, "from examples/tutorial/"+step+"/")
		switch {
		case heading != "":
			skip = heading == chapterOfHex && os.Getenv("CNODE_TEST_BEAM_PEERS") == ""
		case skip:
		case isFile:
			r.writes(step, file, page)
		case remark == "Ctrl-C":
			r.interrupt(syscall.SIGINT)
		case remark == "leave iex":
			r.leaveShells()
		case remark == "version 2":
			r.edits("go/pricing/main.go", "const version = 1", "const version = 2")
		case remark == "the page, with stand-ins":
			s := r.shells[len(r.shells)-1]
			page, err := os.ReadFile(filepath.Join("../../../examples/tutorial", step, "lib/my_app_web/live/price_live.ex"))
			require.NoError(r.t, err)
			require.NoError(r.t, os.WriteFile(r.dir+"/page.ex", []byte(standIns+string(page)), 0o644))
			r.asks(s, []string{
				fmt.Sprintf("Code.compile_file(%q); :compiled\n:compiled", r.dir+"/page.ex"),
				"MyAppWeb.PriceLive.handle_info({:price, price}, %{prices: %{}})\n{:noreply, %{prices: %{\"A1\" => 2.5}}}",
			})
		case remark != "":
			require.Fail(r.t, "an unknown remark", remark)
		case language == "sh":
			for line := range strings.Lines(block) {
				r.types(strings.TrimSpace(line))
			}
		case language == "text":
			for line := range strings.Lines(block) {
				r.sees(line)
			}
		case language == "elixir" && strings.HasPrefix(block, "iex> "):
			r.asks(r.shells[len(r.shells)-1], regexp.MustCompile(`(?m)^iex> `).Split(block, -1)[1:])
		case language == "erlang":
			s := r.opens("erl -name me@127.0.0.1 -setcookie secret")
			r.asks(s, regexp.MustCompile(`(?m)^\d+> `).Split(block, -1)[1:])
			r.leaves(s, "halt().\n")
		}
	}
}

// writes writes a file as it is at the end of the step. What is new in it is on the page.
func (r *reader) writes(step, file, page string) {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../examples/tutorial", step, file))
	require.NoError(r.t, err)
	path := filepath.Join(r.dir, r.at, file)
	before, _ := os.ReadFile(path) // it may be new
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		require.True(r.t, strings.Contains(string(before), line) || strings.Contains(page, line), "%s: %s is not on the page: %s",
			step, file, line)
	}
	if strings.HasPrefix(file, "lib/my_app_web/") {
		return // in the Phoenix application
	}
	require.NoError(r.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(r.t, os.WriteFile(path, text, 0o644))
}

func (r *reader) edits(file, old, with string) {
	r.t.Helper()
	path := filepath.Join(r.dir, r.at, file)
	text, err := os.ReadFile(path)
	require.NoError(r.t, err)
	require.Contains(r.t, string(text), old)
	require.NoError(r.t, os.WriteFile(path, []byte(strings.Replace(string(text), old, with, 1)), 0o644))
}

// types types a line of a shell.
func (r *reader) types(line string) {
	r.t.Helper()
	line = strings.ReplaceAll(line, "127.0.0.1:8080", "127.0.0.1:"+r.port)
	program, _, _ := strings.Cut(regexp.MustCompile(`^[A-Z_]+=\S+ `).ReplaceAllString(line, ""), " ")
	switch {
	case strings.HasPrefix(line, "go install "): // the command is there
	case strings.HasPrefix(line, "go -C go run "), program == "bin/pricing":
		r.interrupt(syscall.SIGINT)
		r.goes = r.starts("sh", "-ec", "exec env "+line)
	case program == "iex":
		if !strings.Contains(line, "web@") { // the third terminal
			r.leaveShells()
		}
		r.shells = append(r.shells, r.opens(line))
	case program == "mix":
		r.ends(r.inElixir(line), line)
	case strings.HasPrefix(line, "pkill -HUP -x pricing"):
		require.NoError(r.t, syscall.Kill(r.goes.cmd.Process.Pid, syscall.SIGHUP))
	default:
		r.ends(r.starts("sh", "-ec", line), line)
		if _, folder, ok := strings.Cut(line, " && cd "); ok {
			r.at = filepath.Join(r.at, folder)
		}
	}
}

// asks types what a block shows behind prompts, and waits for what it shows below.
func (r *reader) asks(s *shell, asked []string) {
	r.t.Helper()
	for _, text := range asked {
		question, answers, _ := strings.Cut(text, "\n")
		question = strings.Replace(question, `{:phoenix_pubsub, "~> 2.1"}`,
			fmt.Sprintf(`{:phoenix_pubsub, path: "%s/phoenix_pubsub"}`, r.dir), 1)
		_, err := s.keys.WriteString(question + "\n")
		require.NoError(r.t, err)
		r.answers(s, question, strings.FieldsFunc(answers, func(c rune) bool { return c == '\n' }))
	}
}
