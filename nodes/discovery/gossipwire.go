package discovery

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// The datagrams of libcluster's gossip: "heartbeat::", and the external form of #{node => Node}.
// With a secret, 16 random bytes, and that encrypted with them: AES-256-CBC with padding of PKCS#7,
// whose key is the SHA-256 of the secret. There is nothing to tell when, or by whom, a datagram was
// made.

const prelude = "heartbeat::"

// maxDatagram bounds what is looked at: a node name has 1,020 bytes at most.
const maxDatagram = 1400

// appendHeartbeat appends what a node announces.
func appendHeartbeat(b []byte, node string) ([]byte, error) {
	b = ei.AppendMapHeader(ei.AppendVersion(append(b, prelude...)), 1)
	b, err := ei.AppendAtom(b, "node")
	if err != nil {
		return nil, err
	}
	return ei.AppendAtom(b, ei.Atom(node))
}

// parseHeartbeat reads what another one announces; other keys of the map are skipped, as libcluster
// does. Compressed terms are none.
func parseHeartbeat(b []byte) (node string, ok bool) {
	term, ok := bytes.CutPrefix(b, []byte(prelude))
	if !ok {
		return "", false
	}
	c := ei.NewCursor(term)
	if c.Version() != nil {
		return "", false
	}
	pairs, err := c.Map()
	for ; pairs > 0 && err == nil; pairs-- {
		if !c.AtomIs("node") {
			if err = c.Skip(); err == nil {
				err = c.Skip()
			}
			continue
		}
		var name ei.Atom
		name, err = c.Atom()
		node = string(name)
	}
	return node, err == nil && dist.CheckName(node) == nil
}

// A sealer encrypts and decrypts datagrams; nil leaves them as they are.
type sealer struct{ block cipher.Block }

func newSealer(secret string) *sealer {
	if secret == "" {
		return nil
	}
	key := sha256.Sum256([]byte(secret))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key has the right size
	}
	return &sealer{block}
}

// seal encrypts a datagram.
func (s *sealer) seal(text []byte) []byte {
	if s == nil {
		return text
	}
	pad := aes.BlockSize - len(text)%aes.BlockSize
	b := make([]byte, aes.BlockSize+len(text)+pad)
	iv, body := b[:aes.BlockSize], b[aes.BlockSize:]
	_, _ = rand.Read(iv) // never fails
	copy(body[copy(body, text):], bytes.Repeat([]byte{byte(pad)}, pad))
	cipher.NewCBCEncrypter(s.block, iv).CryptBlocks(body, body)
	return b
}

// open decrypts a datagram in its place.
func (s *sealer) open(b []byte) (text []byte, ok bool) {
	if s == nil {
		return b, true
	}
	if len(b) < 2*aes.BlockSize || len(b)%aes.BlockSize != 0 {
		return nil, false
	}
	iv, text := b[:aes.BlockSize], b[aes.BlockSize:]
	cipher.NewCBCDecrypter(s.block, iv).CryptBlocks(text, text)
	pad := int(text[len(text)-1])
	if pad < 1 || pad > aes.BlockSize || !bytes.HasSuffix(text, bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, false
	}
	return text[:len(text)-pad], true
}
