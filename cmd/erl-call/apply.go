package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/cnode-go/cnode/ei"
)

// An apply is what -a asks for.
type apply struct {
	module, function string
	text             string // the arguments
}

// parseApply splits "MOD [FUN [ARGS]]" at white space; whatever follows FUN are the arguments.
func parseApply(text string) (*apply, error) {
	module, rest := word(text)
	if module == "" {
		return nil, errors.New("want 'MOD [FUN [ARGS]]'")
	}
	function, args := word(rest)
	a := &apply{module: module, function: function, text: args}
	if function == "" {
		a.function = "start"
	}
	if args == "" {
		a.text = "[]"
	}
	return a, nil
}

// word splits off the first word of text.
func word(text string) (first, rest string) {
	text = strings.TrimSpace(text)
	if i := strings.IndexFunc(text, unicode.IsSpace); i >= 0 {
		return text[:i], strings.TrimSpace(text[i:])
	}
	return text, ""
}

// args are the arguments as a term: any, for erl_call leaves it to the node to refuse one that is
// no list.
func (a *apply) args() (ei.Term, error) {
	t, err := ei.Parse(a.text)
	if err != nil {
		return nil, fmt.Errorf("arguments %s of -a: %w", a.text, err)
	}
	return t, nil
}
