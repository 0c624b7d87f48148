package nodes

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// SetCookie changes the cookie that the node shares with a peer, as in Config.Cookies; or, if peer
// is "" or the node's own name, Config.Cookie. An empty cookie takes the peer's out again, so that
// Config.Cookie is valid for it; the node's own must not be empty. Handshakes that begin from now
// on go by it; connections stay. A node that moves to another process has the cookies of the Config
// there, and each process of a node with workers has its own. It is erlang:set_cookie/1 and
// set_cookie/2.
func (n *Node) SetCookie(peer, cookie string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	own := peer == "" || peer == n.name
	var err error
	switch {
	case own:
		if err = checkCookie(cookie); err == nil {
			n.cfg.Cookie = cookie
			n.judgeCookie(cookie)
		}
	case cookie == "":
		err = dist.CheckName(peer)
	default:
		err = checkPeerCookie(peer, cookie)
	}
	if err != nil {
		if own {
			err = fmt.Errorf("the cookie %w", err)
		}
		return wrap("set cookie of", peer, err)
	}
	if !own {
		n.cfg.Cookies = maps.Clone(n.cfg.Cookies) // handshakes in progress have the old map
		delete(n.cfg.Cookies, peer)
		if cookie != "" {
			put(&n.cfg.Cookies, peer, cookie)
		}
	}
	return nil
}

// completeCookies reads the cookie file if no cookie is given, and checks all cookies.
func (cfg *Config) completeCookies() (err error) {
	if cfg.Cookie == "" {
		if cfg.Cookie, err = readCookie(); err != nil {
			return err
		}
	}
	if err := checkCookie(cfg.Cookie); err != nil {
		return fmt.Errorf("Config.Cookie %w", err)
	}
	cfg.Cookies = maps.Clone(cfg.Cookies)
	for name, cookie := range cfg.Cookies {
		if err := checkPeerCookie(name, cookie); err != nil {
			return fmt.Errorf("Config.Cookies: %w", err)
		}
	}
	return nil
}

func checkPeerCookie(peer, cookie string) error {
	if err := dist.CheckName(peer); err != nil {
		return err
	}
	if err := checkCookie(cookie); err != nil {
		return fmt.Errorf("that of %s %w", peer, err)
	}
	return nil
}

func checkCookie(cookie string) error {
	switch {
	case cookie == "":
		return errEmptyCookie
	case strings.ContainsAny(cookie, "\r\n"):
		return errLineBreak
	}
	return nil
}

var errEmptyCookie = errors.New("is empty")

// errLineBreak: the program has probably read the cookie from a file, together with its line break.
// The peer would only say that the cookies differ.
var errLineBreak = errors.New("has a line break, which is not part of a cookie: trim it")

// judgeCookie warns of a cookie that no Erlang node may have.
func (n *Node) judgeCookie(cookie string) {
	if strings.ContainsFunc(cookie, func(r rune) bool { return r > unicode.MaxASCII }) {
		n.log.Warn("the cookie has characters beyond ASCII: Erlang compares the Latin-1 bytes of its own, and may have others")
	}
	if utf8.RuneCountInString(cookie) > ei.MaxAtomChars {
		n.log.Warn("the cookie has more characters than an atom: no Erlang node can have it", "most", ei.MaxAtomChars)
	}
}

// readCookie reads the cookie file as erl does: the one in the home directory, else the one in the
// user's configuration directory. The cookie is the file's first line, and only the file's owner
// may have access to it. See the module auth of OTP.
func readCookie() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%w, and no home directory to read .erlang.cookie from: %w", ErrNoCookie, err)
	}
	path := filepath.Join(home, ".erlang.cookie")
	b, err := os.ReadFile(path)
	if dir, no := os.UserConfigDir(); errors.Is(err, fs.ErrNotExist) && no == nil {
		second := filepath.Join(dir, "erlang", ".erlang.cookie")
		b, no = os.ReadFile(second)
		if errors.Is(no, fs.ErrNotExist) {
			return "", fmt.Errorf("%w, and no cookie file: %w; nor is there %s", ErrNoCookie, err, second)
		}
		path, err = second, no
	}
	if err != nil {
		return "", fmt.Errorf("%w, and the cookie file cannot be read: %w", ErrNoCookie, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%w, and the cookie file cannot be read: %w", ErrNoCookie, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return "", fmt.Errorf("%w, and the cookie file %s has mode %#o, and must be accessible by its owner only: chmod 400", ErrNoCookie, path, mode)
	}
	cookie, _, _ := strings.Cut(string(b), "\n")
	cookie = strings.TrimRight(cookie, "\r")
	if cookie == "" {
		return "", fmt.Errorf("%w, and the cookie file %s is empty", ErrNoCookie, path)
	}
	return cookie, nil
}
