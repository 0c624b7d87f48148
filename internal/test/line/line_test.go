package line

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Bytes come whole, not faster than the rate, nor sooner than the delay; the ends do not meet
// elsewhere, and a line that is cut is silent.
func TestLine(t *testing.T) {
	const rate, delay = 8_000_000, 40 * time.Millisecond
	l := New(t, Options{Rate: rate, Delay: delay})
	var listener net.Listener
	require.NoError(t, l.End(1).Do(func() (err error) {
		listener, err = net.Listen("tcp4", l.End(1).Addr()+":0")
		return err
	}))
	defer listener.Close()
	begun := time.Now()
	var c net.Conn
	require.NoError(t, l.End(0).Do(func() (err error) {
		c, err = net.Dial("tcp4", listener.Addr().String())
		return err
	}))
	defer c.Close()
	require.GreaterOrEqual(t, time.Since(begun), delay)
	d, err := listener.Accept()
	require.NoError(t, err)
	defer d.Close()

	sent := make([]byte, 500_000)
	begun = time.Now()
	written := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		written <- err
	}()
	_, err = io.ReadFull(d, make([]byte, len(sent)))
	require.NoError(t, err)
	require.NoError(t, <-written)
	require.Greater(t, time.Since(begun), time.Duration(len(sent))*8*time.Second/rate*9/10)

	l.Cut()
	_, err = c.Write([]byte("x"))
	require.NoError(t, err, "nobody tells the end that the line is cut")
	require.NoError(t, d.SetReadDeadline(time.Now().Add(4*delay)))
	_, err = d.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// Of many packets about as many are lost as were ordered.
func TestLoss(t *testing.T) {
	const packets, loss = 1000, 0.1
	l := New(t, Options{Rate: 1_000_000_000, Loss: loss})
	var from, to *net.UDPConn
	for i, c := range []**net.UDPConn{&from, &to} {
		require.NoError(t, l.End(i).Do(func() (err error) {
			*c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(l.End(i).Addr())})
			return err
		}))
		defer (*c).Close()
	}
	came := 0
	for range packets {
		_, err := from.WriteToUDP([]byte("x"), to.LocalAddr().(*net.UDPAddr))
		require.NoError(t, err)
		require.NoError(t, to.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
		if _, err := to.Read(make([]byte, 1)); err == nil {
			came++
		}
	}
	require.InDelta(t, packets*(1-loss), came, packets*loss/2)
}
