package places_test

import (
	"math"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/nodes/internal/places"
)

// A function is what begins in a place.
type function func() bool

func (f function) Begin() bool { return f() }

// What needs no place any more begins before its turn, once.
func TestBeginNow(t *testing.T) {
	p := places.New(1)
	p.Begin("a", function(func() bool { return true }))
	var begun []string
	waits := func(name string) *places.Job {
		j, _ := p.Begin("a", function(func() bool { begun = append(begun, name); return name != "gone" }))
		return j
	}
	first, gone := waits("first"), waits("gone")
	p.BeginNow("a", gone)
	p.BeginNow("a", gone)
	require.Equal(t, []string{"gone"}, begun)
	p.Leave("a")
	p.BeginNow("a", first)
	require.Equal(t, []string{"gone", "first"}, begun)
	run, wait := p.Counts()
	require.Equal(t, []int{1, 0}, []int{run, wait})
}

// What needs no place after all leaves it to the next.
func TestNoPlaceNeeded(t *testing.T) {
	p := places.New(1)
	p.Begin("a", function(func() bool { return true }))
	over, begun := 0, false
	for range 3 {
		p.Begin("a", function(func() bool { over++; return false }))
	}
	p.Begin("b", function(func() bool { begun = true; return true }))
	p.Leave("a")
	require.Equal(t, 1, over)
	require.True(t, begun, "by turns")
	p.Leave("b")
	require.Equal(t, 3, over)
	run, wait := p.Counts()
	require.Zero(t, run+wait)
}

// However it is used, no place is lost, nobody waits beside a free place that he may have, and
// nobody begins twice.
func TestPlacesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := places.New(rapid.IntRange(1, 5).Draw(t, "places"))
		peer := rapid.SampledFrom([]string{"a", "b", "c"})
		running, left := map[string]int{}, map[string]int{}
		asked, begun := 0, 0
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				name := peer.Draw(t, "peer")
				asked++
				p.Begin(name, function(func() bool { running[name]++; begun++; return true }))
			},
			"leave": func(t *rapid.T) {
				if name := peer.Draw(t, "peer"); running[name] > 0 {
					running[name]--
					left[name]++
					p.Leave(name)
				}
			},
			"resume": func(t *rapid.T) {
				if name := peer.Draw(t, "peer"); left[name] > 0 {
					left[name]--
					running[name]++
					p.Resume(name)
				}
			},
			"": func(t *rapid.T) {
				run, wait := p.Counts()
				require.Equal(t, running["a"]+running["b"]+running["c"], run)
				require.Equal(t, asked-begun, wait)
				require.False(t, run == 0 && wait > 0, "somebody waits, and nobody runs")
			},
		})
	})
}

func TestMemory(t *testing.T) {
	m := places.NewMemory(1000, nil)
	require.Nil(t, m.Take("a", 5000), "alone, a message may have any size")
	given := m.Take("a", 1)
	require.NotNil(t, given)
	require.Nil(t, m.Take("b", 1), "a peer that has nothing may always have something")
	m.Give("a", 5000)
	<-given
	require.Equal(t, 1, m.Held())
	for range 4 {
		require.Nil(t, m.Take("a", 100))
	}
	require.Nil(t, m.Take("a", 90))
	require.NotNil(t, m.Take("a", 100), "half of all")
	require.Nil(t, m.Take("b", 200))
	require.NotNil(t, m.Take("b", 200))
	m.Force("a", 100)
	require.Equal(t, 791, m.Held())
	require.True(t, m.HasOnly("a", 590))
	require.False(t, m.HasOnly("a", 500))
	require.Equal(t, 1000, m.Size())

	m = places.NewMemory(0, func() int { return 2000 })
	m.Force("a", 500) // before anybody has asked
	require.Equal(t, 2000, m.Size())
	require.Nil(t, m.Take("a", 500))
	require.Equal(t, 1000, m.Held())
}

func TestDefaultsFollowTheMemory(t *testing.T) {
	require.GreaterOrEqual(t, places.DefaultMemory(), 64<<20)
	require.LessOrEqual(t, places.DefaultMemory(), 512<<20, "whatever the machine has")
	require.LessOrEqual(t, places.DefaultMemory(), places.Quarter())
	require.GreaterOrEqual(t, places.DefaultEach(1), 64<<20)
	require.LessOrEqual(t, places.DefaultEach(1), places.DefaultMemory())
	require.Equal(t, 64<<20, places.DefaultEach(1000))
	require.GreaterOrEqual(t, places.DefaultPlaces(), 1024)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	debug.SetMemoryLimit(1 << 30)
	require.LessOrEqual(t, places.DefaultMemory(), 256<<20)
	require.LessOrEqual(t, places.DefaultPlaces(), 16384)
	debug.SetMemoryLimit(1 << 20)
	require.Equal(t, 64<<20, places.DefaultMemory())
	require.Equal(t, 64<<20, places.DefaultEach(1))
	require.Equal(t, 1024, places.DefaultPlaces())
}
