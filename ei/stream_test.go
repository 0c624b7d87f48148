package ei_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// What an Encoder writes a Decoder reads, in whatever pieces it comes.
func TestStream(t *testing.T) {
	values := []user{{Name: "Jo", Age: 1}, {Name: strings.Repeat("x", 200), Age: 2}, {Name: "", Age: 255}}
	for _, packet := range []int{0, 1, 2, 4} {
		for name, pieces := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "end": iotest.DataErrReader,
		} {
			var stream bytes.Buffer
			e := ei.NewEncoder(&stream, packet)
			for _, v := range values {
				require.NoError(t, e.Encode(v))
			}
			d := ei.NewDecoder(pieces(&stream), packet)
			for _, want := range values {
				var got user
				require.NoError(t, d.Decode(&got), "%d, %s", packet, name)
				require.Equal(t, want, got)
			}
			var got user
			require.Equal(t, io.EOF, d.Decode(&got))
			require.Equal(t, io.EOF, d.Decode(&got))
		}
	}
}

// A term is given as soon as it is complete, compressed or not, though the stream goes on.
func TestStreamDoesNotWaitForMore(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	d := ei.NewDecoder(r, 0)
	long := strings.Repeat("x", 10_000)
	packed, err := ei.MarshalCompressed([]string{long}, -1)
	require.NoError(t, err)
	require.Less(t, len(packed), 1000)
	for range 3 {
		plain := marshal(t, []string{"a", long})
		go func() {
			_, _ = w.Write(append(packed, plain...))
		}()
		var got []string
		require.NoError(t, d.Decode(&got))
		require.Equal(t, []string{long}, got)
		require.NoError(t, d.Decode(&got))
		require.Equal(t, []string{"a", long}, got)
	}
}

// After a term that does not fit comes the next one; a stream that has lost its place stays ended.
func TestStreamAfterErrors(t *testing.T) {
	var n int
	for _, packet := range []int{0, 2} {
		var stream bytes.Buffer
		e := ei.NewEncoder(&stream, packet)
		for _, v := range []any{1, "no integer", 2} {
			require.NoError(t, e.Encode(v))
		}
		d := ei.NewDecoder(&stream, packet)
		require.NoError(t, d.Decode(&n))
		require.ErrorIs(t, d.Decode(&n), ei.ErrType)
		require.NoError(t, d.Decode(&n))
		require.Equal(t, 2, n)
		require.Equal(t, io.EOF, d.Decode(&n))
	}
	d := ei.NewDecoder(strings.NewReader("\x00\x01?\x00\x03\x83a\x05\x00\x09\x83"), 2)
	require.ErrorIs(t, d.Decode(&n), ei.ErrVersion)
	require.NoError(t, d.Decode(&n))
	require.Equal(t, 5, n)
	require.ErrorIs(t, d.Decode(&n), io.ErrUnexpectedEOF)

	d = ei.NewDecoder(strings.NewReader("\x83a\x05\x83?\x83a\x05"), 0)
	require.NoError(t, d.Decode(&n))
	require.ErrorIs(t, d.Decode(&n), ei.ErrTag)
	require.ErrorIs(t, d.Decode(&n), ei.ErrTag)

	broken := errors.New("broken")
	d = ei.NewDecoder(io.MultiReader(strings.NewReader("\x83a"), iotest.ErrReader(broken)), 0)
	require.ErrorIs(t, d.Decode(&n), broken)
	require.Error(t, ei.NewDecoder(&bytes.Buffer{}, 3).Decode(&n))
	require.Error(t, ei.NewEncoder(io.Discard, -1).Encode(1))
	require.ErrorIs(t, ei.NewEncoder(io.Discard, 1).Encode(strings.Repeat("x", 250)), ei.ErrTooLong)
}

// A stream costs the memory of what has come, within the limit, whatever its lengths announce.
func TestStreamLimits(t *testing.T) {
	var got any
	for _, announced := range []string{"\xff\xff\xff\xf0\x83m", "\x7f\xff\xff\xff\x83m"} {
		taken := allocated(func() {
			d := ei.NewDecoder(strings.NewReader(announced), 4)
			require.Error(t, d.Decode(&got))
		})
		require.Less(t, taken, 1<<20)
	}
	limits := ei.DecodeOptions{Limits: ei.Limits{Bytes: 1000}}
	for _, packet := range []int{0, 4} {
		var stream bytes.Buffer
		require.NoError(t, ei.NewEncoder(&stream, packet).Encode(strings.Repeat("x", 900)))
		require.NoError(t, ei.NewEncoder(&stream, packet).Encode(strings.Repeat("x", 5000)))
		d := ei.NewDecoder(&stream, packet)
		d.Options = limits
		require.NoError(t, d.Decode(&got))
		require.ErrorIs(t, d.Decode(&got), ei.ErrLimit)
		require.ErrorIs(t, d.Decode(&got), ei.ErrLimit)
	}
}

func FuzzDecoder(f *testing.F) {
	for _, seed := range []string{"\x83a\x05\x83j", "\x83P\x00\x00\x00\x01x", "\x00\x02\x83j", "\x83h\x02w\x02ok", "\x83l\xff\xff\xff\xff"} {
		f.Add([]byte(seed), byte(0), byte(1))
		f.Add([]byte(seed), byte(2), byte(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, packet, step byte) {
		var whole, pieces []string
		for _, r := range []struct {
			io.Reader
			to *[]string
		}{{bytes.NewReader(data), &whole}, {&stepReader{data, 1 + int(step)}, &pieces}} {
			d := ei.NewDecoder(r, []int{0, 1, 2, 4}[packet%4])
			for range 100 {
				var v any
				err := d.Decode(&v)
				if err != nil {
					*r.to = append(*r.to, err.Error())
					continue
				}
				*r.to = append(*r.to, ei.Brief(v.(ei.Term), 1000))
			}
		}
		require.Equal(t, whole, pieces)
	})
}

// A stepReader gives a few bytes at a time.
type stepReader struct {
	data []byte
	step int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.step)], r.data)
	r.data = r.data[n:]
	return n, nil
}
