package beam

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// Opcodes of WebSocket.
const (
	wsMore, wsText, wsBinary = 0, 1, 2
	wsClose, wsPing, wsPong  = 8, 9, 10
	wsFin, wsCompressed      = 0x80, 0x40
	wsKey                    = "dGhlIHNhbXBsZSBub25jZQ=="
	deflateOffer             = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
	emptyBlock               = "\x00\x00\xff\xff"
	finalBlock               = "\x01\x00\x00\xff\xff"
)

// A websocket is a client's. One goroutine may write while another one reads.
type websocket struct {
	net.Conn
	r          *bufio.Reader
	compressed bool
	extensions string
}

// dialWebsocket asks for a WebSocket, with more lines of the request's head.
func dialWebsocket(addr, path, more string) (*websocket, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(expect.Limit))
	return upgradeWebsocket(conn, path, more)
}

func upgradeWebsocket(conn net.Conn, path, more string) (*websocket, error) {
	w := &websocket{Conn: conn, r: bufio.NewReader(conn)}
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s\r\n", path, wsKey, more)
	var res *http.Response
	if err == nil {
		res, err = http.ReadResponse(w.r, nil)
	}
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("no WebSocket: %s", res.Status)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	w.extensions = res.Header.Get("Sec-WebSocket-Extensions")
	w.compressed = w.extensions != ""
	return w, nil
}

// openWebsocket is dialWebsocket in a test, at whose end it is closed.
func openWebsocket(t *testing.T, addr, path, more string) *websocket {
	t.Helper()
	w, err := dialWebsocket(addr, path, more)
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// wsFrame is a frame as clients send it. Its mask is 0, so that a test can be read.
func wsFrame(first byte, data []byte) []byte {
	b := []byte{first}
	switch n := len(data); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), data...)
}

func (w *websocket) write(opcode byte, data []byte) error {
	first := wsFin | opcode
	if w.compressed && opcode != wsPing {
		first |= wsCompressed
		data = deflated(data)
	}
	_, err := w.Write(wsFrame(first, data))
	return err
}

// read reads a frame, whose message it is as a whole.
func (w *websocket) read() (opcode byte, data []byte, err error) {
	var head [2]byte
	if _, err = io.ReadFull(w.r, head[:]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1])
	switch size {
	case 126:
		var more [2]byte
		_, err = io.ReadFull(w.r, more[:])
		size = uint64(binary.BigEndian.Uint16(more[:]))
	case 127:
		var more [8]byte
		_, err = io.ReadFull(w.r, more[:])
		size = binary.BigEndian.Uint64(more[:])
	}
	if err != nil || size > 1<<24 {
		return 0, nil, fmt.Errorf("a frame of %d bytes: %w", size, err)
	}
	data = make([]byte, size)
	if _, err = io.ReadFull(w.r, data); err == nil && head[0]&wsCompressed != 0 {
		data, err = io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(data), bytes.NewReader([]byte(emptyBlock+finalBlock)))))
	}
	return head[0] & 0xF, data, err
}

// text reads a frame that has to be a text.
func (w *websocket) text(t *testing.T) string {
	t.Helper()
	op, data, err := w.read()
	require.NoError(t, err)
	require.EqualValues(t, wsText, op, "%q", data)
	return string(data)
}

// closes reads the frame that says why the server ends the connection.
func (w *websocket) closes(t *testing.T) (code int) {
	t.Helper()
	op, data, err := w.read()
	require.NoError(t, err)
	require.EqualValues(t, wsClose, op, "%q", data)
	return int(binary.BigEndian.Uint16(data))
}

// deflated is a message compressed by itself.
func deflated(data []byte) []byte {
	var b bytes.Buffer
	f, _ := flate.NewWriter(&b, flate.DefaultCompression)
	_, _ = f.Write(data)
	_ = f.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte(emptyBlock))
}
