//go:build unix

package nodes

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
)

func TestRollTellsNamesThatNobodyHas(t *testing.T) {
	r, err := newRoll()
	require.NoError(t, err)
	defer r.close()
	fd, err := r.duplicate()
	require.NoError(t, err)
	other, err := openRoll(fd)
	require.NoError(t, err)
	defer other.close()

	at, twin := r.place("one"), ""
	for i := 0; twin == ""; i++ { // another name of the same place
		if name := fmt.Sprint("name", i); r.place(name) == at {
			twin = name
		}
	}
	sees := func(want bool) {
		t.Helper()
		for _, name := range []string{"one", twin} {
			require.Equal(t, want, !r.lacks(name))
			require.Equal(t, want, !other.lacks(name))
		}
	}
	sees(false)
	require.NoError(t, r.enter("one"))
	sees(true)
	require.NoError(t, r.enter(twin))
	r.strike("one")
	sees(true)
	other.recall(twin) // which goes on as the front's
	other.strike(twin)
	sees(false)
	require.Less(t, r.place("ü"), rollSize)

	// Who has looked something up sees that somebody has got the name, or one of the same place, meanwhile.
	before, ok := r.version("one")
	require.True(t, ok)
	require.NoError(t, other.enter(twin))
	after, ok := r.version("one")
	require.True(t, ok)
	require.NotEqual(t, before, after)
	other.strike(twin)
	now, ok := r.version("one")
	require.True(t, ok)
	require.Equal(t, after, now)

	// That of an earlier front has no versions.
	require.NoError(t, r.file.Truncate(rollSeed+rollSize))
	_, ok = r.version("one")
	require.False(t, ok)
	require.NoError(t, other.enter("one"))
	sees(true)
	_, ok = r.version("one")
	require.True(t, ok)
	other.strike("one")

	var none *roll
	require.False(t, none.lacks("one"), "who knows")
	_, ok = none.version("one")
	require.False(t, ok)
	require.NoError(t, none.enter("one"))
	none.strike("one")
	none.recall("one")
	none.close()
	r.close()
	require.False(t, r.lacks("one"))
	require.Error(t, r.enter("another"))
}

// What is no roll is closed.
func TestOpenRollOfOther(t *testing.T) {
	one, other, err := streamPair()
	require.NoError(t, err)
	short, err := os.Create(filepath.Join(t.TempDir(), "short"))
	require.NoError(t, err)
	defer short.Close()
	file, err := duplicate(int(short.Fd()))
	require.NoError(t, err)
	for _, fd := range []int{one, other, file} {
		_, err := openRoll(fd)
		require.Error(t, err)
		_, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		require.ErrorIs(t, err, unix.EBADF)
	}
}

// A peer that sends to a name which nobody has, as much as it likes, asks nothing of the front; and as soon as somebody has the name he
// gets all that is sent from then on, by whichever worker it comes. So it is after every move.
func TestUnknownNames(t *testing.T) {
	w := newFrontWorld(t, 3)
	ns := w.spread(3)
	a, b := ns[0], ns[1]
	sender := w.mailbox(a, nil)
	send := func(name string, v any) {
		t.Helper()
		require.NoError(t, sender.SendName(soon(t), frontName, name, v))
	}
	for round, move := range []func(){
		func() {},
		w.move,
		func() {
			list, err := w.f.UpgradeWorkers(soon(t))
			require.NoError(t, err)
			for _, u := range list {
				require.NoError(t, u.Err)
			}
		},
	} {
		move()
		before := w.rpc(a, "questions")
		for i := range 1000 {
			send("nobody", i)
		}
		require.Equal(t, before, w.rpc(a, "questions"))
		for i := range 50 {
			name := fmt.Sprintf("r%dn%d", round, i)
			send(name, "too early")
			pid := w.rpc(b, "start", ei.Atom(name)).(ei.Pid)
			for v := range 3 {
				send(name, v)
			}
			got, err := a.CallName(soon(t), frontName, name, ei.Atom("got"))
			require.NoError(t, err)
			require.Equal(t, ei.List{ei.Int(0), ei.Int(1), ei.Int(2)}, got)
			watcher := w.mailbox(a, nil)
			_, err = watcher.Monitor(soon(t), pid)
			require.NoError(t, err)
			send(name, ei.Atom("normal"))
			w.receive(watcher)
			require.NoError(t, watcher.Close())
		}
	}
}
