// Package states is what another process needs, beside the descriptors, to go on in place of a connection, a node, a front or a worker.
//
// How a state is written is package form's. A version that adds what the older one can do without adds an optional field; one that adds
// what must not be lost adds a mandatory one, which is written only where it has something to say, and a feature for it, by which who does
// not know it is found out at hello.
//
// # What is not in it
//
// Goroutines, and with them calls in progress; the cookie, the transports and all else of Config, which the new process has by itself;
// the table of atoms, which saves memory and no more (neither atom cache nor fragments are ever negotiated); a counter of UNLINK_IDs, for
// they are random.
package states

// The kinds of state. Those of a front and of a worker hold that of the node, and what they are to each other. Their descriptors come
// behind the node's; the places that they name count from there.
const (
	KindConn   = 'c' // Conn
	KindNode   = 'n' // Node
	KindFront  = 'f' // Front
	KindWorker = 'w' // Worker
)
