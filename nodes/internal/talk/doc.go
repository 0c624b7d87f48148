// Package talk defines the messages that the front of a node and its workers say to each other, and
// the line that carries messages between two of these processes. Package nodes does what a message
// asks for.
package talk
