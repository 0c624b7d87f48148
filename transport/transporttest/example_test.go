package transporttest_test

import (
	"fmt"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

// A program that loads plug-ins may check one before it is trusted.
func ExampleCheck() {
	tr := transport.NewMemory()
	err := transporttest.Check(func() (transport.Transport, transport.Addr, error) {
		return tr, transport.MemoryAddr(""), nil
	})
	fmt.Println("broken rules:", err)
	// Output:
	// broken rules: <nil>
}
