package workers

import (
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/party"
	"github.com/cnode-go/cnode/nodes/internal/crew"
)

// The front upgrades its workers in the order of their slots: things go wrong while the first one
// moves.
const (
	firstSlot = iota
	otherSlot
)

// killWorker: a worker's old or new process dies or stops while the worker moves. Either the
// process that is left goes on with all sessions, or these have ended and a fresh worker is there;
// the other worker does not notice.
func killWorker(t *testing.T, k *frontScene, c party.Cell[handoffpoint.Point]) {
	k.handOver()
	front, before := k.sides[1], k.pids[firstSlot]
	k.disturb(disturbance{At: c.At, Signal: c.Signal})
	front.Say(t, askUpgrade)
	victim := k.disturbed()
	require.Equal(t, c.Victim == 0, victim == before)
	k.comeLate()
	if c.Signal == syscall.SIGSTOP {
		comes(t, func() string {
			if !party.Stopped(victim) {
				return "it goes on"
			}
			return ""
		})
	}
	k.answered(otherSlot)
	var list []movedWorker
	front.Hear(t, &list) // whether or not the victim goes on
	require.Len(t, list, frontWorkers)
	require.Empty(t, list[otherSlot].Err)
	k.pids[otherSlot] = list[otherSlot].New
	first := list[firstSlot]
	switch c.Owner() {
	case 0:
		require.NotEmpty(t, first.Err)
	case 1:
		if k.pids[firstSlot] = first.New; first.Err != "" { // stopped before it could say so
			require.Equal(t, crew.ErrSilent.Error(), first.Err)
			require.Equal(t, syscall.SIGSTOP, c.Signal)
			require.Equal(t, victim, first.New)
		}
	default:
		k.lose(firstSlot)
	}
	if c.Signal == syscall.SIGSTOP {
		if k.pids[firstSlot] != victim {
			k.served(firstSlot)
		}
		_ = syscall.Kill(victim, syscall.SIGCONT) // the front may have killed it
	}
	for range 3 {
		k.served()
	}
	k.goesOn(1)
}

// killUpgrading: the front dies or stops while a worker moves. If it dies all ends; if it stops all
// goes on without it, and with it once it goes on.
func killUpgrading(t *testing.T, k *frontScene, at handoffpoint.Point, sig syscall.Signal) {
	k.handOver()
	front := k.sides[1]
	k.disturb(disturbance{At: at, Signal: sig, PID: front.PID()})
	front.Say(t, askUpgrade)
	k.disturbed()
	k.comeLate()
	if sig == syscall.SIGKILL {
		front.Killed(t)
		k.sides[0].Leave(t)
		k.moving = true
		k.closed()
		k.late.fails(t)
		return
	}
	front.Halted(t)
	now := k.changed(firstSlot)
	k.served(otherSlot)
	front.GoOn(t)
	var list []movedWorker
	front.Hear(t, &list)
	require.Empty(t, k.moved(list))
	require.Equal(t, now, k.pids[firstSlot])
	k.served()
	k.goesOn(1)
}

// killBeside: a worker dies or stops while another one moves; the latter does not notice.
func killBeside(t *testing.T, k *frontScene, at handoffpoint.Point, sig syscall.Signal) {
	k.handOver()
	front, victim := k.sides[1], k.pids[otherSlot]
	k.disturb(disturbance{At: at, Signal: sig, PID: victim})
	front.Say(t, askUpgrade)
	k.disturbed()
	k.comeLate()
	now := k.changed(firstSlot)
	if sig == syscall.SIGSTOP {
		require.NoError(t, syscall.Kill(victim, syscall.SIGCONT))
	}
	var list []movedWorker
	front.Hear(t, &list)
	i := slices.IndexFunc(list, func(m movedWorker) bool { return m.Slot == firstSlot })
	require.Empty(t, list[i].Err)
	require.Equal(t, now, list[i].New)
	if sig == syscall.SIGKILL {
		k.pids[firstSlot] = now
		k.lose(otherSlot)
	} else {
		_ = k.moved(list) // it may have taken too long to wake up
	}
	k.served()
	k.goesOn(1)
}

// killLeft: a worker dies or stops while the front moves; the front's move is not affected.
func killLeft(t *testing.T, k *frontScene, at handoffpoint.Point, sig syscall.Signal) {
	victim := k.pids[firstSlot]
	k.disturb(disturbance{At: at, Signal: sig, PID: victim})
	k.handOver()
	k.disturbed()
	k.comeLate()
	k.served(otherSlot)
	if sig == syscall.SIGKILL {
		k.lose(firstSlot)
	} else {
		require.NoError(t, syscall.Kill(victim, syscall.SIGCONT))
	}
	k.served()
	k.goesOn(1)
}

// workerWithoutNumbers: if a worker's new process has no free descriptor, nothing changes, and the
// error says why.
func workerWithoutNumbers(t *testing.T, k *frontScene, at handoffpoint.Point) {
	k.handOver()
	k.disturb(disturbance{At: at, NoFiles: true})
	k.comeLate()
	var list []movedWorker
	k.sides[1].Ask(t, askUpgrade, &list)
	require.NotEmpty(t, list[firstSlot].Err)
	require.NotEmpty(t, k.moved(list))
	k.served()
	k.goesOn(1)
}
