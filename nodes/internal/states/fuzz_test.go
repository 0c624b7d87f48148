package states

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/nodes/internal/form"
)

// FuzzStates reads anything as a state of each kind: no panic, and what is accepted means the same
// when it is written again.
func FuzzStates(f *testing.F) {
	for _, kind := range []byte{KindConn, KindNode, KindFront, KindWorker} {
		f.Add([]byte(form.Magic + string(kind) + "\x01"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for kind, empty := range map[byte]func() form.Describer{
			KindConn: func() form.Describer { return new(Conn) }, KindNode: func() form.Describer { return new(Node) },
			KindFront: func() form.Describer { return new(Front) }, KindWorker: func() form.Describer { return new(Worker) },
		} {
			s := empty()
			if form.Read(kind, b, s) != nil {
				continue
			}
			out, err := form.Write(t.Context().Err, kind, s)
			if at := new(form.Error); kind == KindNode && errors.As(err, &at) {
				continue // a mailbox, or a message, which is read only now
			}
			require.NoError(t, err)
			again := empty()
			require.NoError(t, form.Read(kind, out, again))
			same, err := form.Write(t.Context().Err, kind, again)
			require.NoError(t, err)
			require.Equal(t, out, same)
		}
	})
}

// The committed seeds, these and those of package nodes, are written anew with CNODE_SEEDS set.
func TestSeeds(t *testing.T) {
	seeds := map[string][]byte{}
	keep := func(name string, kind byte, s form.Describer) {
		b, err := form.Write(t.Context().Err, kind, s)
		require.NoError(t, err)
		seeds[name] = b
	}
	for i := range 3 {
		at := strconv.Itoa(i)
		c, n := rapid.Custom(someConn).Example(i), rapid.Custom(someNode).Example(i)
		f, w := rapid.Custom(someFront).Example(i), rapid.Custom(someWorker).Example(i)
		keep("conn"+at, KindConn, &c)
		keep("node"+at, KindNode, &n)
		keep("front"+at, KindFront, &f)
		keep("worker"+at, KindWorker, &w)
	}
	for _, dir := range []string{"testdata/fuzz/FuzzStates", "../../testdata/fuzz/FuzzRestore"} {
		dir = filepath.FromSlash(dir)
		if os.Getenv("CNODE_SEEDS") != "" {
			require.NoError(t, os.MkdirAll(dir, 0o755))
			for name, b := range seeds {
				text := "go test fuzz v1\n[]byte(" + strconv.Quote(string(b)) + ")\n"
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
			}
		}
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.NotEmpty(t, entries)
	}
}
