package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// A UsageError is a fault of the command line.
type UsageError struct{ err error }

func (e *UsageError) Error() string { return e.err.Error() }
func (e *UsageError) Unwrap() error { return e.err }

func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// Args checks that the words named in want are given; those in brackets may be left out.
func Args(want ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, got []string) error {
		if len(got) > len(want) && slices.Contains(want, "[ARGS]") {
			return Usagef("more than one word for ARGS: want one list such as '[1, \"two\", {three}]'")
		}
		if len(got) > len(want) {
			return Usagef("unknown command or argument %q%s", got[len(want)], suggestion(cmd, got[len(want)]))
		}
		for i, word := range got {
			// a variable of the shell that is not set
			if word == "" && !strings.HasPrefix(want[i], "[") {
				return Usagef("%s is empty", want[i])
			}
		}
		for _, missing := range want[len(got):] {
			if !strings.HasPrefix(missing, "[") {
				return Usagef("%s is missing", missing)
			}
		}
		return nil
	}
}

func suggestion(cmd *cobra.Command, word string) string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if like := alike(word, names); len(like) > 0 {
		return "; did you mean " + strings.Join(like, ", ") + "?"
	}
	if cmd.Name() == "serve" {
		return "; its name is given with --name"
	}
	if len(names) > 0 {
		return "; the commands are " + strings.Join(names, ", ")
	}
	return ""
}
