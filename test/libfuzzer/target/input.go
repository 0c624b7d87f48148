// Package target makes a libFuzzer target of a function that package testing fuzzes: what libFuzzer
// gives are bytes, what the function wants are its parameters.
package target

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// SeedsVariable names a directory: the target writes its seeds there, and ends.
const SeedsVariable = "CNODE_LIBFUZZER_SEEDS"

// values reads an input of libFuzzer as parameters of those types. Numbers have their size, the
// high byte first; a text has its length, two bytes, before it, but the last parameter has none and
// is the rest. Any bytes can be read: what is missing is 0.
func values(input []byte, types []reflect.Type) []any {
	take := func(n int) []byte {
		n = min(n, len(input))
		b := input[:n:n]
		input = input[n:]
		return b
	}
	number := func(size int) uint64 {
		var b [8]byte
		copy(b[8-size:], take(size))
		return binary.BigEndian.Uint64(b[:])
	}
	all := make([]any, len(types))
	for i, typ := range types {
		v := reflect.New(typ).Elem()
		switch {
		case v.CanUint():
			v.SetUint(number(int(typ.Size())))
		case v.CanInt():
			v.SetInt(int64(number(int(typ.Size())) << (64 - 8*typ.Size()) >> (64 - 8*typ.Size())))
		case typ.Kind() == reflect.Bool:
			v.SetBool(number(1)&1 == 1)
		default:
			n := len(input)
			if i < len(types)-1 {
				n = int(number(2))
			}
			v.Set(reflect.ValueOf(take(n)).Convert(typ))
		}
		all[i] = v.Interface()
	}
	return all
}

// input is the input that values reads as these parameters. A text that is not the last parameter
// is cut after 65,535 bytes.
func input(parameters []any) []byte {
	var b []byte
	number := func(n uint64, size uintptr) {
		b = append(b, binary.BigEndian.AppendUint64(nil, n)[8-size:]...)
	}
	for i, p := range parameters {
		v := reflect.ValueOf(p)
		switch {
		case v.CanUint():
			number(v.Uint(), v.Type().Size())
		case v.CanInt():
			number(uint64(v.Int()), v.Type().Size())
		case v.Kind() == reflect.Bool:
			number(map[bool]uint64{true: 1}[v.Bool()], 1)
		default:
			text := v.Convert(reflect.TypeFor[[]byte]()).Bytes()
			if i < len(parameters)-1 {
				text = text[:min(len(text), 1<<16-1)]
				number(uint64(len(text)), 2)
			}
			b = append(b, text...)
		}
	}
	return b
}

// parse reads a file of a seed corpus as go test writes it: a line for each parameter, as in
// []byte("a"), after a first one that says so.
func parse(file string, types []reflect.Type) ([]any, error) {
	lines := strings.Split(strings.TrimSuffix(file, "\n"), "\n")
	if len(lines) != len(types)+1 || lines[0] != "go test fuzz v1" {
		return nil, fmt.Errorf("not a seed of %d parameters: %d lines, the first is %q", len(types), len(lines), lines[0])
	}
	all := make([]any, len(types))
	for i, line := range lines[1:] {
		_, literal, _ := strings.Cut(strings.TrimSuffix(line, ")"), "(")
		v := reflect.New(types[i]).Elem()
		var err error
		switch {
		case strings.HasPrefix(literal, "'"):
			var r rune
			r, _, _, err = strconv.UnquoteChar(literal[1:], '\'')
			v.Set(reflect.ValueOf(r).Convert(types[i]))
		case types[i].Kind() == reflect.String || types[i].Kind() == reflect.Slice:
			var text string
			text, err = strconv.Unquote(literal)
			v.Set(reflect.ValueOf(text).Convert(types[i]))
		default:
			_, err = fmt.Sscan(literal, v.Addr().Interface())
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
		all[i] = v.Interface()
	}
	return all, nil
}
