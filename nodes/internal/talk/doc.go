// Package talk defines the words that the front of a node and its workers say to each other, and
// the line that carries words between two of these processes. Package nodes does what a word asks
// for.
package talk
