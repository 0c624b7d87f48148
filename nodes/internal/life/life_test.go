package life

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// What waits for an earlier phase goes on when that comes, and not before.
func TestBefore(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wants Phase
		waits []Phase
		goes  Phase
	}{
		{"a connection", Staged, []Phase{Staged, Draining, Ending, Frozen}, Open},
		{"a call", Draining, []Phase{Draining, Ending, Frozen}, Staged},
		{"an exit", Ending, []Phase{Ending, Frozen}, Draining},
		{"a change", Frozen, []Phase{Frozen}, Ending},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l Life
				require.NoError(t, l.Before(t.Context(), tt.wants))
				l.Set(tt.waits[0])
				require.ErrorIs(t, l.Before(transport.NoWait(), tt.wants), os.ErrDeadlineExceeded)
				short, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				require.ErrorIs(t, l.Before(short, tt.wants), context.DeadlineExceeded)
				passed := make(chan error, 1)
				go func() { passed <- l.Before(t.Context(), tt.wants) }()
				for _, p := range tt.waits {
					l.Set(p)
					synctest.Wait()
					require.Empty(t, passed)
					require.True(t, l.Awaited())
				}
				l.Set(tt.goes)
				require.NoError(t, <-passed)
				require.False(t, l.Awaited())
			})
		})
	}
}

// A start waits for the end of a move, and a move for starts.
func TestMoveAndStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Life
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, l.Start(t.Context()))
		require.True(t, l.Move())
		require.False(t, l.Move())
		require.ErrorIs(t, l.AwaitStarts(short), context.DeadlineExceeded)
		require.ErrorIs(t, l.Start(short), context.DeadlineExceeded)
		done := make(chan error, 2)
		go func() { done <- l.AwaitStarts(t.Context()) }()
		synctest.Wait()
		require.Empty(t, done)
		l.EndStart()
		require.NoError(t, <-done)
		go func() { done <- l.Start(t.Context()) }()
		synctest.Wait()
		require.Empty(t, done)
		l.EndMove()
		require.NoError(t, <-done)
	})
}

// machine is what a Life has to do, step by step.
type machine struct {
	l       Life
	phase   Phase
	refuses bool
	work    int64
	moving  bool
	starts  int
}

func (m *machine) Set(t *rapid.T) {
	m.phase = Phase(rapid.IntRange(int(Open), int(Frozen)).Draw(t, "phase"))
	m.l.Set(m.phase)
}

func (m *machine) Drain(t *rapid.T) {
	require.Equal(t, m.phase == Open, m.l.Drain())
	if m.phase == Open {
		m.phase = Draining
	}
}

func (m *machine) Begin(t *rapid.T) {
	here := rapid.Bool().Draw(t, "here")
	begins := !m.refuses || here && m.work > 0
	require.Equal(t, begins, m.l.Begin(here))
	if begins {
		m.work++
	}
}

func (m *machine) End(*rapid.T) {
	if m.work > 0 {
		m.l.Work.Leave()
		m.work--
	}
}

func (m *machine) Refuse(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "refuses") == 0 {
		m.l.Refuse()
		m.refuses = true
	}
}

func (m *machine) Move(t *rapid.T) {
	require.Equal(t, !m.moving, m.l.Move())
	m.moving = true
}

func (m *machine) EndMove(*rapid.T) {
	m.l.EndMove()
	m.moving = false
}

func (m *machine) Start(t *rapid.T) {
	err := m.l.Start(transport.NoWait())
	require.Equal(t, !m.moving, err == nil)
	if err == nil {
		m.starts++
	}
}

func (m *machine) EndStart(*rapid.T) {
	if m.starts > 0 {
		m.l.EndStart()
		m.starts--
	}
}

func (m *machine) Check(t *rapid.T) {
	now, change := m.l.State()
	require.Equal(t, m.phase, now)
	require.Empty(t, change)
	require.Equal(t, m.phase == Open, m.l.IsOpen())
	require.Equal(t, m.phase == Frozen, m.l.IsFrozen())
	for p := Staged; p <= Frozen; p++ {
		require.Equal(t, m.phase < p, m.l.Before(transport.NoWait(), p) == nil)
	}
	require.Equal(t, m.phase == Open, m.l.Pass(transport.NoWait()) == nil)
	require.Equal(t, m.starts == 0, m.l.AwaitStarts(transport.NoWait()) == nil)
	require.Equal(t, m.work, m.l.Work.Count())
	require.Equal(t, m.refuses, m.l.Refuses())
	require.Equal(t, m.moving, m.l.IsMoving())
}

func TestMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { t.Repeat(rapid.StateMachineActions(new(machine))) })
}

// Work that begins while it comes to be refused, or waited for, is either seen or turned away.
func TestBeginBesideRefuse(t *testing.T) {
	for range 200 {
		var l Life
		begun := make(chan bool)
		for range 2 {
			go func() { begun <- l.Begin(false) }()
		}
		l.Refuse()
		none := l.Work.None()
		count := int64(0)
		for range 2 {
			if <-begun {
				count++
			}
		}
		require.Equal(t, count, l.Work.Count())
		require.False(t, none && count > 0)
	}
}
