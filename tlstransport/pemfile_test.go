package tlstransport

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/oddcerts"
)

// lines are those of a log with a text in them.
func lines(log *bytes.Buffer, text string) (found []string) {
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

func logTo(said *bytes.Buffer) Options {
	return Options{Logger: slog.New(slog.NewTextHandler(said, nil))}
}

// write puts pieces of text into a file of their own.
func write(t testing.TB, dir string, pieces ...string) string {
	t.Helper()
	f := expect.NoError(os.CreateTemp(dir, "*.pem")).In(t)
	require.NoError(t, expect.Err(f.WriteString(strings.Join(pieces, ""))))
	require.NoError(t, f.Close())
	return f.Name()
}

// An odd certificate in cacertfile is skipped, with a warning that says which; the others count. A
// file of odd ones only is refused.
func TestOddAuthorities(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	ca, cert, key := a.files(t, dir, a.sign(t, want{}))
	good := expect.NoError(os.ReadFile(ca)).In(t)
	var all []string
	for _, odd := range oddcerts.All(t) {
		all = append(all, string(odd.PEM()))
		t.Run(odd.Name, func(t *testing.T) {
			for _, pieces := range [][]string{{string(odd.PEM()), string(good)}, {string(good),
				string(odd.PEM())}} {
				file := write(t, dir, pieces...)
				o := certOptions(file, cert, key)
				var said bytes.Buffer
				w := optBench(t, optFile(t, dir, o+",{fail_if_no_peer_cert,true}", o), logTo(&said))
				line := "line 1: a certificate is skipped"
				if pieces[0] == string(good) {
					line = fmt.Sprintf("line %d: a certificate is skipped",
						1+strings.Count(string(good), "\n"))
				}
				require.Len(t, lines(&said, line), 2, "one for each role: %s", &said)
				require.Len(t, lines(&said, "level=WARN"), 2, &said)
				require.Contains(t, said.String(), filepath.Base(file))
				w.talking()
			}
			_, err := FromOptFile(optFile(t, dir, certOptions(write(t, dir, string(odd.PEM())),
				cert, key), ""), nil)
			e := expect.As[*OptionError](t, err)
			require.Equal(t, "cacertfile", e.Option)
			require.ErrorContains(t, err, "line 1: a certificate is skipped: ")
		})
	}
	file := write(t, dir, append(all, string(good))...)
	require.NoError(t, expect.Err(FromOptFile(optFile(t, dir, certOptions(file, cert, key), ""), nil)))

	// A file whose only root is skipped trusts nobody, which is said.
	between := expect.NoError(os.ReadFile(bundle(t, dir, a.below(t, "an authority between").cert.Raw))).In(t)
	_, faults, err := readAuthorities(write(t, dir, all[0], string(between)))
	require.NoError(t, err)
	require.Len(t, faults, 2)
	require.ErrorContains(t, faults[1], "no peer is trusted")
}

// So it is when the file has changed: an odd certificate more is skipped, and with odd ones only
// the previous ones stay in use.
func TestOddAuthoritiesOnReload(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	ca, cert, key := a.files(t, dir, a.sign(t, want{}))
	good := expect.NoError(os.ReadFile(ca)).In(t)
	odd := oddcerts.All(t)[0].PEM()
	o := certOptions(ca, cert, key)
	var said bytes.Buffer
	w := optBench(t, optFile(t, dir, o+",{fail_if_no_peer_cert,true}", o), logTo(&said))
	for i, tt := range []struct {
		text         []byte
		warns, fails int
	}{{append(odd, good...), 2, 0}, {odd, 0, 2}, {good, 0, 0}} {
		said.Reset()
		require.NoError(t, os.WriteFile(ca, tt.text, 0o600))
		later := time.Now().Add(time.Duration(i+1) * time.Minute)
		require.NoError(t, os.Chtimes(ca, later, later))
		w.talking()
		require.Len(t, lines(&said, "line 1: a certificate is skipped"), tt.warns+tt.fails, &said)
		require.Len(t, lines(&said, "level=WARN"), tt.warns, &said)
		require.Len(t, lines(&said, "level=ERROR"), tt.fails, &said)
	}
}

// No part of a PEM file vanishes unsaid.
func TestPartsOfPEM(t *testing.T) {
	one, two := newAuthority(t, "one"), newAuthority(t, "two")
	dir := t.TempDir()
	text := func(a *authority) string {
		b := expect.NoError(os.ReadFile(bundle(t, dir, a.cert.Raw))).In(t)
		return string(b)
	}
	first, second := text(one), text(two)
	last := fmt.Sprintf("line %d: ", strings.Count(first, "\n")) // of first
	next := fmt.Sprintf("line %d: ", 1+strings.Count(first, "\n"))
	const skipped, here = "a certificate is skipped: ",
		"a certificate is read here, but skipped by Erlang nodes"
	damaged := strings.Replace(first, "\n", "\n*", 1)
	for _, tt := range []struct {
		name, text string
		names      []string // of the certificates that are read
		said       []string
	}{
		{"two", first + second, []string{"one", "two"}, nil},
		{"text between", "# one\n" + first + "\n# two\n" + second, []string{"one", "two"}, nil},
		{"CRLF", strings.ReplaceAll(first+second, "\n", "\r\n"), []string{"one", "two"}, nil},
		{"no newline between", strings.TrimSuffix(first, "\n") + second, []string{"one", "two"},
			[]string{last + here}},
		{"byte order mark", "\ufeff" + first + second, []string{"one", "two"},
			[]string{"line 1: " + here}},
		{"indented BEGIN", first + " " + second, []string{"one", "two"}, []string{next + here}},
		{"damaged", damaged + second, []string{"two"},
			[]string{"line 1: " + skipped + "its base64 text is damaged"}},
		{"cut", first + second[:len(second)-60] + "\n-----END CERTIFICATE-----\n", []string{"one"},
			[]string{next + skipped}},
		{"no END", strings.Replace(first, "-----END CERTIFICATE-----", "", 1) + second,
			[]string{"two"},
			[]string{"line 1: a certificate is skipped: it has no END line"}},
		{"no END at the end", first + second[:100], []string{"one"},
			[]string{next + skipped + "it has no END line"}},
		{"another END", first + strings.Replace(second, "END CERTIFICATE", "END CERT", 1),
			[]string{"one"},
			[]string{next + skipped}},
		{"another kind", strings.ReplaceAll(first, " CERTIFICATE", " TRUSTED CERTIFICATE") + second,
			[]string{"two"},
			[]string{"line 1: a certificate is skipped: it is a TRUSTED CERTIFICATE"}},
		{"PKCS #7", "-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n" + second, []string{"two"},
			[]string{"line 1: " + skipped + "it is a PKCS7"}},
		{"a key beside", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + second,
			[]string{"two"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, dir, tt.text)
			f := expect.NoError(readCertificates(path)).In(t)
			var names []string
			for _, c := range f.certificates {
				names = append(names, c.Subject.CommonName)
			}
			require.Equal(t, tt.names, names)
			require.Len(t, f.faults, len(tt.said), f.faults)
			for i, said := range tt.said {
				require.ErrorContains(t, f.faults[i], path+": "+said)
			}
		})
	}
	_, err := readCertificates(write(t, dir, damaged))
	require.ErrorContains(t, err, "line 1: "+skipped+"its base64 text is damaged")
	require.ErrorContains(t, err, "no certificate in it that can be read")
}

// The first certificate of certfile is the node's own: none may take its place. Behind it, one that
// cannot be read is left out, with a warning: peers of both kinds would fail to read it.
func TestOddCertificatesInChain(t *testing.T) {
	root := newAuthority(t, "a root")
	between := root.below(t, "an authority between")
	dir := t.TempDir()
	ca, cert, key := root.files(t, dir, between.sign(t, want{}))
	leaf := expect.NoError(os.ReadFile(cert)).In(t)
	b := expect.NoError(os.ReadFile(bundle(t, dir, between.cert.Raw))).In(t)
	for _, odd := range oddcerts.All(t) {
		file := write(t, dir, string(leaf), string(odd.PEM()), string(b))
		o := certOptions(ca, file, key)
		var said bytes.Buffer
		w := optBench(t, optFile(t, dir, o+",{fail_if_no_peer_cert,true}", o), logTo(&said))
		require.Len(t, lines(&said, file+": line "), 2, &said)
		w.talking()

		_, _, option, err := readPair(certFiles{write(t, dir, string(odd.PEM()), string(leaf)), key,
			""})
		require.ErrorContains(t, err, "line 1: a certificate is skipped", odd.Name)
		require.Equal(t, "certfile", option)
	}
	k := expect.NoError(os.ReadFile(key)).In(t)
	both := write(t, dir, "\ufeff", string(k), string(leaf))
	_, _, _, err := readPair(certFiles{both, both, ""})
	require.NoError(t, err)
	torn := write(t, dir, strings.Replace(string(k), "END", "AND", 1), string(leaf))
	_, _, option, err := readPair(certFiles{torn, torn, ""})
	require.ErrorContains(t, err, "line 1: the private key cannot be read: it has no END line")
	require.Equal(t, "keyfile", option)
}
