package capture_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/docs/site/playground/capture"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

const (
	fileHeader   = 24
	recordHeader = 16
)

// captured is a capture of two nodes: a small message and one in several fragments, there and back.
var captured = sync.OnceValues(func() ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), expect.Limit)
	defer cancel()
	var b bytes.Buffer
	file := virtual.NewCapture(&b)
	memory := transport.NewMemory()
	where := nodes.Static{"a@x": {Addr: transport.MemoryAddr("a")}, "b@x": {Addr: transport.MemoryAddr("b")}}
	start := func(name string, t transport.Transport) (*nodes.Node, error) {
		n, err := nodes.New(nodes.Config{Name: name, Cookie: "c", Transport: t, Listen: where[name].Addr, Resolver: where})
		if err != nil {
			return nil, err
		}
		return n, n.Start(ctx)
	}
	there, err := start("b@x", memory)
	if err != nil {
		return nil, err
	}
	defer there.Close()
	here, err := start("a@x", virtual.Trace(memory, virtual.TraceOptions{Capture: file}))
	if err != nil {
		return nil, err
	}
	defer here.Close()
	there.Expose("m", "same", nodes.FuncOf(func(t ei.Term) ei.Term { return t }))
	for _, size := range []int{3, 200 << 10} {
		if _, err := here.RPC(ctx, "b@x", "m", "same", strings.Repeat("x", size)); err != nil {
			return nil, err
		}
	}
	if err := here.Close(); err != nil {
		return nil, err
	}
	err = file.Close()
	return b.Bytes(), err
})

func file(t *testing.T) []byte {
	b, err := captured()
	require.NoError(t, err)
	return bytes.Clone(b)
}

// records are the packets of a file, with their headers.
func records(b []byte) (list [][]byte) {
	for b = b[fileHeader:]; len(b) > 0; {
		n := recordHeader + int(binary.LittleEndian.Uint32(b[8:]))
		list = append(list, b[:n])
		b = b[n:]
	}
	return list
}

// read gives the events of a file that is written in pieces.
func read(t *testing.T, b []byte, piece int) (events []capture.Event) {
	r := capture.NewReader(func(e capture.Event) { events = append(events, e) })
	for len(b) > 0 {
		n, err := r.Write(b[:min(piece, len(b))])
		require.NoError(t, err)
		b = b[n:]
	}
	require.NoError(t, r.Close())
	return events
}

// of are the events that one end has sent.
func of(events []capture.Event, from string) (list []capture.Event) {
	for _, e := range events {
		if e.From == from {
			list = append(list, e)
		}
	}
	return list
}

// A capture has the handshake, all messages whole, and the end.
func TestRead(t *testing.T) {
	events := read(t, file(t), 1<<30)
	kinds := map[string]int{}
	for _, e := range events {
		kinds[e.Kind]++
	}
	require.Zero(t, kinds[capture.KindFault], "%v", events)
	require.Equal(t, 2, kinds[capture.KindName])
	require.Equal(t, 5, kinds[capture.KindHandshake])
	require.GreaterOrEqual(t, kinds[capture.KindMessage], 4)
	require.NotZero(t, kinds[capture.KindFragment])
	require.NotZero(t, kinds[capture.KindEnd])
	all := ""
	for _, e := range events {
		all += e.Text + "\n"
	}
	require.Contains(t, all, "<<\"xxx\">>")
	require.Contains(t, all, strings.Repeat("x", 1000)+"xxx")
}

// However the file arrives, and however the network has treated its packets, the events are the
// same: of each end in the same order.
func TestReadAnyhow(t *testing.T) {
	whole := file(t)
	want := read(t, whole, 1<<30)
	require.Equal(t, want, read(t, whole, 7))

	list := records(whole)
	twice, swapped := bytes.Clone(whole[:fileHeader]), bytes.Clone(whole[:fileHeader])
	for i := range list {
		twice = append(append(twice, list[i]...), list[i]...)
	}
	for i := 3; i+1 < len(list)-4; i += 2 { // after the SYNs, before the FINs
		list[i], list[i+1] = list[i+1], list[i]
	}
	swapped = append(swapped, bytes.Join(list, nil)...)
	again := read(t, twice, 1<<30)
	require.Equal(t, want, again)
	again = read(t, swapped, 1<<30)
	for _, end := range []string{want[0].From, want[0].To} {
		require.Equal(t, of(want, end), of(again, end))
	}
}

// The other kinds of captures have other headers before the same packets.
func TestReadLinks(t *testing.T) {
	whole := file(t)
	want := read(t, whole, 1<<30)
	for link, header := range map[uint32]int{0: 4, 101: 0, 113: 16, 276: 20} {
		other := binary.BigEndian.AppendUint32(nil, 0xa1b23c4d) // nanoseconds, from a machine of the other order
		other = append(other, make([]byte, 16)...)
		other = binary.BigEndian.AppendUint32(other, link)
		for _, r := range records(whole) {
			p := append(make([]byte, header), r[recordHeader+14:]...)
			other = append(other, make([]byte, 8)...)
			other = binary.BigEndian.AppendUint32(other, uint32(len(p)))
			other = append(binary.BigEndian.AppendUint32(other, uint32(len(p))), p...)
		}
		require.Equal(t, want, read(t, other, 1<<30), "link type %d", link)
	}
}

func TestReadWrong(t *testing.T) {
	whole := file(t)
	for name, b := range map[string][]byte{
		"text":   []byte(strings.Repeat("no capture", 10)),
		"pcapng": append([]byte{10, 13, 13, 10}, make([]byte, 40)...),
	} {
		_, err := capture.NewReader(func(capture.Event) {}).Write(b)
		require.ErrorContains(t, err, "not a pcap file", name)
	}
	r := capture.NewReader(func(capture.Event) {})
	require.ErrorContains(t, r.Close(), "not a pcap file", "empty")
	_, err := r.Write(whole[:len(whole)-3])
	require.NoError(t, err)
	require.ErrorContains(t, r.Close(), "ends within a packet")

	broken := bytes.Clone(whole)
	list := records(broken)
	for i, p := range list { // the first packet after the handshake
		if bytes.Contains(p, []byte("same")) {
			at := bytes.IndexByte(list[i][recordHeader+54:], 131)
			list[i][recordHeader+54+at]++
			break
		}
	}
	faults := 0
	for _, e := range read(t, broken, 1<<30) {
		if e.Kind == capture.KindFault {
			faults++
		}
	}
	require.Equal(t, 1, faults)
}

// Whatever a file has, reading it ends.
func FuzzRead(f *testing.F) {
	b, err := captured()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:min(len(b), 8000)])
	f.Fuzz(func(_ *testing.T, b []byte) {
		r := capture.NewReader(func(capture.Event) {})
		if _, err := r.Write(b); err == nil {
			_ = r.Close()
		}
	})
}
