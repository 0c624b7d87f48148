// Package life has the one gate in front of all that happens in a node, or over a connection, while
// that is handed to another process. Two things are protected: nothing begins (a function, a
// server's message), and nothing changes while it is written down.
package life
