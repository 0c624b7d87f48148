package main

import (
	"fmt"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/spf13/pflag"
)

// A syntax is how terms are read and printed: --syntax, --json.
type syntax struct {
	name   string // erlang, elixir
	asJSON bool
}

func (s *syntax) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&s.name, "syntax", "erlang", "how ARGS are written and the result is printed: erlang or elixir")
	flags.BoolVar(&s.asJSON, "json", false, "print the result as JSON: tuples are arrays, undefined and nil are null")
}

func (s *syntax) check() error {
	if s.name != "erlang" && s.name != "elixir" {
		return usagef("--syntax %s: want erlang or elixir", s.name)
	}
	return nil
}

// parse reads a term.
func (s *syntax) parse(text string) (ei.Term, error) {
	if s.name == "elixir" {
		return ei.ParseElixir(text)
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
		return string(ei.AppendElixir(nil, t))
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

// exampleArgs are what ARGS may look like.
func (s *syntax) exampleArgs() string {
	if s.name == "elixir" {
		return `'[1, "two", {:three}]'`
	}
	return exampleArgs
}
