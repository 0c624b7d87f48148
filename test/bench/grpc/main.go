// Command grpc is a call by gRPC, from Go to Go, beside those of doors: bytes there and back, over
// TCP, without TLS. It prints the microseconds of a call, and those of the processor time that both
// processes have for it, as a tuple of Erlang.
//
//	grpc SIZE CALLERS MILLISECONDS
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const method = "/doors.Doors/Echo"

func main() {
	err := errors.New("usage: grpc SIZE CALLERS MILLISECONDS")
	if len(os.Args) == 4 {
		var size, callers, ms int
		if _, err = fmt.Sscan(strings.Join(os.Args[1:], " "), &size, &callers, &ms); err == nil {
			err = measure(size, callers, time.Duration(ms)*time.Millisecond)
		}
	} else if len(os.Args) == 1 {
		err = serve()
	}
	if err != nil {
		log.Fatal(err)
	}
}

// serve prints its address, and answers until its standard input ends.
func serve() error {
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "doors.Doors", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Echo",
		Handler: func(_ any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			b := &wrapperspb.BytesValue{}
			return b, read(b)
		},
	}}}, struct{}{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		s.Stop()
	}()
	return s.Serve(l)
}

func measure(size, callers int, limit time.Duration) error {
	server := exec.Command(os.Args[0])
	in, err1 := server.StdinPipe()
	out, err2 := server.StdoutPipe()
	if err := errors.Join(err1, err2, server.Start()); err != nil {
		return err
	}
	defer server.Wait()
	defer in.Close()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return err
	}
	c, err := grpc.NewClient(strings.TrimSpace(addr), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer c.Close()
	data := make([]byte, size)
	_, _ = rand.Read(data)
	if _, _, err := calls(c, data, callers, limit/4); err != nil {
		return err
	}
	processes := []int{os.Getpid(), server.Process.Pid}
	before, err := processor(processes)
	if err != nil {
		return err
	}
	n, took, err := calls(c, data, callers, limit)
	if err != nil {
		return err
	}
	after, err := processor(processes)
	fmt.Printf("{%f,%f}\n", float64(took.Microseconds())*float64(callers)/float64(n), float64((after-before).Microseconds())/float64(n))
	return err
}

// calls has callers call without a pause.
func calls(c *grpc.ClientConn, data []byte, callers int, limit time.Duration) (n int64, took time.Duration, err error) {
	var all sync.WaitGroup
	var count atomic.Int64
	failed := make(chan error, callers)
	begun := time.Now()
	for range callers {
		all.Go(func() {
			for time.Since(begun) < limit {
				answer := &wrapperspb.BytesValue{}
				err := c.Invoke(context.Background(), method, wrapperspb.Bytes(data), answer)
				if err == nil && !bytes.Equal(answer.Value, data) {
					err = errors.New("other bytes came back")
				}
				if err != nil {
					failed <- err
					return
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
	took = time.Since(begun)
	select {
	case err = <-failed:
	default:
	}
	return max(count.Load(), 1), took, err
}
