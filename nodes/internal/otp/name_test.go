package otp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

type room string

type place string

func (p place) AppendTerm(b []byte) ([]byte, error) { return ei.AppendTerm(b, ei.Binary(p)) }

func TestName(t *testing.T) {
	for _, tt := range []struct{ name, want any }{
		{"a", ei.Atom("a")},
		{room("a"), ei.Atom("a")},
		{place("a"), place("a")},
		{ei.Atom("a"), ei.Atom("a")},
		{ei.Binary("a"), ei.Binary("a")},
		{ei.String("a"), ei.String("a")},
		{[]byte("a"), []byte("a")},
		{ei.T("a", 1), ei.T("a", 1)},
		{7, 7},
		{nil, nil},
	} {
		require.Equal(t, tt.want, Name(tt.name))
	}
}
