package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/cnode-go/cnode/ei"
)

// A source is that of an Erlang module.
type source struct {
	module string
	text   []byte
}

var moduleAttribute = regexp.MustCompile(`-module\( *'?([0-9A-Za-z_@]+)`)

// readSource reads all of a source, which must say what module it is.
func readSource(in io.Reader) (*source, error) {
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, fmt.Errorf("read the standard input: %w", err)
	}
	found := moduleAttribute.FindSubmatch(text)
	if found == nil {
		return nil, errors.New("-m: the standard input is no module: -module(NAME) is missing")
	}
	return &source{string(found[1]), text}, nil
}

// load has the node write the source to a file in its working directory, compile it and load it, as
// the shell's c/1 does.
func (s *session) load(ctx context.Context, m *source) error {
	file := m.module + ".erl"
	written, err := s.call(ctx, "file", "write_file", ei.List{ei.String(file), ei.Binary(m.text)}, leaderUser)
	if err != nil {
		return err
	}
	if written != ei.Term(ei.Atom("ok")) {
		return fmt.Errorf("-m: %s cannot write %s: %v", s.c.Name(), file, written)
	}
	compiled, err := s.call(ctx, "c", "c", ei.List{ei.Atom(file), ei.List{}}, leaderUser)
	if err != nil {
		return err
	}
	if t, ok := compiled.(ei.Tuple); !ok || len(t) != 2 || t[0] != ei.Atom("ok") {
		return fmt.Errorf("-m: %s does not compile on %s, whose output says why: %v", file, s.c.Name(), compiled)
	}
	return nil
}
