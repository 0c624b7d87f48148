package link

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// For a frame, no more memory is allocated than twice what has come of it, or trustedFrame.
func TestHugeFrameGrows(t *testing.T) {
	const length = 11*trustedFrame + 5
	r := reader{m: new(Memory), max: length, came: func() {}}
	_, err := r.nextVector()
	require.NoError(t, err)
	binary.BigEndian.PutUint32(r.head[:], length)
	came := 0
	for {
		v, err := r.nextVector()
		require.NoError(t, err)
		if v == nil {
			break
		}
		require.LessOrEqual(t, cap(r.m.buf), max(trustedFrame, 2*came))
		came += len(v[0])
	}
	require.Equal(t, length, came)
	require.Len(t, r.m.buf, length)
}
