package gate

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/permit"
	"github.com/cnode-go/cnode/nodes/dist"
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
	Rules []Rule
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
	// other side of a connection. A function by erpc or spawn counts as long as its monitor. 100,000.
	Monitors int
	// Names is how many nodes of different names may come, in that time: the name of a node becomes
	// an atom in each node that it connects to. 1,000. As many names may be tried in a day by those
	// who have not the cookie; names that the configuration says in full do not count there.
	Names int
	// Message is the size of the largest message, in bytes. 16 MiB.
	Message int
	// Held is what the incomplete messages of a connection may take, in bytes. 64 MiB.
	Held int
	// Memory is what the messages of all connections may take that have not passed yet, in bytes. When
	// there is no more of it, the connection that has most of it ends. 1 GiB.
	Memory int
	// Sessions is how many connections there may be, in both directions. 1,000. As many handshakes
	// may be in progress, a quarter of them from one host: an IPv4 address, or a /64 of IPv6.
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
// docs/operate/gate.md. Names of files in it are relative to its directory; a cookie may be a
// credential of systemd. An error wraps ErrConfig, or is that of a file.
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
	v, err := parseValue(text)
	if err != nil {
		return nil, err
	}
	c, r := &Config{}, reader{dir: dir}
	r.options("", v, map[ei.Atom]func(value) error{
		"outside":    func(v value) error { return r.side("outside", v, &c.Outside) },
		"inside":     func(v value) error { return r.side("inside", v, &c.Inside) },
		"rules":      func(v value) (err error) { c.Rules, err = r.rules(v); return err },
		"unfiltered": func(v value) error { return boolean(v, &c.Unfiltered) },
		"limits": func(v value) error {
			l := &c.Limits
			return r.options("limits", v, map[ei.Atom]func(value) error{
				"atoms": number(&l.Atoms), "all_atoms": number(&l.AllAtoms), "names": number(&l.Names), "message": number(&l.Message),
				"held":   number(&l.Held),
				"memory": number(&l.Memory), "sessions": number(&l.Sessions), "funs": numberFrom(0, &l.Funs), "monitors": number(&l.Monitors),
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
	taken := map[string]string{}
	for i, s := range c.sides() {
		if err := c.checkSide(i, taken); err != nil {
			return fmt.Errorf("%s: %w", sideNames[i], err)
		}
		for _, n := range s.Nodes {
			if err := c.checkNode(i, n, taken); err != nil {
				return fmt.Errorf("%s: %s: %w", sideNames[i], n.Name, err)
			}
		}
	}
	switch {
	case len(c.Inside.Nodes)+len(c.Outside.Nodes) == 0:
		return errors.New("nodes: there is none to connect to, on either side")
	case len(c.Inside.Nodes) > 0 && len(c.Outside.Names) == 0:
		return fmt.Errorf("outside: names: there is none, and nobody may come to %s", c.Inside.Nodes[0].Name)
	}
	if _, err := compile(c.Rules); err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	return nil
}

func (c *Config) checkSide(side int, taken map[string]string) error {
	s := c.sides()[side]
	if s.Cookie == "" && len(s.Cookies) == 0 {
		return errors.New("a cookie_file is missing")
	}
	if s.Listen != "" && net.ParseIP(s.Listen) == nil {
		return fmt.Errorf("listen: %q is no IP address", s.Listen)
	}
	if s.PortMapper == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(s.PortMapper)
	if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 {
		return fmt.Errorf("port_mapper: %q: want host:port", s.PortMapper)
	}
	return nil
}

// checkNode checks a node of a side. taken has what nodes before it want for themselves.
func (c *Config) checkNode(side int, n Node, taken map[string]string) error {
	own, other := c.sides()[side], c.sides()[1-side]
	if err := dist.CheckName(n.Name); err != nil {
		return err
	}
	if own.cookieOf(n.Name) == "" {
		return errors.New("a cookie_file is missing")
	}
	if n.Address != "" {
		if _, err := address(n.Address); err != nil {
			return fmt.Errorf("address: %w", err)
		}
	}
	wants := []string{"the name " + n.Name}
	switch alive, _, _ := strings.Cut(n.Name, "@"); {
	case n.Address == "" && own.PortMapper == "":
		return errors.New("its address is missing, as this side has no port_mapper")
	case n.Path != "":
		wants = append(wants, "the path "+n.Path)
	case other.Listen == "":
		return errors.New("those who want it are on the other side, which has no listen")
	case other.PortMapper != "":
		wants = append(wants, fmt.Sprintf("the name %s at the port mapper %s", alive, other.PortMapper))
	case n.Port == 0:
		return errors.New("its port is missing, as the other side has no port_mapper")
	}
	if n.Path == "" && n.Port != 0 {
		wants = append(wants, fmt.Sprintf("the port %d of %s", n.Port, other.Listen))
	}
	for _, w := range wants {
		if before, ok := taken[w]; ok {
			return fmt.Errorf("%s wants %s as well", before, w)
		}
		taken[w] = n.Name
	}
	return nil
}

func (c *Config) sides() [2]*Side { return [2]*Side{&c.Outside, &c.Inside} }

var sideNames = [2]string{"outside", "inside"}

// A reader turns terms into fields. It keeps the first error.
type reader struct {
	dir  string
	line int // of what is read
	err  error
}

// options calls, for each {Key, Value} of a list, what is for the key. at is where the list is.
func (r *reader) options(at string, v value, known map[ei.Atom]func(value) error) error {
	list, ok := v.elements()
	if !ok {
		return r.fail(at, fmt.Errorf("want a list of {Key, Value}, not %v", v))
	}
	seen := map[string]int{}
	for _, e := range list {
		r.line = e.at.line
		pair, ok := e.tuple(2)
		var key ei.Atom
		if ok {
			key, ok = pair[0].Term.(ei.Atom)
		}
		if !ok {
			return r.fail(at, fmt.Errorf("want {Key, Value}, not %v", e))
		}
		f := known[key]
		if f == nil {
			return r.fail(at, fmt.Errorf("%s is not known", key))
		}
		err := r.once(seen, string(key))
		if err == nil {
			err = f(pair[1])
		}
		if err != nil {
			return r.fail(strings.TrimPrefix(at+": ", ": ")+string(key), err)
		}
	}
	return nil
}

// once refuses a key that has been there before: of two rules for a thing nobody could say which
// one holds.
func (r *reader) once(seen map[string]int, key string) error {
	if line := seen[key]; line > 0 {
		return fmt.Errorf("it stands in line %d as well", line)
	}
	seen[key] = r.line
	return nil
}

func (r *reader) fail(at string, err error) error {
	if r.err == nil {
		if r.err = err; at != "" {
			r.err = fmt.Errorf("%s: %w", at, err)
		}
		r.err = fmt.Errorf("line %d: %w", r.line, r.err)
	}
	return err
}

func (r *reader) side(at string, v value, s *Side) error {
	return r.options(at, v, map[ei.Atom]func(value) error{
		"listen":      text(&s.Listen),
		"port_mapper": text(&s.PortMapper),
		"optfile":     r.path(&s.OptFile),
		"cookie_file": func(v value) (err error) { s.Cookie, err = r.cookie(v); return err },
		"cookie_files": func(v value) error {
			s.Cookies = map[string]string{}
			seen := map[string]int{}
			return r.each(v, func(_ int, v value) error {
				pair, ok := v.tuple(2)
				if !ok {
					return fmt.Errorf("want {\"node@host\", File}, not %v", v)
				}
				var name string
				err := text(&name)(pair[0])
				if err == nil {
					err = r.once(seen, name)
				}
				if err == nil {
					s.Cookies[name], err = r.cookie(pair[1])
				}
				return err
			})
		},
		"names": func(v value) error {
			return r.each(v, func(_ int, v value) error {
				var name string
				err := text(&name)(v)
				s.Names = append(s.Names, name)
				return err
			})
		},
		"nodes": func(v value) error {
			return r.each(v, func(_ int, v value) error {
				n, err := r.node(v)
				s.Nodes = append(s.Nodes, n)
				return err
			})
		},
	})
}

// node reads "shop@host" or {"shop@host", [{address, …}, {port, …}, {path, …}]}.
func (r *reader) node(v value) (n Node, err error) {
	if _, isTuple := v.Term.(ei.Tuple); !isTuple {
		return n, text(&n.Name)(v)
	}
	pair, ok := v.tuple(2)
	if !ok {
		return n, fmt.Errorf("want {\"node@host\", Options}, not %v", v)
	}
	if err := text(&n.Name)(pair[0]); err != nil {
		return n, err
	}
	port := 0
	err = r.options(n.Name, pair[1], map[ei.Atom]func(value) error{
		"address": text(&n.Address), "port": number(&port), "path": r.path(&n.Path),
	})
	if n.Port = uint16(port); err == nil && int(n.Port) != port {
		err = fmt.Errorf("port: %d is too large", port)
	}
	return n, err
}

// rules reads [{allow, "ci@*", call, "shop:quote/1"}, {refuse, "*", [send, exit], "*"}].
func (r *reader) rules(v value) (rules []Rule, err error) {
	err = r.each(v, func(i int, v value) error {
		rule, err := readRule(v)
		if err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
		rules = append(rules, rule)
		return nil
	})
	return rules, err
}

func readRule(v value) (rule Rule, err error) {
	e, ok := v.tuple(4)
	if !ok {
		return rule, fmt.Errorf("want {allow | refuse, Peer, Operation, Target}, not %v", v)
	}
	switch e[0].Term {
	case ei.Atom("allow"):
		rule.Allow = true
	case ei.Atom("refuse"):
	default:
		return rule, fmt.Errorf("want allow or refuse, not %v", e[0])
	}
	ops, ok := e[2].elements()
	if !ok || len(ops) == 0 {
		ops = e[2:3]
	}
	for _, o := range ops {
		name, ok := o.Term.(ei.Atom)
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
func AppendRule(b []byte, r Rule) []byte {
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
	return fmt.Appendf(b, "{%s, %s, %s, %s}", verb, quote(cmp.Or(r.Peer, "*")), ops, quote(cmp.Or(r.Target, "*")))
}

// each calls f for the elements of a list, with their indices.
func (r *reader) each(v value, f func(int, value) error) error {
	list, ok := v.elements()
	if !ok {
		return fmt.Errorf("want a list, not %v", v)
	}
	for i, e := range list {
		r.line = e.at.line
		if err := f(i, e); err != nil {
			return err
		}
	}
	return nil
}

func text(to *string) func(value) error {
	return func(v value) error {
		s, ok := ei.Charlist(v.Term)
		if b, isBinary := v.Term.(ei.Binary); isBinary {
			s, ok = string(b), true
		}
		if !ok {
			return fmt.Errorf("want \"text\", not %v", v)
		}
		*to = s
		return nil
	}
}

func number(to *int) func(value) error { return numberFrom(1, to) }

func numberFrom(least ei.Int, to *int) func(value) error {
	return func(v value) error {
		n, ok := v.Term.(ei.Int)
		if !ok || n < least {
			return fmt.Errorf("want a number of %d or more, not %v", least, v)
		}
		*to = int(n)
		return nil
	}
}

func boolean(v value, to *bool) error {
	if v.Term != ei.Atom("true") && v.Term != ei.Atom("false") {
		return fmt.Errorf("want true or false, not %v", v)
	}
	*to = v.Term == ei.Atom("true")
	return nil
}

// path reads the name of a file.
func (r *reader) path(to *string) func(value) error {
	return func(v value) error {
		err := text(to)(v)
		if err == nil && *to != "" && !filepath.IsAbs(*to) {
			*to = filepath.Join(r.dir, *to)
		}
		return err
	}
}

// cookie reads a cookie's file, as Erlang does: without line ends at its end. A credential of that
// name counts first.
func (r *reader) cookie(v value) (string, error) {
	var name, path string
	if err := errors.Join(text(&name)(v), r.path(&path)(v)); err != nil {
		return "", err
	}
	b, err := credential(name)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = private(path)
	}
	if err != nil {
		return "", err
	}
	cookie := strings.TrimRight(string(b), "\r\n")
	if cookie == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return cookie, nil
}

// credential reads what systemd gives a service, and lets no other user read.
func credential(name string) ([]byte, error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" || !filepath.IsLocal(name) {
		return nil, fs.ErrNotExist
	}
	return os.ReadFile(filepath.Join(dir, name))
}

// private reads a file that only its owner may read.
func private(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("%s can be read by others: chmod 600", path)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
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
