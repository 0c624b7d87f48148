package callsout

import (
	"testing"

	"github.com/cnode-go/cnode/internal/test/gonode"
)

func TestMain(m *testing.M) { gonode.Main(m, envServe, serve) }
