package console

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// Completion by Tab. The line is edited on the user's node, whose group leader calls this one for
// what may follow: edlin_expand:expand, with what stands before the cursor, reversed.

// expand is {yes | no, Insert, Matches}. An exception would end the user's shell.
func (c *console) expand(ctx context.Context, reversed string, _ ...ei.Term) (result ei.Term) {
	defer func() {
		if p := recover(); p != nil {
			c.n.Logger().Error("a completion of the console has panicked", "panic", p)
			result = ei.Tuple{ei.Atom("no"), ei.List{}, ei.List{}}
		}
	}()
	user := nodes.CallerOf(ctx)
	c.mu.Lock()
	s := c.sessions[user]
	c.mu.Unlock()
	if conn := nodes.ConnOf(ctx); conn != nil && conn.Name() != string(user.Node) {
		s = nil // the peer speaks for another one's shell
	}
	list, found, insert := ei.List{}, ei.Atom("no"), ""
	if s != nil {
		line := []rune(reversed)
		slices.Reverse(line)
		var matches []string
		if insert, matches = s.complete(ctx, string(line)); insert != "" || len(matches) > 0 {
			found = "yes"
		}
		for _, m := range matches {
			list = append(list, otp.Charlist(m))
		}
	}
	return ei.Tuple{found, otp.Charlist(insert), list}
}

// complete is what completes a line or, if there are several ways, all of these.
func (s *session) complete(ctx context.Context, line string) (insert string, matches []string) {
	ctx = context.WithValue(ctx, sessionKey{}, s)
	prefix := line
	if i := strings.IndexAny(line, " ,("); i >= 0 {
		args, last := split(line[i+1:], s.elixir)
		cmd, err := s.command(line[:i], len(args)+1)
		if err != nil || cmd.Complete == nil {
			return "", nil
		}
		prefix, matches = last, slices.Clone(cmd.Complete(ctx, args, last))
	} else {
		matches = s.c.names(ctx)
	}
	matches = slices.DeleteFunc(matches, func(m string) bool { return !strings.HasPrefix(m, prefix) })
	slices.Sort(matches)
	switch matches = slices.Compact(matches); len(matches) {
	case 0:
		return "", nil
	case 1:
		return matches[0][len(prefix):] + " ", nil
	}
	common := []rune(matches[0]) // in order: what the first and the last one have in common, all have
	for last := matches[len(matches)-1]; !strings.HasPrefix(last, string(common)); {
		common = common[:len(common)-1]
	}
	if insert = string(common)[len(prefix):]; insert != "" {
		matches = nil
	}
	return insert, matches
}

// completes has the user's group leader ask this node, if it does not by itself: those that
// user_drv has made for a remote shell do, jobs of OTP 25 and shells of Elixir 1.14 do not. It
// needs a function for that, and one of ours could not run there, but one that erl_eval makes can.
func (s *session) completes(ctx context.Context, options map[ei.Term]ei.Term) {
	if f, ok := options[ei.Atom("expand_fun")].(ei.Fun); ok && f.Module == "user_drv" {
		return
	}
	form, err := ei.Parse(fmt.Sprintf(`{'fun',1,{clauses,[{clause,1,[{var,1,'B'}],[],[{call,1,{remote,1,{atom,1,rpc},{atom,1,call}},
		[{atom,1,%v},{atom,1,edlin_expand},{atom,1,expand},{cons,1,{var,1,'B'},{nil,1}}]}]}]}}`, ei.Atom(s.c.n.Name())))
	if err != nil {
		return
	}
	made, err := s.c.n.RPC(nodes.NoConnect(ctx), string(s.leader.Node), "erl_eval", "expr", form, ei.List{})
	if t, ok := made.(ei.Tuple); ok && err == nil && len(t) == 3 { // {value, Fun, Bindings}
		_ = s.screen.SetOptions(ei.Tuple{ei.Atom("expand_fun"), t[1]}) // an error: no completion
	}
}

// first completes the first argument of a command by words.
func first(words func(ctx context.Context) []string) func(context.Context, []string, string) []string {
	return func(ctx context.Context, args []string, _ string) []string {
		if len(args) > 0 {
			return nil
		}
		return words(ctx)
	}
}

// among are some words.
func among(words ...string) func(context.Context, []string, string) []string {
	return first(func(context.Context) []string { return words })
}

// names are the commands that the user may have.
func (c *console) names(ctx context.Context) (names []string) {
	for _, cmd := range c.available(of(ctx).user()) {
		names = append(names, cmd.Name)
	}
	return names
}

// registered are the names of processes.
func (c *console) registered(ctx context.Context) (names []string) {
	for p := range c.n.Processes() {
		for _, name := range p.Names {
			names = append(names, of(ctx).atom(name))
		}
	}
	return names
}
