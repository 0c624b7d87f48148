package console

import (
	"context"
	"log/slog"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// The level of the log by rpc:call, as of a node of Erlang: logger:get_primary_config/0 and
// set_primary_config/1,2, onto Options.Level.

// levels are those of Erlang's logger, the least severe first. all and none are beyond what
// programs log.
var levels = []struct {
	name ei.Atom
	is   slog.Level
}{
	{"all", slog.LevelDebug - 100}, {"debug", slog.LevelDebug}, {"info", slog.LevelInfo}, {"notice", slog.LevelInfo + 2},
	{"warning", slog.LevelWarn}, {"error", slog.LevelError}, {"critical", slog.LevelError + 4}, {"alert", slog.LevelError + 8},
	{"emergency", slog.LevelError + 12}, {"none", slog.LevelError + 100},
}

// defaultLevel is what a configuration without a level sets in OTP.
const defaultLevel = ei.Atom("notice")

// primary is logger:get_primary_config/0.
func (c *console) primary() ei.Term {
	level := levels[len(levels)-1].name
	for _, l := range levels {
		if l.is >= c.opts.Level.Level() {
			level = l.name
			break
		}
	}
	return ei.MapOf(ei.Atom("level"), level, ei.Atom("filter_default"), ei.Atom("log"), ei.Atom("filters"), ei.List{},
		ei.Atom("metadata"), ei.Map{})
}

// setPrimary is logger:set_primary_config/1, and with a value /2. Filters and metadata there are
// none of: only their defaults are taken. Whoever may not have the command level may not have this.
func (c *console) setPrimary(ctx context.Context, what ei.Term, value ...ei.Term) (ei.Term, error) {
	peer := c.n.Name()
	if conn := nodes.ConnOf(ctx); conn != nil {
		peer = conn.Name()
	}
	if !c.n.Allows(peer, nodes.MayCall, "console", "level", 1) {
		return nil, eacces
	}
	pairs := ei.Map{{Key: ei.Atom("level"), Value: defaultLevel}}
	config, isMap := what.(ei.Map)
	switch {
	case len(value) > 1:
		return nil, &nodes.Raise{Reason: ei.Atom("undef")}
	case len(value) == 1:
		pairs = ei.Map{{Key: what, Value: value[0]}}
	case !isMap:
		return failed("invalid_config", what), nil
	default:
		pairs = append(pairs, config...)
	}
	var to slog.Level
	sets := false
	for _, p := range pairs {
		key, _ := p.Key.(ei.Atom)
		normal := ei.Term(nil)
		switch key {
		case "level":
			level, ok := levelOf(p.Value)
			if !ok {
				return failed("invalid_level", p.Value), nil
			}
			to, sets = level, true
			continue
		case "filters":
			normal = ei.List{}
		case "filter_default":
			normal = ei.Atom("log")
		case "metadata":
			normal = ei.Map{}
		default:
			return failed("invalid_primary_config", ei.Tuple{p.Key, p.Value}), nil
		}
		if ei.Compare(p.Value, normal) != 0 {
			return failed("invalid_"+key, p.Value), nil
		}
	}
	if sets {
		c.opts.Level.Set(to)
		c.n.Logger().Warn("a peer has changed the level of the log", "level", to, "peer", peer)
	}
	return ei.Atom("ok"), nil
}

func levelOf(name ei.Term) (slog.Level, bool) {
	for _, l := range levels {
		if name == ei.Term(l.name) {
			return l.is, true
		}
	}
	return 0, false
}

// failed is {error, {Why, What}}.
func failed(why ei.Atom, what ei.Term) ei.Term {
	return ei.Tuple{ei.Atom("error"), ei.Tuple{why, what}}
}
