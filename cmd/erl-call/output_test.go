package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
)

// A result that cannot be written is not success.
func TestOutputWithoutRoom(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here: ", err)
	}
	defer full.Close()
	at := port.Free(t)
	n, err := nodes.New(nodes.Config{
		Name: "x@127.0.0.1", Cookie: "c",
		Resolver: &nodes.PortMapper{Embed: true, Client: epmd.Client{Addr: fmt.Sprintf("127.0.0.1:%d", at)}},
	})
	require.NoError(t, err)
	require.NoError(t, n.Start(t.Context()))
	defer n.Close()
	n.Expose("m", "f", func(context.Context, []ei.Term) (any, error) { return ei.Atom("ok"), nil })
	var errOut bytes.Buffer
	t.Setenv("ERL_EPMD_PORT", strconv.Itoa(at))
	require.Equal(t, exitFailure, run([]string{"-version"}, strings.NewReader(""), full, &errOut))
	require.Contains(t, errOut.String(), "no space left")
	errOut.Reset()
	args := []string{"-name", "x@127.0.0.1", "-c", "c", "-a", "m f"}
	require.Equal(t, exitFailure, run(args, strings.NewReader(""), full, &errOut))
	require.Contains(t, errOut.String(), "write the result: ")
	require.Contains(t, errOut.String(), "no space left")
	require.Equal(t, exitOK, run(args, strings.NewReader(""), io.Discard, &errOut))
	args = append(args, "-no_result_term") // nothing is written
	require.Equal(t, exitOK, run(args, strings.NewReader(""), full, &errOut))
}
