package life

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

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
