// Package processes holds the tests of Go functions that are processes, and of what they print and
// read, against real Erlang and Elixir nodes.
package processes
