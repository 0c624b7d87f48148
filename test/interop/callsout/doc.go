// Package callsout tests calls from Go into real nodes: erpc, many at once, processes spawned
// there, and where what they print goes.
package callsout
