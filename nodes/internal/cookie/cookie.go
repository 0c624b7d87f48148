// Package cookie finds the file with a node's cookie, the secret that all nodes of a cluster know,
// and judges cookies.
package cookie

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
)

// ErrNone: the cookie file gives no cookie; what is wrong with it is wrapped beside this.
var ErrNone = errors.New("no cookie given")

// Read reads the cookie file as erl does: the one in the home directory, else the one in the user's
// configuration directory. The cookie is the file's first line, and only the file's owner may have
// access to it. See the module auth of OTP.
func Read() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%w, and no home directory to read .erlang.cookie from: %w", ErrNone, err)
	}
	path := filepath.Join(home, ".erlang.cookie")
	b, err := os.ReadFile(path)
	if dir, no := os.UserConfigDir(); errors.Is(err, fs.ErrNotExist) && no == nil {
		second := filepath.Join(dir, "erlang", ".erlang.cookie")
		b, no = os.ReadFile(second)
		if errors.Is(no, fs.ErrNotExist) {
			return "", fmt.Errorf("%w, and no cookie file: %w; nor is there %s", ErrNone, err, second)
		}
		path, err = second, no
	}
	var info fs.FileInfo
	if err == nil {
		info, err = os.Stat(path)
	}
	if err != nil {
		return "", fmt.Errorf("%w, and the cookie file cannot be read: %w", ErrNone, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return "", fmt.Errorf("%w, and the cookie file %s has mode %#o, and must be accessible by its owner only: chmod 400", ErrNone, path, mode)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	line = strings.TrimRight(line, "\r")
	if line == "" {
		return "", fmt.Errorf("%w, and the cookie file %s is empty", ErrNone, path)
	}
	return line, nil
}

var errEmpty = errors.New("is empty")

// errLineBreak: the program has probably read the cookie from a file, together with its line break.
// The peer would only say that the cookies differ.
var errLineBreak = errors.New("has a line break, which is not part of a cookie: trim it")

// Check refuses what is no cookie; the error goes on from the cookie's description.
func Check(cookie string) error {
	switch {
	case cookie == "":
		return errEmpty
	case strings.ContainsAny(cookie, "\r\n"):
		return errLineBreak
	}
	return nil
}

// Judge warns of a cookie that no Erlang node may have.
func Judge(cookie string, log *slog.Logger) {
	if strings.ContainsFunc(cookie, func(r rune) bool { return r > unicode.MaxASCII }) {
		log.Warn("the cookie has characters beyond ASCII: Erlang compares the Latin-1 bytes of its own, and may have others")
	}
	if utf8.RuneCountInString(cookie) > ei.MaxAtomChars {
		log.Warn("the cookie has more characters than an atom: no Erlang node can have it", "most", ei.MaxAtomChars)
	}
}
