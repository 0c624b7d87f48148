package tlstransport

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// The one call that an option file may have, and what stands for it in the term.
const (
	httpsMatchCall = "public_key:pkix_verify_hostname_match_fun(https)"
	httpsMatch     = "(https)"
)

// mostCalls is how many of these calls a file may have; one for the client is enough.
const mostCalls = 16

// afterPublicKey is what follows public_key in that call.
var afterPublicKey = regexp.MustCompile(`^:\s*pkix_verify_hostname_match_fun\s*\(\s*https\s*\)`)

// parseTerm reads an option file, which Erlang evaluates as an expression: here it has to be a
// term, but for that one call.
func parseTerm(s string) (ei.Term, error) {
	for range mostCalls {
		t, err := ei.Parse(s)
		var wrong *ei.TextError
		if !errors.As(err, &wrong) {
			return t, err
		}
		before, isCall := strings.CutSuffix(s[:wrong.Offset], "public_key")
		call := afterPublicKey.FindString(s[wrong.Offset:])
		if !isCall || call == "" {
			return nil, syntaxError(s, wrong)
		}
		// What stands for the call is as long, with the same lines, so that positions stay right.
		after := s[wrong.Offset+len(call):]
		s = before + fmt.Sprintf("%-*s", len("public_key"), "'"+httpsMatch+"'") + blank(call) + after
	}
	return nil, fmt.Errorf("it calls %s more than %d times", httpsMatchCall, mostCalls-1)
}

// blank makes a text of spaces, with as many characters and the same lines.
func blank(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		return ' '
	}, s)
}

// syntaxError says where and why an option file cannot be read. It shows nothing of the text, which
// may be a password, and does not wrap the error that does.
func syntaxError(s string, e *ei.TextError) error {
	line, column := e.Position(s)
	why, _, quotes := strings.Cut(e.Reason, `"`)
	switch {
	case quotes:
		why = "no literal term from here on: calls, variables and operators, which Erlang would " +
			"evaluate, are not read here, and of funs only fun Module:Name/Arity"
	case why == "":
		why = e.Err.Error()
	}
	return fmt.Errorf("line %d, column %d: %s", line, column, why)
}

// word returns v if it is an atom, else "".
func word(v ei.Term) ei.Atom {
	a, _ := v.(ei.Atom)
	return a
}

// show returns a term in Erlang's notation, an atom without quotes.
func show(v ei.Term) string {
	if a, ok := v.(ei.Atom); ok {
		return string(a)
	}
	return fmt.Sprint(v)
}

// outline is show without the elements of lists and maps, and of tuples without all but the first:
// a password may be there.
func outline(v ei.Term) string {
	switch v := v.(type) {
	case ei.List:
		if len(v) > 0 {
			return "[…]"
		}
	case ei.ImproperList:
		return "[…]"
	case ei.Map:
		return "#{…}"
	case ei.Record:
		return "#" + show(v.Module) + ":" + show(v.Name) + "{…}"
	case ei.Tuple:
		if len(v) == 0 {
			break
		}
		first := "{…}"
		if _, isTuple := v[0].(ei.Tuple); !isTuple {
			first = outline(v[0])
		}
		if len(v) > 1 {
			first += ",…"
		}
		return "{" + first + "}"
	}
	return show(v)
}
