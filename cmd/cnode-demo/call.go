package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/spf13/cobra"
)

func newCall(o *options) *cobra.Command {
	var limit time.Duration
	var how syntax
	cmd := &cobra.Command{
		Use:   "call NODE MOD FUN [ARGS]",
		Short: "Call a function on a node: rpc:call",
		Long: `Call MOD:FUN on NODE with ARGS, an Erlang list in text (default: []), and print the result as Erlang text (exit 0). If
the call fails, the reason, such as Erlang's {badrpc, Reason}, is on the standard error (exit 1). With --syntax elixir both are in Elixir,
and MOD is Enum, say, or :lists.`,
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
				return usagef("--timeout %v: want a time to wait, or 0 for as long as it takes", limit)
			}
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			return call(ctx, o, &how, append(args, "[]"), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.virtual.addTo(cmd.Flags())
	how.addTo(cmd.Flags())
	cmd.Flags().DurationVar(&limit, "timeout", 0,
		fmt.Sprintf("how long to wait (default: %v for the connection, as long as it takes for the result)", nodes.DefaultHandshakeTimeout))
	return cmd
}

// checkCall checks the words of the command line.
func (s *syntax) checkCall(cmd *cobra.Command, words []string) error {
	if len(words) > 1 && strings.Contains(s.module(words[1]), ":") {
		two := strings.Replace(words[1], ":", " ", 1)
		return usagef("MOD is %s: module and function are two words, %s", words[1], two)
	}
	if len(words) > 2 && strings.HasPrefix(words[2], "[") {
		return usagef("FUN is %s: the function's name is missing before its arguments", words[2])
	}
	return args("NODE", "MOD", "FUN", "[ARGS]")(cmd, words)
}

func call(ctx context.Context, o *options, how *syntax, words []string, out, errOut io.Writer) (err error) {
	target, err := o.checkTarget(words[0])
	if err != nil {
		return err
	}
	args, err := how.parseArgs(words[3])
	if err != nil {
		return err
	}
	_, c, end, err := o.dial(ctx, target, errOut)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	result, err := c.Call(ctx, how.module(words[1]), words[2], args...)
	if err != nil {
		return err
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
		return nil, &usageError{fmt.Errorf("ARGS: want a list such as %s: %w", s.exampleArgs(), err)}
	}
	list, ok := ei.Elements(t)
	if !ok {
		return nil, usagef("ARGS: want a list such as %s, not %s", s.exampleArgs(), s.text(t))
	}
	var args []any
	for _, arg := range list {
		args = append(args, arg)
	}
	return args, nil
}
