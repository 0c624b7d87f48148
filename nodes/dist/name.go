package dist

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxName is the longest node name, in characters: a node name is an atom.
const maxName = 255

// SplitName takes a node name apart, "alive@host". It fails with ErrInvalidName unless the name has
// exactly one "@" with text on both sides, is UTF-8 of at most 255 characters and holds no NUL.
func SplitName(name string) (alive, host string, err error) {
	if err := checkText(name); err != nil {
		return "", "", err
	}
	alive, host, found := strings.Cut(name, "@")
	switch {
	case !found:
		return "", "", fmt.Errorf("%w %q: no \"@\"", ErrInvalidName, name)
	case strings.Contains(host, "@"):
		return "", "", fmt.Errorf("%w %q: more than one \"@\"", ErrInvalidName, name)
	case alive == "":
		return "", "", fmt.Errorf("%w %q: nothing before the \"@\"", ErrInvalidName, name)
	case host == "":
		return "", "", fmt.Errorf("%w %q: no host after the \"@\"", ErrInvalidName, name)
	}
	return alive, host, nil
}

// CheckName reports whether name is a node name; see SplitName.
func CheckName(name string) error {
	_, _, err := SplitName(name)
	return err
}

// CheckOwnName reports whether name is one that a node can give itself, since Erlang nodes refuse
// others: a node name (SplitName) with only ASCII letters, digits, "-" and "_" before the "@", and
// printable ASCII after it. It fails with ErrInvalidName.
func CheckOwnName(name string) error {
	alive, host, err := SplitName(name)
	if err != nil {
		return err
	}
	for _, r := range alive {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
		default:
			return fmt.Errorf("%w %q: %q before the \"@\": Erlang nodes take letters, digits, \"-\" and \"_\" of ASCII there",
				ErrInvalidName, name, r)
		}
	}
	return CheckOwnHost(host)
}

// CheckOwnHost is CheckOwnName for the host alone, which a node that asks for a dynamic name
// announces.
func CheckOwnHost(host string) error {
	if err := checkHost(host); err != nil {
		return err
	}
	for _, r := range host {
		if r <= ' ' || r > '~' {
			return fmt.Errorf("%w: host %q has %q: Erlang nodes take printable ASCII there", ErrInvalidName, host, r)
		}
	}
	return nil
}

// checkHost reports whether host can follow the "@" of a node name.
func checkHost(host string) error {
	if err := checkText(host); err != nil {
		return err
	}
	switch {
	case host == "":
		return fmt.Errorf("%w: empty host", ErrInvalidName)
	case strings.Contains(host, "@"):
		return fmt.Errorf("%w: host %q has an \"@\"", ErrInvalidName, host)
	}
	return nil
}

// checkText checks that s can be an atom and has no NUL, where the C library
// would cut the name and see another node.
func checkText(s string) error {
	switch {
	case len(s) > maxName*utf8.UTFMax || utf8.RuneCountInString(s) > maxName:
		return fmt.Errorf("%w: more than %d characters", ErrInvalidName, maxName)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w %q: not UTF-8", ErrInvalidName, s)
	case strings.ContainsRune(s, 0):
		return fmt.Errorf("%w %q: holds a NUL", ErrInvalidName, s)
	}
	return nil
}
