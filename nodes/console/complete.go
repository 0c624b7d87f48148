package console

import (
	"context"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// Completion by Tab. The line is edited on the user's node, which calls this one for what may
// follow: Erlang's shell edlin_expand:expand, with what stands before the cursor, reversed. Elixir
// before OTP 26 does so only if the session gives it a function, see completeByElixir.

// expand is {yes | no, Insert, Matches}.
func (c *console) expand(ctx context.Context, reversed string, _ ...ei.Term) ei.Term {
	c.mu.Lock()
	s := c.sessions[nodes.CallerOf(ctx)] // the group leader edits the line
	c.mu.Unlock()
	if s == nil {
		return ei.Tuple{ei.Atom("no"), ei.List{}, ei.List{}}
	}
	line := []rune(reversed)
	slices.Reverse(line)
	insert, matches := s.complete(ctx, string(line))
	found := ei.Atom("yes")
	if insert == "" && len(matches) == 0 {
		found = "no"
	}
	list := ei.List{}
	for _, m := range matches {
		list = append(list, charlist(m))
	}
	return ei.Tuple{found, charlist(insert), list}
}

// complete is what completes a line or, if there are several ways, all of these.
func (s *session) complete(ctx context.Context, line string) (insert string, matches []string) {
	name, rest, hasArgs := line, "", false
	if i := strings.IndexAny(line, " ,("); i >= 0 {
		name, rest, hasArgs = line[:i], line[i+1:], true
	}
	prefix := name
	if !hasArgs {
		matches = s.names()
	} else {
		words, last := split(rest, s.elixir)
		args := words
		if prefix = last; last != "" {
			args = words[:len(words)-1]
		}
		cmd, err := s.c.find(string(s.leader.Node), name, len(args)+1)
		if err != nil || cmd.Complete == nil {
			return "", nil
		}
		matches = cmd.Complete(context.WithValue(ctx, sessionKey{}, s), args, prefix)
	}
	matches = slices.DeleteFunc(slices.Clone(matches), func(m string) bool { return !strings.HasPrefix(m, prefix) })
	slices.Sort(matches)
	matches = slices.Compact(matches)
	if len(matches) == 0 {
		return "", nil
	}
	insert = matches[0][len(prefix):]
	for _, m := range matches[1:] { // what they have in common; a letter of several bytes stays whole
		for !strings.HasPrefix(m[len(prefix):], insert) {
			runes := []rune(insert)
			insert = string(runes[:len(runes)-1])
		}
	}
	switch {
	case len(matches) == 1:
		return insert + " ", nil
	case insert != "":
		return insert, nil
	}
	return "", matches
}

// names are the commands that the user may have.
func (s *session) names() (names []string) {
	for _, cmd := range s.c.commands {
		if s.c.mayHave(string(s.leader.Node), cmd.Name) {
			names = append(names, cmd.Name)
		}
	}
	return names
}

// completeByElixir has Elixir's shell ask this node for completions, with its own function for
// that: one of ours could not run there.
func (s *session) completeByElixir(ctx context.Context) {
	ask, err := s.c.n.RPC(nodes.NoConnect(ctx), string(s.leader.Node), "Elixir.IEx.Autocomplete", "remsh", ei.Atom(s.c.n.Name()))
	if _, isFun := ask.(ei.Fun); err == nil && isFun {
		_ = s.screen.SetOptions(ei.Tuple{ei.Atom("expand_fun"), ask}) // an error: no completion
	}
}

// among completes an argument by some words.
func among(words ...string) func(context.Context, []string, string) []string {
	return func(_ context.Context, args []string, _ string) []string {
		if len(args) > 0 {
			return nil
		}
		return words
	}
}
