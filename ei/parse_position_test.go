package ei_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

func TestPosition(t *testing.T) {
	for _, tt := range []struct {
		text         string
		line, column int
	}{
		{"", 1, 1},
		{"X", 1, 1},
		{"{a,\n b,\n X}", 3, 2},
		{"[a,\n", 2, 1},
		{`{"日本é", X}`, 1, 9},
		{"% a comment\r\n[\"\n\", X]", 3, 4},
		{"\n{a, \"not closed\n}", 2, 5},
	} {
		_, err := ei.Parse(tt.text)
		var wrong *ei.TextError
		require.ErrorAs(t, err, &wrong, tt.text)
		line, column := wrong.Position(tt.text)
		require.Equal(t, [2]int{tt.line, tt.column}, [2]int{line, column}, tt.text)
	}
	// Of another text, the position is still one in it, or at its end.
	for offset, want := range map[int][2]int{-1: {1, 1}, 2: {2, 1}, 9: {2, 2}} {
		line, column := (&ei.TextError{Offset: offset, Err: ei.ErrText}).Position("a\nb")
		require.Equal(t, want, [2]int{line, column}, offset)
	}
}

func ExampleTextError_Position() {
	file := "[{port, 4000},\n {host, Host}].\n"
	_, err := ei.Parse(file)
	var wrong *ei.TextError
	if errors.As(err, &wrong) {
		line, column := wrong.Position(file)
		fmt.Printf("line %d, column %d: %s\n", line, column, wrong.Reason)
	}
	// Output: line 2, column 9: unexpected "Host}].\n", a variable: an atom is 'Host'
}
