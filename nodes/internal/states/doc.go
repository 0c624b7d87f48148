// Package states is what another process needs, beside the descriptors, to go on in place of a
// connection, a node, a front or a worker.
//
// How a state is written is package form's. A version that adds something which the older one can
// do without adds an optional field. A version that adds something which must not be lost adds a
// mandatory field and changes the name of the form (Feature), by which a process that does not know
// the field is detected at hello.
//
// # What is not in it
//
// Goroutines, and with them calls in progress; the cookie, the transports and all else of Config,
// which the new process has by itself; the table of atoms, which saves memory and no more; a
// counter of UNLINK_IDs, since they are random.
package states

// The kinds of state. The states of a front and of a worker contain that of the node, and what
// front and workers know of each other. Their descriptors follow the node's in one list, in which
// their places and indexes count from the beginning.
const (
	KindConn   = 'c' // Conn
	KindNode   = 'n' // Node
	KindFront  = 'f' // Front
	KindWorker = 'w' // Worker
)
