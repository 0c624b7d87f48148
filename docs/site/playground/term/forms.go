// Package term is what the playground does with a term: it reads the term in one of its forms, and
// writes it in all of them.
package term

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"unicode"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
)

// Forms are the forms of a term. Where a form does not exist, such as JSON of a map with two keys
// that JSON cannot tell apart, Missing has the reason under the form's name.
type Forms struct {
	Erlang  string            `json:"erlang"`
	Elixir  string            `json:"elixir"`
	JSON    string            `json:"json"`
	Go      string            `json:"go"`
	Bytes   string            `json:"bytes"` // in hexadecimal
	Missing map[string]string `json:"missing"`
	Parts   []Part            `json:"parts"`
}

// Convert reads a text in one of the forms: erlang, elixir, json, go or bytes. A Go type is no
// term: the one whose bytes are given is read into the type, and what the type kept of it is the
// term. An error says where the text is wrong. Of wrong bytes the parts before the fault are there.
func Convert(form, text, bytes string) (Forms, error) {
	t, encoded, err := read(form, text, bytes)
	if err != nil {
		f := Forms{}
		if encoded != nil {
			f.Parts, _ = Explain(encoded)
		}
		return f, err
	}
	if encoded == nil {
		if encoded, err = ei.Marshal(t); err != nil {
			return Forms{}, err
		}
	}
	f := Forms{
		Erlang: string(ei.AppendText(nil, t)), Elixir: string(elixir.AppendText(nil, t)),
		Go: text, Bytes: spaced(encoded), Missing: map[string]string{},
	}
	if form != "go" {
		f.Go = GoType(t)
	}
	if j, err := ei.AppendJSON(nil, t); err != nil {
		f.Missing["json"] = err.Error()
	} else {
		f.JSON = string(j)
	}
	f.Parts, err = Explain(encoded)
	return f, err
}

// read gives the term, and the bytes if the text had them.
func read(form, text, bytes string) (t ei.Term, encoded []byte, err error) {
	switch form {
	case "erlang":
		t, err = ei.Parse(text)
	case "elixir":
		t, err = elixir.Parse(text)
	case "json":
		t, err = fromJSON(text)
	case "go":
		t, err = throughType(text, bytes)
	case "bytes":
		if encoded, err = unspaced(text); err == nil {
			t, err = ei.Decode(encoded)
		}
	default:
		err = fmt.Errorf("%q is none of the forms", form)
	}
	var wrong *ei.TextError
	if errors.As(err, &wrong) {
		line, column := wrong.Position(text)
		err = fmt.Errorf("line %d, column %d: %w", line, column, err)
	}
	return t, encoded, err
}

// spaced is hexadecimal with a space between bytes.
func spaced(b []byte) string { return fmt.Sprintf("% x", b) }

// unspaced reads hexadecimal, with spaces, commas and what else stands between bytes in programs.
func unspaced(text string) ([]byte, error) {
	text = strings.NewReplacer("0x", "", "<<", "", ">>", "").Replace(text)
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == ',' {
			return -1
		}
		return r
	}, text)
	return hex.DecodeString(text)
}

// fromJSON reads an object as a map with binaries as keys, a text as a binary, null as the atom.
func fromJSON(text string) (ei.Term, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = fmt.Errorf("more than one value, from byte %d on", d.InputOffset())
		}
	}
	var wrong *json.SyntaxError
	if errors.As(err, &wrong) {
		before := text[:max(0, min(int(wrong.Offset)-1, len(text)))]
		err = fmt.Errorf("line %d, column %d: %w", 1+strings.Count(before, "\n"), len(before)-strings.LastIndex(before, "\n"), err)
	}
	if err != nil {
		return nil, err
	}
	if v, err = numbered(v); err != nil {
		return nil, err
	}
	b, err := ei.Marshal(v)
	if err != nil {
		return nil, err
	}
	return ei.Decode(b)
}

// numbered makes numbers of those of JSON: package json bounds how deep they are.
func numbered(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		if i, ok := new(big.Int).SetString(v.String(), 10); ok {
			return i, nil
		}
		return v.Float64()
	case []any:
		for i := range v {
			if v[i], err = numbered(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = numbered(v[k]); err != nil {
				return nil, err
			}
		}
	case nil:
		return ei.Atom("null"), nil
	}
	return v, nil
}
