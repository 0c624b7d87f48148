package gate

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/permit"
	"github.com/cnode-go/cnode/transport"
)

// ErrConfig says that a configuration cannot be used; the text says where and why.
var ErrConfig = errors.New("gate: configuration")

// A Config says who may reach whom through a gate, and do what there. ReadConfig reads one from a
// file.
type Config struct {
	Outside Side // the nodes that rules are about
	Inside  Side // the nodes that are protected

	// Rules say what nodes outside may do inside. The first that matches decides; what none matches
	// is refused.
	Rules []permit.Rule
	// Unfiltered lets everything pass, unread: a gate that only ends TLS, or changes the cookie.
	// Rules and Limits then have no meaning but for Limits.Names and Limits.Sessions.
	Unfiltered bool

	Limits Limits
}

// A Side is one of the two networks that a gate joins.
type Side struct {
	// Listen is the address of this machine where nodes of this side find the gate, without port:
	// "10.0.0.1".
	Listen string
	// PortMapper is the host:port of the port mapper of this machine that nodes of this side ask,
	// where the gate registers the names of the nodes behind. Nodes of this side that the gate
	// connects to have theirs on the same port, of their own hosts. Empty: there is none, and each
	// node of either side has its Address and Port.
	PortMapper string
	// OptFile is an ssl_dist_optfile: this side's connections use TLS. Empty: TCP, or UNIX sockets.
	OptFile string
	// Cookie is this side's, and Cookies has those of single nodes, by name.
	Cookie  string
	Cookies map[string]string
	// Names are the patterns of the names that may come from this side. None: for Inside all, for
	// Outside none.
	Names []string
	// Nodes are those of this side that the other side may connect to.
	Nodes []Node
}

// A Node can be connected to through the gate.
type Node struct {
	Name string
	// Address is where the node listens, "10.0.0.5:9100" or the path of a UNIX socket; empty: its
	// port mapper says it.
	Address string
	// Port is where the gate listens for those who want this node; 0 is any, which is registered
	// with the port mapper. A path, in place of it, is a UNIX socket.
	Port uint16
	Path string
}

// Limits bound what nodes outside cost. Zero fields stand for defaults.
type Limits struct {
	// Atoms is how many different atoms a node may bring, by its name, over all its connections as
	// long as the gate lives. 10,000.
	Atoms int
	// AllAtoms is how many the nodes of all names may bring. A BEAM has room for a million, and
	// ends with one more. 200,000.
	AllAtoms int
	// Funs is how many different funs a node may bring, external ones (fun m:f/1) and closures,
	// counted as atoms are. A BEAM never forgets an external fun, nor a closure since OTP 29, ends
	// with half a million, and takes seconds for a few thousand closures that are made for it. 0:
	// none.
	Funs int
	// Monitors is how many monitors, links, and functions that run a node may have at a time on the
	// other side of a connection. 100,000.
	Monitors int
	// Names is how many nodes of different names may come, in that time: the name of a node becomes
	// an atom in each node that it connects to. 1,000. As many names may be tried in a day by those
	// who have not the cookie; names that the configuration says in full do not count there.
	Names int
	// Message is the size of the largest message, in bytes. 16 MiB.
	Message int
	// Held is what the incomplete messages of a connection may take, in bytes. 64 MiB.
	Held int
	// Memory is what the messages of all connections may take that have not passed yet, in bytes. A
	// connection for which there is no more of it ends. 1 GiB.
	Memory int
	// Sessions is how many connections there may be, in both directions. 1,000. As many handshakes
	// may be in progress, a quarter of them from one address.
	Sessions int
}

func (l Limits) filled() Limits {
	for _, f := range []struct {
		v    *int
		with int
	}{{&l.Atoms, 10_000}, {&l.AllAtoms, 200_000}, {&l.Names, 1000}, {&l.Message, 16 << 20}, {&l.Held, 64 << 20},
		{&l.Memory, 1 << 30}, {&l.Sessions, 1000}, {&l.Monitors, 100_000}} {
		if *f.v <= 0 {
			*f.v = f.with
		}
	}
	return l
}

// ReadConfig reads a file, one Erlang term: see the example of the command, and
// docs/operate/gate.md. Names of files in it are relative to its directory. An error wraps
// ErrConfig, or is that of a file.
func ReadConfig(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(string(b), filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrConfig, path, err)
	}
	return c, nil
}

// parseConfig reads the text of a file in dir.
func parseConfig(text, dir string) (*Config, error) {
	t, err := ei.Parse(text)
	if err != nil {
		return nil, err
	}
	c, r := &Config{}, reader{dir: dir}
	r.options("", t, map[ei.Atom]func(ei.Term) error{
		"outside":    func(t ei.Term) error { return r.side("outside", t, &c.Outside) },
		"inside":     func(t ei.Term) error { return r.side("inside", t, &c.Inside) },
		"rules":      func(t ei.Term) (err error) { c.Rules, err = r.rules(t); return err },
		"unfiltered": func(t ei.Term) error { return boolean(t, &c.Unfiltered) },
		"limits": func(t ei.Term) error {
			l := &c.Limits
			return r.options("limits", t, map[ei.Atom]func(ei.Term) error{
				"atoms": number(&l.Atoms), "all_atoms": number(&l.AllAtoms), "names": number(&l.Names), "message": number(&l.Message),
				"held":   number(&l.Held),
				"memory": number(&l.Memory), "sessions": number(&l.Sessions), "funs": number(&l.Funs), "monitors": number(&l.Monitors),
			})
		},
	})
	if r.err == nil {
		r.err = c.check()
	}
	return c, r.err
}

// check tells what is missing, or does not fit together.
func (c *Config) check() error {
	for i, s := range c.sides() {
		what := sideNames[i]
		if s.Cookie == "" && len(s.Cookies) == 0 {
			return fmt.Errorf("%s: a cookie_file is missing", what)
		}
		if s.Listen != "" && net.ParseIP(s.Listen) == nil {
			return fmt.Errorf("%s: listen: %q is no IP address", what, s.Listen)
		}
		other := c.sides()[1-i]
		seen := map[string]string{}
		for _, n := range s.Nodes {
			if s.cookieOf(n.Name) == "" {
				return fmt.Errorf("%s: %s: a cookie_file is missing", what, n.Name)
			}
			if n.Address != "" {
				if _, err := address(n.Address); err != nil {
					return fmt.Errorf("%s: %s: address: %w", what, n.Name, err)
				}
			}
			alive, _, _ := strings.Cut(n.Name, "@")
			for _, place := range []struct {
				is   bool
				name string
			}{{true, "the name " + n.Name}, {n.Path != "", "the path " + n.Path}, {n.Path == "" && n.Port != 0, fmt.Sprintf("the port %d", n.Port)},
				{n.Path == "" && other.PortMapper != "", fmt.Sprintf("the name %s at the port mapper %s", alive, other.PortMapper)}} {
				if before, twice := seen[place.name]; place.is && twice {
					return fmt.Errorf("%s: %s and %s both want %s", what, before, n.Name, place.name)
				}
				if place.is {
					seen[place.name] = n.Name
				}
			}
			if err := dist.CheckName(n.Name); err != nil {
				return fmt.Errorf("%s: nodes: %w", what, err)
			}
			switch {
			case n.Path == "" && other.Listen == "":
				return fmt.Errorf("%s: %s: those who want it are on the other side, which has no listen", what, n.Name)
			case n.Path == "" && n.Port == 0 && other.PortMapper == "":
				return fmt.Errorf("%s: %s: its port is missing, as the other side has no port_mapper", what, n.Name)
			case n.Address == "" && s.PortMapper == "":
				return fmt.Errorf("%s: %s: its address is missing, as this side has no port_mapper", what, n.Name)
			}
		}
	}
	if len(c.Inside.Nodes)+len(c.Outside.Nodes) == 0 {
		return errors.New("nodes: there is none to connect to, on either side")
	}
	_, err := permit.Compile(c.Rules)
	return err
}

func (c *Config) sides() [2]*Side { return [2]*Side{&c.Outside, &c.Inside} }

var sideNames = [2]string{"outside", "inside"}

// A reader turns terms into fields. It keeps the first error.
type reader struct {
	dir string
	err error
}

// options calls, for each {Key, Value} of a list, what is for the key. at is where the list is.
func (r *reader) options(at string, t ei.Term, known map[ei.Atom]func(ei.Term) error) error {
	list, ok := ei.Elements(t)
	if !ok {
		return r.fail(at, fmt.Errorf("want a list of {Key, Value}, not %v", t))
	}
	for _, e := range list {
		pair, ok := e.(ei.Tuple)
		var key ei.Atom
		if ok && len(pair) == 2 {
			key, ok = pair[0].(ei.Atom)
		}
		if !ok || len(pair) != 2 {
			return r.fail(at, fmt.Errorf("want {Key, Value}, not %v", e))
		}
		f := known[key]
		if f == nil {
			return r.fail(at, fmt.Errorf("%s is not known", key))
		}
		if err := f(pair[1]); err != nil {
			return r.fail(strings.TrimPrefix(at+": ", ": ")+string(key), err)
		}
	}
	return nil
}

func (r *reader) fail(at string, err error) error {
	if r.err == nil {
		r.err = err
		if at != "" {
			r.err = fmt.Errorf("%s: %w", at, err)
		}
	}
	return err
}

func (r *reader) side(at string, t ei.Term, s *Side) error {
	return r.options(at, t, map[ei.Atom]func(ei.Term) error{
		"listen":      text(&s.Listen),
		"port_mapper": text(&s.PortMapper),
		"optfile":     r.path(&s.OptFile),
		"cookie_file": func(t ei.Term) (err error) { s.Cookie, err = r.cookie(t); return err },
		"cookie_files": func(t ei.Term) error {
			return each(t, func(t ei.Term) error {
				pair, ok := t.(ei.Tuple)
				if !ok || len(pair) != 2 {
					return fmt.Errorf("want {\"node@host\", File}, not %v", t)
				}
				var name string
				err := text(&name)(pair[0])
				if err != nil {
					return err
				}
				if s.Cookies == nil {
					s.Cookies = map[string]string{}
				}
				s.Cookies[name], err = r.cookie(pair[1])
				return err
			})
		},
		"names": func(t ei.Term) error {
			return each(t, func(t ei.Term) error {
				var name string
				err := text(&name)(t)
				s.Names = append(s.Names, name)
				return err
			})
		},
		"nodes": func(t ei.Term) error {
			return each(t, func(t ei.Term) error {
				n, err := r.node(t)
				s.Nodes = append(s.Nodes, n)
				return err
			})
		},
	})
}

// node reads "shop@host" or {"shop@host", [{address, …}, {port, …}, {path, …}]}.
func (r *reader) node(t ei.Term) (n Node, err error) {
	pair, ok := t.(ei.Tuple)
	if !ok {
		return n, text(&n.Name)(t)
	}
	if len(pair) != 2 {
		return n, fmt.Errorf("want {\"node@host\", Options}, not %v", t)
	}
	if err := text(&n.Name)(pair[0]); err != nil {
		return n, err
	}
	port := 0
	err = r.options(n.Name, pair[1], map[ei.Atom]func(ei.Term) error{
		"address": text(&n.Address), "port": number(&port), "path": r.path(&n.Path),
	})
	if n.Port = uint16(port); err == nil && int(n.Port) != port {
		err = fmt.Errorf("port: %d is too large", port)
	}
	return n, err
}

// rules reads [{allow, "ci@*", call, "shop:quote/1"}, {refuse, "*", [send, exit], "*"}].
func (r *reader) rules(t ei.Term) (rules []permit.Rule, err error) {
	err = each(t, func(t ei.Term) error {
		rule, err := readRule(t)
		rules = append(rules, rule)
		return err
	})
	return rules, err
}

func readRule(t ei.Term) (rule permit.Rule, err error) {
	e, ok := t.(ei.Tuple)
	if !ok || len(e) != 4 {
		return rule, fmt.Errorf("want {allow | refuse, Peer, Operation, Target}, not %v", t)
	}
	switch e[0] {
	case ei.Atom("allow"):
		rule.Allow = true
	case ei.Atom("refuse"):
	default:
		return rule, fmt.Errorf("want allow or refuse, not %v", e[0])
	}
	ops, ok := ei.Elements(e[2])
	if !ok || len(ops) == 0 {
		ops = ei.List{e[2]}
	}
	for _, o := range ops {
		name, ok := o.(ei.Atom)
		if !ok {
			return rule, fmt.Errorf("want an operation, not %v", o)
		}
		op, err := permit.ParseOp(string(name))
		if err != nil {
			return rule, err
		}
		rule.Op |= op
	}
	return rule, errors.Join(text(&rule.Peer)(e[1]), text(&rule.Target)(e[3]))
}

// AppendRule appends a rule as a configuration has it.
func AppendRule(b []byte, r permit.Rule) []byte {
	verb := "refuse"
	if r.Allow {
		verb = "allow"
	}
	ops := strings.ReplaceAll(r.Op.String(), "|", ", ")
	switch {
	case r.Op == 0:
		ops = "any"
	case strings.Contains(ops, ","):
		ops = "[" + ops + "]"
	}
	orAny := func(s string) string {
		if s == "" {
			return "*"
		}
		return s
	}
	return fmt.Appendf(b, "{%s, %q, %s, %q}", verb, orAny(r.Peer), ops, orAny(r.Target))
}

func each(t ei.Term, f func(ei.Term) error) error {
	list, ok := ei.Elements(t)
	if !ok {
		return fmt.Errorf("want a list, not %v", t)
	}
	for _, e := range list {
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

func text(to *string) func(ei.Term) error {
	return func(t ei.Term) error {
		s, ok := ei.Charlist(t)
		if b, isBinary := t.(ei.Binary); isBinary {
			s, ok = string(b), true
		}
		if !ok {
			return fmt.Errorf("want \"text\", not %v", t)
		}
		*to = s
		return nil
	}
}

func number(to *int) func(ei.Term) error {
	return func(t ei.Term) error {
		n, ok := t.(ei.Int)
		if !ok || n < 1 {
			return fmt.Errorf("want a number of 1 or more, not %v", t)
		}
		*to = int(n)
		return nil
	}
}

func boolean(t ei.Term, to *bool) error {
	if t != ei.Atom("true") && t != ei.Atom("false") {
		return fmt.Errorf("want true or false, not %v", t)
	}
	*to = t == ei.Atom("true")
	return nil
}

// path reads the name of a file.
func (r *reader) path(to *string) func(ei.Term) error {
	return func(t ei.Term) error {
		err := text(to)(t)
		if err == nil && *to != "" && !filepath.IsAbs(*to) {
			*to = filepath.Join(r.dir, *to)
		}
		return err
	}
}

// cookie reads a cookie's file, as Erlang does: without line ends at its end.
func (r *reader) cookie(t ei.Term) (string, error) {
	var path string
	if err := r.path(&path)(t); err != nil {
		return "", err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	cookie := strings.TrimRight(string(b), "\r\n")
	if cookie == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others: chmod 600", path)
	}
	return cookie, nil
}

// admits tells whether a node of this side may come by its name.
func (s *Side) admits(name string) bool { return matches(s.Names, name) }

// has tells whether a node of this side can be connected to.
func (s *Side) has(name string) bool {
	return slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.Name == name })
}

func (s *Side) cookieOf(node string) string {
	if c, ok := s.Cookies[node]; ok {
		return c
	}
	return s.Cookie
}

// address reads where a node listens.
func address(text string) (transport.Addr, error) {
	if strings.HasPrefix(text, "/") {
		return transport.UnixAddr(text), nil
	}
	return transport.ParseAddr(text)
}
