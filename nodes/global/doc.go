// Package global makes a Go node a member of Erlang's global: its processes get names that the whole
// cluster knows, and it takes part in locks.
package global
