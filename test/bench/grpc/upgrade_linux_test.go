package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport/handoff/service"
)

// role is the environment variable that makes this program the server of the test's.
const role = "CNODE_TEST_GRPC"

func TestMain(m *testing.M) {
	if os.Getenv(role) == "" {
		os.Exit(m.Run())
	}
	if err := serveOn(); err != nil {
		fmt.Println("failed:", err)
	}
	fmt.Println("left", os.Getpid())
}

// serveOn serves as docs/operate/upgrade-a-service.md has it.
func serveOn() error {
	s := &service.Service{DrainTimeout: time.Minute}
	l, err := s.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	pid := wrapperspb.Int64(int64(os.Getpid()))
	grpcServer := grpc.NewServer()
	grpcServer.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Pid",
			Handler: func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
				return pid, nil
			},
		}},
		Streams: []grpc.StreamDesc{{
			StreamName: "Pids", ClientStreams: true, ServerStreams: true,
			Handler: func(_ any, s grpc.ServerStream) error {
				for {
					err := s.RecvMsg(&wrapperspb.Int64Value{})
					if err == io.EOF {
						return nil
					}
					if err = errors.Join(err, s.SendMsg(pid)); err != nil {
						return err
					}
				}
			},
		}},
	}, struct{}{})
	go grpcServer.Serve(l)
	s.OnEnd(func(context.Context) error { grpcServer.GracefulStop(); return nil })
	s.OnReady = func() { fmt.Println("ready", l.Addr(), os.Getpid()) }
	return s.Run(context.Background())
}

// At an upgrade a stream ends when its handler does, and no call fails: neither on a connection
// that is used all the time, nor on a new one. Later calls get the new process.
func TestUpgrades(t *testing.T) {
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), role+"=yes")
	server.Stderr = os.Stderr
	out, in, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	server.Stdout = in
	require.NoError(t, server.Start())
	defer server.Wait()
	require.NoError(t, in.Close())
	lines := bufio.NewReader(out)
	var addr string
	var pid int
	ready := func() {
		t.Helper()
		for found := 0; found < 2; { // others have left
			line, err := lines.ReadString('\n')
			require.NoError(t, err)
			require.NotContains(t, line, "failed")
			found, _ = fmt.Sscanf(line, "ready %s %d", &addr, &pid)
		}
	}
	ready()
	defer func() { _ = syscall.Kill(pid, syscall.SIGTERM) }()
	connect := func() *grpc.ClientConn {
		c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)
		return c
	}
	ctx, stop := context.WithTimeout(t.Context(), expect.Limit)
	defer stop()
	var calls, failed atomic.Int64
	var all sync.WaitGroup
	over := make(chan struct{})
	call := func(c *grpc.ClientConn) {
		calls.Add(1)
		if err := c.Invoke(ctx, "/test/Pid", wrapperspb.Int64(0), &wrapperspb.Int64Value{}); err != nil {
			failed.Add(1)
			t.Log(err)
		}
	}
	for i := range 16 {
		all.Go(func() {
			c := connect()
			for going := true; going; {
				call(c)
				if i%2 == 1 {
					_ = c.Close()
					c = connect()
				}
				select {
				case <-over:
					going = false
				default:
				}
			}
			_ = c.Close()
		})
	}
	c := connect()
	defer c.Close()
	talk := func(s grpc.ClientStream) int {
		t.Helper()
		v := &wrapperspb.Int64Value{}
		require.NoError(t, s.SendMsg(v))
		require.NoError(t, s.RecvMsg(v))
		return int(v.Value)
	}
	for range 5 {
		s, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test/Pids")
		require.NoError(t, err)
		with := talk(s)
		before := calls.Load()
		require.NoError(t, syscall.Kill(pid, syscall.SIGHUP))
		ready()
		require.Eventually(t, func() bool { return calls.Load() > before+1000 || failed.Load() > 0 }, expect.Limit, time.Millisecond)
		require.Equal(t, with, talk(s), "the process with its handler")
		require.NoError(t, s.CloseSend())
		require.Equal(t, io.EOF, s.RecvMsg(&wrapperspb.Int64Value{}))
	}
	require.Eventually(t, func() bool {
		v := &wrapperspb.Int64Value{}
		require.NoError(t, c.Invoke(ctx, "/test/Pid", v, v))
		return int(v.Value) == pid
	}, expect.Limit, 10*time.Millisecond)
	close(over)
	all.Wait()
	t.Log(calls.Load(), "calls")
	require.Zero(t, failed.Load())
}
