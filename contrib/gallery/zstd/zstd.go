//go:build unix

package cnodezstd

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/cnode-go/cnode/transport"
)

const (
	most       = 64 << 10 // bytes in a frame, before compression and after
	compressed = 1 << 31  // in the length before a frame
)

// A socket is a descriptor of TCP, and what moves with it. After each frame comes a byte that says
// whether the frame counts: a Write is counted once all of its frame is out. If its time is over
// before, and the next one brings other bytes, the frame is ended as one that does not count.
type socket struct {
	fd int
	state
}

type state struct {
	In, Plain []byte // what has come, and what is decompressed and not read
	Out, Of   []byte // the rest of a frame that is partly out, and what it is made of, if it counts
}

// New returns the transport.
func New() (transport.Transport, error) {
	// these options are good ones
	enc, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false))
	dec, _ := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(most))
	tcp := transport.TCPCallbacks()
	made := func(fd int, err error) (*socket, error) { return &socket{fd: fd}, err }
	return transport.New(transport.Callbacks[*socket]{
		Name:   "zstd",
		Socket: func(setup any, a transport.Addr) (*socket, error) { return made(tcp.Socket(setup, a)) },
		Listen: func(s *socket, a transport.Addr, backlog int) (transport.Addr, error) {
			return tcp.Listen(s.fd, a, backlog)
		},
		Connect: func(s *socket, a transport.Addr, tmo time.Duration) error { return tcp.Connect(s.fd, a, tmo) },
		Accept: func(s *socket, tmo time.Duration) (*socket, transport.Addr, error) {
			fd, from, err := tcp.Accept(s.fd, tmo)
			return &socket{fd: fd}, from, err
		},
		Read: func(s *socket, p []byte, tmo time.Duration) (int, error) {
			for len(s.Plain) == 0 {
				n, err := s.fill(dec, func(p []byte) (int, error) { return tcp.Read(s.fd, p, tmo) })
				if n <= 0 || err != nil {
					return n, err
				}
			}
			n := copy(p, s.Plain)
			s.Plain = s.Plain[n:]
			return n, nil
		},
		Write: func(s *socket, p []byte, tmo time.Duration) (int, error) {
			p = p[:min(len(p), most)]
			for {
				if len(s.Out) == 0 {
					s.Out, s.Of = frame(enc, p), append(s.Of[:0], p...)
				} else if !bytes.HasPrefix(p, s.Of) {
					s.Out[len(s.Out)-1], s.Of = 0, nil
				}
				for len(s.Out) > 0 {
					n, err := tcp.Write(s.fd, s.Out, tmo)
					if s.Out = s.Out[max(n, 0):]; err != nil {
						return 0, err
					}
				}
				if len(s.Of) > 0 {
					return len(s.Of), nil
				}
			}
		},
		HandshakePacketHeaderSize: func(*socket) (int, error) { return 2, nil },
		GetFD:                     func(s *socket) (int, error) { return s.fd, nil },
		LocalAddr:                 func(s *socket) (transport.Addr, error) { return tcp.LocalAddr(s.fd) },
		CloseWrite:                func(s *socket) error { return tcp.CloseWrite(s.fd) },
		Close:                     func(s *socket) error { return tcp.Close(s.fd) },
		Release:                   func(s *socket) error { return tcp.Release(s.fd) },
		Export:                    func(s *socket) ([]byte, error) { return json.Marshal(s.state) },
		Import: func(setup any, fd int, saved []byte) (*socket, error) {
			s, err := made(tcp.Import(setup, fd, nil))
			if err == nil && saved != nil { // nil: a listener
				err = json.Unmarshal(saved, &s.state)
			}
			return s, err
		},
	}, nil)
}

// frame makes a frame that counts.
func frame(enc *zstd.Encoder, p []byte) []byte {
	body, flag := enc.EncodeAll(p, nil), uint32(compressed)
	if len(body) >= len(p) {
		body, flag = p, 0
	}
	return append(append(binary.BigEndian.AppendUint32(nil, flag|uint32(len(body))), body...), 1)
}

// fill decompresses the frame that has come, if the whole of it has and it counts, or else reads;
// n > 0: go on.
func (s *socket) fill(dec *zstd.Decoder, read func(p []byte) (int, error)) (n int, err error) {
	if len(s.In) >= 4 {
		head := binary.BigEndian.Uint32(s.In)
		end := 4 + int(head&^compressed)
		switch {
		case end > 4+most:
			return 0, fmt.Errorf("a frame of %d bytes: %w", end-4, syscall.EBADMSG)
		case len(s.In) > end:
			if body := s.In[4:end]; s.In[end] == 1 && head&compressed == 0 {
				s.Plain = append(s.Plain[:0], body...)
			} else if s.In[end] == 1 {
				if s.Plain, err = dec.DecodeAll(body, nil); err != nil {
					return 0, fmt.Errorf("a frame of %d bytes: %w: %w", len(body), syscall.EBADMSG, err)
				}
			}
			s.In = s.In[:copy(s.In, s.In[end+1:])]
			return 1, nil
		}
	}
	s.In = slices.Grow(s.In, most/4)
	n, err = read(s.In[len(s.In):cap(s.In)])
	s.In = s.In[:len(s.In)+max(n, 0)]
	return n, err
}
