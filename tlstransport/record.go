package tlstransport

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
)

// Types of records. RFC 8446, section 5.1.
const (
	typeChangeCipherSpec byte = 20
	typeAlert            byte = 21
	typeHandshake        byte = 22
	typeData             byte = 23
)

// errExhausted ends a session whose sequence numbers are used up.
var errExhausted = errors.New("the sequence numbers of the session are used up")

// A half protects the records of one direction. It does no I/O, and its sealing and opening
// allocate nothing. Every sequence number is used once: the record that was sealed with it is sent,
// or the session ends.
type half struct {
	suite  *suite
	secret []byte // TLS 1.3: the traffic secret, from which the next one is derived
	key    []byte // TLS 1.2: kept for export
	iv     []byte
	seq    uint64
	aead   cipher.AEAD
	extent int  // length of a record beyond that of its plaintext
	v13    bool // TLS 1.3

	records, bytes uint64 // protected under this key

	nonce [nonceSize]byte
	extra [13]byte // additional data
}

// newHalf13 makes a direction of TLS 1.3 with its traffic secret, which the half owns.
func newHalf13(s *suite, secret []byte, seq uint64) (*half, error) {
	key, iv, err := s.traffic(secret)
	var aead cipher.AEAD
	if err == nil {
		aead, err = s.aead(key)
	}
	clear(key)
	if err != nil {
		clear(secret)
		clear(iv)
		return nil, err
	}
	return &half{
		suite: s, secret: secret, iv: iv, seq: seq, aead: aead, v13: true,
		extent: recordHeader + 1 + aead.Overhead(), // 1: the type, inside the ciphertext
	}, nil
}

// newHalf12 makes a direction of TLS 1.2 with its key and the fixed part of its nonces, which the
// half owns.
func newHalf12(s *suite, key, iv []byte, seq uint64) (*half, error) {
	aead, err := s.aead(key)
	if err != nil {
		clear(key)
		clear(iv)
		return nil, err
	}
	return &half{suite: s, key: key, iv: iv, seq: seq, aead: aead, extent: recordHeader + s.explicit + aead.Overhead()}, nil
}

// forget zeroes the secrets. (The key schedule inside the AEAD cannot be reached.)
func (h *half) forget() {
	if h == nil {
		return
	}
	clear(h.secret)
	clear(h.key)
	clear(h.iv)
	clear(h.nonce[:]) // it contains the iv
	h.aead = nil
}

func (h *half) is13() bool { return h.v13 }

// fill makes the next nonce. explicit, if there is one, is the part that the record itself carries.
func (h *half) fill(explicit []byte) {
	copy(h.nonce[:], h.iv)
	if h.suite.explicit > 0 {
		copy(h.nonce[len(h.iv):], explicit)
		return
	}
	const last = nonceSize - 8
	binary.BigEndian.PutUint64(h.nonce[last:], binary.BigEndian.Uint64(h.iv[last:])^h.seq)
}

// additional returns the data that is authenticated beside the plaintext; in TLS 1.2 it contains n,
// the plaintext's length. RFC 8446, section 5.2; RFC 5246, section 6.2.3.3.
func (h *half) additional(header []byte, typ byte, n int) []byte {
	if h.is13() {
		return append(h.extra[:0], header[:recordHeader]...)
	}
	b := binary.BigEndian.AppendUint64(h.extra[:0], h.seq)
	b = append(b, typ, 3, 3)
	return binary.BigEndian.AppendUint16(b, uint16(n))
}

// seal appends a record to dst. parts are its plaintext, at most maxPlaintext bytes.
func (h *half) seal(dst []byte, typ byte, parts ...[]byte) ([]byte, error) {
	if h.seq == 1<<64-1 {
		return dst, errExhausted
	}
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	outer := typ
	if h.is13() {
		outer = typeData
	}
	size := h.extent - recordHeader + n
	start := len(dst)
	dst = append(dst, outer, 3, 3, byte(size>>8), byte(size))
	if h.suite.explicit > 0 {
		dst = binary.BigEndian.AppendUint64(dst, h.seq)
	}
	body := len(dst)
	h.fill(dst[start+recordHeader : body])
	var plain []byte
	if len(parts) == 1 && !h.is13() {
		plain = parts[0] // sealed directly from the caller's buffer
	} else {
		for _, p := range parts {
			dst = append(dst, p...)
		}
		if h.is13() {
			dst = append(dst, typ)
		}
		plain = dst[body:]
	}
	dst = h.aead.Seal(dst[:body], h.nonce[:], plain, h.additional(dst[start:], typ, n))
	h.seq++
	h.records++
	h.bytes += uint64(n)
	return dst, nil
}

// open returns the type and the plaintext of a whole record. The plaintext is in p if p has room
// for it, else inside record, whose bytes it overwrites. An error is an Alert or errExhausted, and
// ends the session.
func (h *half) open(p, record []byte) (typ byte, plain []byte, err error) {
	if h.seq == 1<<64-1 {
		return 0, nil, errExhausted
	}
	typ = record[0]
	body := record[recordHeader:]
	if h.is13() && typ != typeData {
		return 0, nil, alertUnexpectedMessage // a CCS after the handshake, or something unprotected
	}
	if len(body) < h.suite.explicit+h.aead.Overhead() {
		return 0, nil, alertBadRecordMAC
	}
	h.fill(body[:h.suite.explicit])
	body = body[h.suite.explicit:]
	n := len(body) - h.aead.Overhead()
	into := body[:0]
	if len(p) >= n {
		into = p[:0:len(p)]
	}
	plain, err = h.aead.Open(into, h.nonce[:], body, h.additional(record, typ, n))
	if err != nil {
		return 0, nil, alertBadRecordMAC
	}
	if h.is13() {
		end := len(plain)
		for end > 0 && plain[end-1] == 0 { // padding
			end--
		}
		if end == 0 {
			return 0, nil, alertUnexpectedMessage
		}
		if len(plain) > maxPlaintext+1 {
			return 0, nil, alertRecordOverflow
		}
		typ, plain = plain[end-1], plain[:end-1]
	} else if len(plain) > maxPlaintext {
		return 0, nil, alertRecordOverflow
	}
	h.seq++
	h.records++
	h.bytes += uint64(len(plain))
	return typ, plain, nil
}

// update replaces the traffic secret by the next one. RFC 8446, section 4.6.3.
func (h *half) update() error {
	secret, err := h.suite.next(h.secret)
	if err != nil {
		return err
	}
	next, err := newHalf13(h.suite, secret, 0)
	if err != nil {
		return err
	}
	h.forget()
	*h = *next
	return nil
}

// most is the length of the longest record body that is accepted.
func (h *half) most() int {
	if h.is13() {
		return maxPlaintext + 256
	}
	return maxPlaintext + 2048
}
