package otp

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// The log of events has its bounds.
func TestEventLog(t *testing.T) {
	l := &EventLog{}
	l.Keep(3)
	for i := range 10 {
		l.Add(ei.Raw(fmt.Sprint(i)))
	}
	require.Len(t, l.events, 3)
	require.Equal(t, ei.Raw("7"), l.events[0])
	l.Add(make(ei.Raw, eventBytes-1))
	require.Len(t, l.events, 2)
	l.Add(make(ei.Raw, eventBytes+1))
	require.Empty(t, l.events)
	require.Zero(t, l.bytes)
}
