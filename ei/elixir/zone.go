package elixir

import (
	"sync"
	"time"
)

// savedBy tells what part of t's offset is daylight saving, in seconds. Package time only knows
// that there is some, so the offset is compared with that of the time before, or after; it is taken
// for an hour where that has some, too, as in the double summer times of the 1940s.
func savedBy(t time.Time) int {
	if !t.IsDST() {
		return 0
	}
	_, offset := t.Zone()
	start, end := t.ZoneBounds()
	for _, near := range []time.Time{start.Add(-1), end} {
		if _, standard := near.Zone(); !near.IsZero() && !near.IsDST() {
			return offset - standard
		}
	}
	return 60 * 60
}

// zones are the locations that were looked for and found. A peer chooses the names, and a file
// system may have many for one file, so there is a limit: the time zone database has about 600.
var zones struct {
	sync.Mutex
	found map[string]*time.Location
}

const maxZones = 1000

// location gives the location of a name of the time zone database, or nil.
func location(name string) *time.Location {
	switch name {
	case "Etc/UTC", "UTC":
		return time.UTC
	case "", "Local": // which have a meaning of their own to LoadLocation
		return nil
	}
	zones.Lock()
	loc := zones.found[name]
	zones.Unlock()
	if loc != nil {
		return loc
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	zones.Lock()
	defer zones.Unlock()
	if zones.found == nil {
		zones.found = map[string]*time.Location{}
	}
	if len(zones.found) < maxZones {
		zones.found[name] = loc
	}
	return loc
}
