package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// inErl are flags of erl, and what they are called here.
var inErl = map[string]string{"sname": "--name ALIVE", "setcookie": "--cookie SECRET", "ssl_dist_optfile": "--tls-optfile FILE",
	"proto_dist": "--transport tcp|tls|unix|uds"}

// FlagError says in plain words what is wrong with the flags of a command line, and what is meant.
// args is the whole command line.
func FlagError(cmd *cobra.Command, args []string, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		return unknownFlag(cmd, args, unknown)
	case errors.As(err, &missing):
		return Usagef("--%s: its value is missing: %s", missing.GetFlag().Name, withValue(missing.GetFlag()))
	case errors.As(err, &invalid):
		return Usagef("--%s %s: %s", invalid.GetFlag().Name, invalid.GetValue(), wanted(invalid))
	}
	return Usagef("%w", err)
}

// withValue is a flag and what its value is called.
func withValue(f *pflag.Flag) string {
	value, _ := pflag.UnquoteUsage(f)
	return strings.TrimSpace("--" + f.Name + " " + value)
}

// wanted says what the value of a flag may be.
func wanted(e *pflag.InvalidValueError) string {
	switch e.GetFlag().Value.Type() {
	case "int":
		if errors.Is(e.Unwrap(), strconv.ErrRange) {
			return "the number is too large"
		}
		return "want a whole number"
	case "duration":
		if _, err := strconv.ParseFloat(e.GetValue(), 64); err == nil {
			return fmt.Sprintf("the unit is missing: for seconds say %ss", e.GetValue())
		}
		return "want a time such as 500ms, 10s or 2m"
	case "bool":
		return "want true or false"
	}
	return e.Unwrap().Error()
}

// unknownFlag says which flag is meant.
func unknownFlag(cmd *cobra.Command, args []string, e *pflag.NotExistError) error {
	given, short := "--"+e.GetSpecifiedName(), e.GetSpecifiedShortnames()
	name := e.GetSpecifiedName()
	if short != "" {
		given, name = "-"+short, short
		// -host is -h, which is a flag, and -ost, which are none
		for _, arg := range args {
			if strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--") && strings.HasSuffix(arg, short) {
				given, name = arg, arg[1:]
			}
		}
	}
	name, _, _ = strings.Cut(name, "=")
	given, _, _ = strings.Cut(given, "=")
	if f := cmd.Flag(name); f != nil && short != "" {
		return Usagef("%s: flags have two dashes here: %s", given, withValue(f))
	}
	if here := inErl[name]; here != "" {
		return Usagef("%s is erl's: here it is %s", given, here)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if like := alike(name, names); len(like) > 0 {
		return Usagef("unknown flag: %s; did you mean --%s?", given, strings.Join(like, ", --"))
	}
	var others []string
	for _, c := range cmd.Root().Commands() {
		if c != cmd && c.LocalNonPersistentFlags().Lookup(name) != nil && !c.Hidden {
			others = append(others, c.Name())
		}
	}
	if len(others) > 0 {
		return Usagef("unknown flag: %s, which is for %s", given, strings.Join(others, ", "))
	}
	return Usagef("unknown flag: %s", given)
}

// alike are the names that a word may have been meant to be: those that it begins, and those that
// differ from it in few letters.
func alike(word string, names []string) (like []string) {
	for _, name := range names {
		if word != "" && (strings.HasPrefix(name, word) || edits(word, name) <= max(1, len(word)/3)) {
			like = append(like, name)
		}
	}
	slices.Sort(like)
	return like
}

// edits is how many letters have to be added, removed, changed or swapped with the next one to make
// b of a.
func edits(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		for j := range rows[i] {
			if i == 0 || j == 0 {
				rows[i][j] = i + j
				continue
			}
			changed := 1
			if a[i-1] == b[j-1] {
				changed = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+changed)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
