package dist

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOpNamesFlagsAndPayloads(t *testing.T) {
	payloads := []Op{2, 6, 12, 16, 22, 23, 24, 25, 26, 27, 28, 29, 30, 33, 34, 37}
	for op, flags := range map[Op]Flags{
		OpSend: 0, OpLink: 0, OpPayloadExit: FlagExitPayload, OpSendSender: FlagSendSender, OpSpawnRequest: FlagSpawn,
		OpUnlinkID: FlagUnlinkID, OpMonitorP: FlagDistMonitor,
	} {
		require.Equal(t, flags, op.Flags(), "%v", op)
	}
	bases := map[Op]Op{12: 2, 13: 3, 16: 6, 18: 8, 23: 22, 25: 24, 27: 26, 30: 29, 32: 31, 34: 33}
	for op := range Op(255) {
		base, traced := bases[op]
		if !traced {
			base = op
		}
		require.Equal(t, base, op.Base(), "%v", op)
		if !op.Known() {
			require.False(t, op.HasPayload())
			require.Zero(t, op.Flags())
			require.Equal(t, fmt.Sprintf("op %d", op), op.String())
			continue
		}
		require.Equal(t, traced, strings.HasSuffix(op.String(), "_TT"))
		require.Contains(t, op.String(), base.String())
		if traced {
			require.Equal(t, op, base.Traced())
		}
		require.Equal(t, op.Flags(), base.Flags())
		if op.HasPayload() {
			require.Contains(t, payloads, op)
		} else {
			require.NotContains(t, payloads, op)
		}
	}
}
