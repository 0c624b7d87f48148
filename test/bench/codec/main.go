// Codec measures one operation of a codec in Go on one shape of terms: of package ei, of ergo v1,
// of encoding/json and github.com/fxamacker/cbor.
//
//	codec shapes DIR                   writes all shapes, encoded, as files
//	codec KIND OPERATION FILE MS       prints nanoseconds and allocations of one operation
//
// The file's name is that of the shape. What an operation gives is checked once, before it counts.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/test/bench/profile"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "codec:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "shapes":
		return writeShapes(args[1])
	case len(args) != 4:
		return fmt.Errorf("usage: codec shapes DIR, codec KIND OPERATION FILE MS")
	}
	data, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	prepare, ok := operations[args[0]+" "+args[1]]
	if !ok {
		return fmt.Errorf("%s has no %s", args[0], args[1])
	}
	once, err := prepare(filepath.Base(args[2]), data)
	if err != nil {
		return fmt.Errorf("%s %s %s: %w", args[0], args[1], args[2], err)
	}
	ms, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	if args[0] == "ours" {
		stop, err := profile.Start()
		if err != nil {
			return err
		}
		defer stop()
	}
	return measure(once, time.Duration(ms)*time.Millisecond)
}

// operations make, of a shape's name and its bytes, a function that does the operation once.
var operations = map[string]func(shape string, data []byte) (func() error, error){
	"ours walk":   prepareWalk,
	"ours append": prepareAppend,
	"ours decode": prepareDecode,
	"ours encode": prepareEncode,
	"ergo decode": prepareErgoDecode,
	"ergo encode": prepareErgoEncode,

	// ergo decodes into a tree, and encodes one
	"ours unmarshal": prepareUnmarshal,
	"ours marshal":   prepareMarshal,
	"ergo unmarshal": prepareErgoDecode,
	"ergo marshal":   prepareErgoEncode,
	"json unmarshal": prepareJSONUnmarshal,
	"json marshal":   prepareJSONMarshal,
	"cbor marshal":   prepareCBORMarshal,
}

func writeShapes(dir string) error {
	for name, s := range shapes {
		data, err := ei.Marshal(s.term())
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// measure does it for a quarter of the time before it counts.
func measure(once func() error, d time.Duration) error {
	n, _, err := repeat(once, 1, d/4)
	if err != nil {
		return err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, took, err := repeat(once, max(1, n/4), d)
	if err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	// whole ones, as package testing counts them: a few are the runtime's own
	_, err = fmt.Println(float64(took.Nanoseconds())/float64(n), (after.Mallocs-before.Mallocs)/uint64(n))
	return err
}

// repeat looks at the clock after each batch.
func repeat(once func() error, batch int, d time.Duration) (n int, took time.Duration, err error) {
	for begun := time.Now(); took < d; took = time.Since(begun) {
		for range batch {
			if err := once(); err != nil {
				return 0, 0, err
			}
		}
		n += batch
	}
	return n, took, nil
}
