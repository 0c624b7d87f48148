// Package talk has what the front of a node and its workers say to each other, word by word, and the line that carries words between two of
// these processes. What a word asks for is package nodes' to do.
package talk
