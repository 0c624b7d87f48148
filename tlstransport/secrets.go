package tlstransport

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Labels of the key log, which crypto/tls writes in the format of NSS.
const (
	labelMaster = "CLIENT_RANDOM"
	labelClient = "CLIENT_TRAFFIC_SECRET_0"
	labelServer = "SERVER_TRAFFIC_SECRET_0"
)

// A keyLog is the KeyLogWriter of one session: it keeps the session's secrets, and passes each line
// on to the user's writer.
type keyLog struct {
	mu    sync.Mutex
	next  io.Writer
	lines map[string]logged
}

type logged struct {
	random, secret []byte
	times          int
}

// Write takes a line: a label, the client's random, a secret.
func (k *keyLog) Write(line []byte) (int, error) {
	k.mu.Lock()
	if f := bytes.Fields(line); len(f) == 3 {
		label := string(f[0])
		switch label {
		case labelMaster, labelClient, labelServer:
			l := logged{make([]byte, hex.DecodedLen(len(f[1]))), make([]byte, hex.DecodedLen(len(f[2]))), k.lines[label].times + 1}
			_, err1 := hex.Decode(l.random, f[1])
			if _, err2 := hex.Decode(l.secret, f[2]); err1 != nil || err2 != nil {
				l.times = -1 // never accepted by take
			}
			clear(k.lines[label].secret)
			k.lines[label] = l
		}
	}
	next := k.next
	k.mu.Unlock()
	if next != nil {
		return next.Write(line)
	}
	return len(line), nil
}

// to sets the user's log, to which lines are passed on; nil: none.
func (k *keyLog) to(w io.Writer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.next = w
}

// take returns the secret of a label, of which exactly one line must have come.
func (k *keyLog) take(label string) (logged, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.lines[label]
	if l.times != 1 {
		return l, fmt.Errorf("the key log has %s %d times", label, l.times)
	}
	return l, nil
}

// forget zeroes and drops the secrets.
func (k *keyLog) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.lines {
		clear(l.secret)
	}
	clear(k.lines)
}

// halves makes both directions of a session after the handshake by crypto/tls. The sequence numbers
// are those right after the Finished messages: 1 in TLS 1.2, where Finished has number 0, and 0 in
// TLS 1.3.
func (k *keyLog) halves(state *tls.ConnectionState, r role, hello []byte) (in, out *half, err error) {
	su := suiteOf(state.Version, state.CipherSuite)
	if su == nil {
		return nil, nil, fmt.Errorf("%s with %s; only AES-GCM and ChaCha20-Poly1305 suites can: restrict ciphers to them on one side, or use "+
			"TLS 1.3",
			tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
	}
	var of [3]*half // by role
	defer func() {
		if err != nil {
			of[client].forget()
			of[server].forget()
		}
	}()
	if state.Version == tls.VersionTLS13 {
		for side, label := range map[role]string{client: labelClient, server: labelServer} {
			var l logged
			if l, err = k.take(label); err != nil {
				return nil, nil, err
			}
			if of[side], err = newHalf13(su, bytes.Clone(l.secret), 0); err != nil {
				return nil, nil, err
			}
		}
	} else {
		master, err := k.take(labelMaster)
		if err != nil {
			return nil, nil, err
		}
		random, err := serverRandom(hello)
		if err != nil {
			return nil, nil, err
		}
		ck, ci, sk, si := su.keyBlock(master.secret, master.random, random)
		var e error
		of[client], err = newHalf12(su, ck, ci, 1)
		if of[server], e = newHalf12(su, sk, si, 1); err != nil || e != nil {
			return nil, nil, cmp.Or(err, e)
		}
	}
	if r == client {
		return of[server], of[client], nil
	}
	return of[client], of[server], nil
}

// serverRandom finds the server's random in b, the first bytes that the server has sent. RFC 5246,
// section 7.4.1.3.
func serverRandom(b []byte) ([]byte, error) {
	const before, size = 4 + 2, 32 // type and length, version
	var message []byte
	for len(b) >= recordHeader && b[0] == typeHandshake && len(message) < before+size {
		n := int(binary.BigEndian.Uint16(b[3:]))
		b = b[recordHeader:]
		n = min(n, len(b))
		message = append(message, b[:n]...)
		b = b[n:]
	}
	if len(message) < before+size || message[0] != 2 {
		return nil, errors.New("the server's hello is not at the beginning of what it has sent")
	}
	return message[before : before+size], nil
}
