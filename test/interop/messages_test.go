package interop

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/stretchr/testify/require"
)

// The messages of each of many processes of ours arrive in order, and so do those of each of
// theirs.
func order(t *testing.T, m *meeting) {
	const senders, last = 20, 1000
	ctx := background(t)
	load(t, m.erl, "listener")
	heard := m.erl.Async(t, fmt.Sprintf("register(listener, self()), listener:numbers(%d, %d)", senders, last))
	m.erl.Do(t, `(fun F() -> case whereis(listener) of undefined -> timer:sleep(1), F(); P -> persistent_term:put(pid, P) end end)()`)
	listener := m.pid(t, "persistent_term:get(pid)")
	errs := make(chan error)
	for s := range senders {
		b, err := m.n.NewMailbox(nil)
		require.NoError(t, err)
		go func() {
			for i := range last {
				message := ei.Tuple{b.Pid(), ei.Int(i + 1)}
				var err error
				if s%2 == 0 {
					err = b.Send(ctx, listener, message)
				} else {
					err = b.SendName(ctx, m.erl.Name(), "listener", message)
				}
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range senders {
		require.NoError(t, await(t, errs))
	}
	require.Equal(t, "[]", heard())

	b := m.mailbox(t, "B", nil)
	require.NoError(t, m.n.Register(ctx, "box", b))
	m.erl.Do(t, m.about(fmt.Sprintf(`[spawn(fun() -> [if S rem 2 =:= 0 -> B ! {self(), I}; true -> {box, N} ! {self(), I} end
		|| I <- lists:seq(1, %d)] end) || S <- lists:seq(1, %d)]`, last, senders)))
	seen := map[ei.Pid]ei.Int{}
	for range senders * last {
		message, err := b.Receive(ctx)
		require.NoError(t, err)
		term, err := message.Term()
		require.NoError(t, err)
		from, i := term.(ei.Tuple)[0].(ei.Pid), term.(ei.Tuple)[1].(ei.Int)
		require.Equal(t, seen[from]+1, i)
		seen[from] = i
	}
	require.Len(t, seen, senders)
	for _, i := range seen {
		require.EqualValues(t, last, i)
	}
}

// A peer that does not read makes us wait; nothing is lost, and a context ends the wait.
func backPressure(t *testing.T, m *meeting) {
	ctx := background(t)
	load(t, m.erl, "listener")
	pid := m.pid(t, "S = self(), spawn(fun() -> Last = receive {last, L} -> L end, S ! {total, listener:sink(Last)} end)")
	b := m.mailbox(t, "B", nil)
	m.erl.Pause(t)
	payload := ei.Binary(make([]byte, 100_000))
	require.NoError(t, b.Send(ctx, pid, payload), "there is room for one")
	sent := 1
	for {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		err := b.Send(short, pid, payload)
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			break
		}
		sent++
		require.Less(t, sent, 1000, "100 MB have found room somewhere")
	}
	m.erl.Continue(t)
	require.NoError(t, b.Send(ctx, pid, payload))
	require.NoError(t, b.Send(ctx, pid, ei.Tuple{ei.Atom("last"), ei.Int(sent + 1)}))
	m.is(t, [][2]string{{`receive {total, T} -> T after 20000 -> none end`, fmt.Sprint((sent + 1) * len(payload))}})
}

// A mailbox that is never emptied makes the Erlang side wait, and no other mailbox loses anything.
func fullMailbox(t *testing.T, m *meeting) {
	ctx := background(t)
	b := m.mailbox(t, "B", &nodes.MailboxOptions{Limit: 100_000})
	done := m.erl.Async(t, m.about(`[B ! {I, <<0:80000>>} || I <- lists:seq(1, 3000)], sent`))
	for i := range 3000 {
		message, err := b.Receive(ctx)
		require.NoError(t, err)
		cursor := ei.NewCursor(message.Payload)
		_, err = cursor.Tuple()
		require.NoError(t, err)
		got, err := cursor.Int()
		require.NoError(t, err)
		require.EqualValues(t, i+1, got)
	}
	require.Equal(t, "sent", done())

	// Or the mailbox ends, if it was made with FullExit, and linked processes get its exit
	// signal.
	b = m.mailbox(t, "B", &nodes.MailboxOptions{Limit: 10_000, Full: nodes.FullExit})
	m.is(t, [][2]string{{`R = monitor(process, B), [B ! <<0:8000>> || _ <- lists:seq(1, 20)],
		receive {'DOWN', R, _, B, Why} -> Why end`, `mailbox_full`}})
	require.Equal(t, "mailbox_full", ended(t, b))
	m.is(t, [][2]string{{`net_adm:ping(N)`, `pong`}})
}

// A message over Config.MaxFrame ends its connection, with an error that says so, before much of it
// is kept; then all is as before.
func maxFrame(t *testing.T, m *meeting) {
	cfg := config(m.erl.EpmdPort())
	cfg.MaxFrame = 1 << 20
	m.n = startNode(t, cfg)
	b := m.mailbox(t, "B", nil)
	m.is(t, [][2]string{{`B ! binary:copy(<<"x">>, 1000000), sent`, `sent`}})
	message, err := b.Receive(background(t))
	require.NoError(t, err)
	require.Greater(t, len(message.Payload), 1_000_000)
	c := m.n.Conn(m.erl.Name())
	m.is(t, [][2]string{{`monitor_node(N, true), B ! binary:copy(<<"x">>, 100000000),
		receive {nodedown, N} -> down after 20000 -> none end`, `down`}})
	await(t, c.Done())
	require.ErrorIs(t, c.Err(), nodes.ErrFrameTooLong)
	m.is(t, [][2]string{{`B ! small, net_adm:ping(N)`, `pong`}})
	require.Equal(t, "small", receive(t, b))
}
