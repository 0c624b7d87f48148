package ask

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func Call(o *config.Options) *cobra.Command {
	var limit time.Duration
	var between config.Virtual
	var how syntax
	cmd := &cobra.Command{
		Use:   "call NODE MOD FUN [ARGS]",
		Short: "Call a function on a node: rpc:call",
		Long: `Call MOD:FUN on NODE with ARGS, an Erlang list in text (default: []), and print the result as Erlang text (exit 0). If
the call fails, the reason, such as Erlang's {badrpc, Reason}, is on the standard error (exit 1). With --syntax elixir both are in Elixir,
and MOD is Enum, say, or :lists. With --json the result is JSON: tuples and lists are arrays, and so is a string of Erlang, "ab", which is
the list [97,98]; text is <<"ab">>, in Elixir "ab".`,
		Example: `  cnode-demo call x@127.0.0.1 erlang system_info '[otp_release]'
  cnode-demo call x@127.0.0.1 lists seq '[1, 5]'
  cnode-demo call cnode@127.0.0.1 cnode echo '[#{name => <<"Joe">>}]'
  cnode-demo call cnode@127.0.0.1 cnode echo '[%{name: "Joe"}]' --syntax elixir --json`,
		Args: how.checkCall,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := how.check(); err != nil {
				return err
			}
			if limit < 0 {
				return cli.Usagef("--timeout %v: want a time to wait, or 0 for as long as it takes", limit)
			}
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			return call(ctx, o, &between, &how, append(args, "[]"), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	between.AddTo(cmd.Flags())
	how.addTo(cmd.Flags())
	cmd.Flags().DurationVar(&limit, "timeout", 0,
		fmt.Sprintf("how long to wait (default: %v for the connection, as long as it takes for the result)", nodes.DefaultHandshakeTimeout))
	return cmd
}

// checkCall checks the words of the command line.
func (s *syntax) checkCall(cmd *cobra.Command, words []string) error {
	if len(words) > 1 && s.name != "elixir" && strings.HasPrefix(words[1], ":") {
		return cli.Usagef("MOD is %s, as Elixir writes it: add --syntax elixir, or say %s", words[1], strings.TrimLeft(words[1], ":"))
	}
	if len(words) > 1 && strings.Contains(s.module(words[1]), ":") {
		two := strings.Replace(words[1], ":", " ", 1)
		return cli.Usagef("MOD is %s: module and function are two words, %s", words[1], two)
	}
	if len(words) > 2 && strings.HasPrefix(words[2], "[") {
		return cli.Usagef("FUN is %s: the function's name is missing before its arguments", words[2])
	}
	return cli.Args("NODE", "MOD", "FUN", "[ARGS]")(cmd, words)
}

func call(ctx context.Context, o *config.Options, between *config.Virtual, how *syntax, words []string, out, errOut io.Writer) (err error) {
	target, err := o.CheckTarget(words[0])
	if err != nil {
		return err
	}
	args, err := how.parseArgs(words[3])
	if err != nil {
		return err
	}
	_, c, end, err := o.Dial(ctx, between, target, errOut)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	result, err := c.RPC(ctx, how.module(words[1]), words[2], args...)
	if err != nil {
		return how.meant(words[1], err)
	}
	text, err := how.print(result)
	if err == nil {
		_, err = fmt.Fprintln(out, text)
	}
	return err
}

const exampleArgs = `'[1, "two", {three}]'`

// parseArgs reads the arguments of a function. A list of bytes may be written as a string.
func (s *syntax) parseArgs(text string) ([]any, error) {
	t, err := s.parse(text)
	if err != nil {
		return nil, cli.Usagef("ARGS: want a list such as %s: %w%s", s.exampleArgs(), err, s.otherSyntax(text))
	}
	list, ok := ei.Elements(t)
	if !ok {
		return nil, cli.Usagef("ARGS: want a list such as %s, not %s", s.exampleArgs(), s.text(t))
	}
	var args []any
	for _, arg := range list {
		args = append(args, arg)
	}
	return args, nil
}

// otherSyntax says that a text is no term in this syntax, but is one in the other.
func (s *syntax) otherSyntax(text string) string {
	other, hint := elixir.Parse, "; if it is meant as Elixir, add --syntax elixir"
	if s.name == "elixir" {
		other, hint = ei.Parse, "; if it is meant as Erlang, leave out --syntax elixir"
	}
	if _, err := other(text); err != nil {
		return ""
	}
	return hint
}

// A syntax is how terms are read and printed: --syntax, --json.
type syntax struct {
	name   string // erlang, elixir
	asJSON bool
}

func (s *syntax) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&s.name, "syntax", "erlang", "how ARGS are written and the result is printed: `erlang|elixir`")
	flags.BoolVar(&s.asJSON, "json", false,
		"print the result as JSON: tuples are arrays, Erlang's strings arrays of numbers, undefined and nil null")
}

func (s *syntax) check() error {
	if s.name != "erlang" && s.name != "elixir" {
		return cli.Usagef("--syntax %s: want erlang or elixir", s.name)
	}
	return nil
}

// parse reads a term.
func (s *syntax) parse(text string) (ei.Term, error) {
	if s.name == "elixir" {
		return elixir.Parse(text)
	}
	return ei.Parse(text)
}

// print gives the text of a result.
func (s *syntax) print(t ei.Term) (string, error) {
	if s.asJSON {
		text, err := ei.AppendJSON(nil, t)
		if err != nil {
			return "", fmt.Errorf("--json: the result is %s: %w", ei.Brief(t, 100), err)
		}
		return string(text), nil
	}
	return s.text(t), nil
}

// text is a term in the syntax.
func (s *syntax) text(t ei.Term) string {
	if s.name == "elixir" {
		return string(elixir.AppendText(nil, t))
	}
	return t.String()
}

// module is the atom that MOD stands for: in Elixir Enum is a module of Elixir's, and :lists one of
// Erlang's.
func (s *syntax) module(word string) string {
	if s.name != "elixir" {
		return word
	}
	if word == "" {
		return ""
	}
	if first := word[0]; first >= 'A' && first <= 'Z' && word != "Elixir" && !strings.HasPrefix(word, "Elixir.") {
		return "Elixir." + word
	}
	return strings.TrimPrefix(word, ":")
}

// An ElixirError is a call of a module which has a name that only Elixir's have, in the syntax of
// Erlang.
type ElixirError struct {
	Module string
	Err    error
}

func (e *ElixirError) Error() string { return e.Err.Error() }
func (e *ElixirError) Unwrap() error { return e.Err }

// meant makes an error of a call one about the syntax, where MOD looks like Elixir's.
func (s *syntax) meant(module string, err error) error {
	if s.name == "elixir" || module[0] < 'A' || module[0] > 'Z' || strings.HasPrefix(module, "Elixir.") {
		return err
	}
	return &ElixirError{module, err}
}

// exampleArgs are what ARGS may look like.
func (s *syntax) exampleArgs() string {
	if s.name == "elixir" {
		return `'[1, "two", {:three}]'`
	}
	return exampleArgs
}
